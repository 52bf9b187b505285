"""The recipe of the presets, in two calls: `recommended` and `fit`."""

from jaxtyping import DTypeLike

from trivmap.actions import AbstractAction, Decimated
from trivmap.actions.action import scalar_coefficients
from trivmap.bases import DecimatedFreeField, FreeField
from trivmap.bijections import Chain, Continuous, Features, KernelBasis, Smeared
from trivmap.flows import Flow
from trivmap.lattice import Lattice


def recommended(
    action: AbstractAction, lattice: Lattice, *, dtype: DTypeLike = "float32"
) -> tuple[Flow, AbstractAction]:
    """(flow, target): the untrained flow of the presets, and the action to train and sample it with.

    The flow is continuous, from a free field with the Hartree propagator. If the action couples only nearest
    neighbors and every extent is even, the odd sites are integrated out: the flow is a flow of the even sites, and the
    target is `actions.Decimated`; `draw` still gives whole configurations. Otherwise the target is the action itself.

    Args:
        action: S, of one real number per site, even in the field and invariant under translations.
        lattice: the lattice.
        dtype: the precision of the map.

    Raises:
        InputError: for an action that has no such base or map.
    """
    even = scalar_coefficients(action) is not None and not any(extent % 2 for extent in lattice.shape)
    known = scalar_coefficients(action) is not None
    base = FreeField.hartree(lattice, action, dtype=dtype) if known else FreeField(lattice, mass=1.0, dtype=dtype)
    features = Features(neighbors=(1.0, 2.0) if even else (), smeared=(Smeared(mass=0.5, widths=(1.5, 3.0)),))
    flow = Continuous(lattice, features=features, kernel=KernelBasis(radius=2), even=even, dtype=dtype)
    if not even:
        return Flow(base, Chain(lattice, [flow])), action
    return Flow(DecimatedFreeField(base), Chain(lattice, [flow])), Decimated(action, lattice)
