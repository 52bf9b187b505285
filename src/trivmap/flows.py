"""A flow: a base distribution pushed through a bijection."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Int

from trivmap._types import Field, Key, Scalar
from trivmap.actions import AbstractAction
from trivmap.actions.symmetry import can_be_evaluated, closed, require_symmetries
from trivmap.bases import AbstractBase
from trivmap.bijections import AbstractBijection, Chain
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.notebook import table
from trivmap.support import Support
from trivmap.tuning import tuning


def parameters_of(part: eqx.Module) -> int:
    """Number of learnable parameters of a flow or a part of one."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(part, eqx.is_inexact_array)))


class Stage(NamedTuple):
    """The field and its log-density after one stage of a flow."""

    name: str
    field: Field
    log_density: Scalar


class Flow(eqx.Module):
    """q(phi) = q_base(f^-1(phi)) |det df^-1/dphi|: samples with their exact, normalized density.

    Methods act on one configuration; batch them with `jax.vmap`. Every inexact array in a flow is a learnable
    parameter. Raises `InputError` when base and bijection live on different lattices.
    """

    base: AbstractBase
    bijection: AbstractBijection

    def __init__(self, base: AbstractBase, bijection: AbstractBijection):
        if base.lattice != bijection.lattice:
            raise InputError(
                f"flow: the base lives on lattice {list(base.lattice.shape)}, the bijection on "
                f"{list(bijection.lattice.shape)}; they must be the same"
            )
        if base.support not in bijection.supports:
            mapped = " or ".join(sorted(support.value for support in bijection.supports))
            raise InputError(
                f"flow: the base draws {base.support.value}, and the bijection maps {mapped}; give both the same sites "
                "(of the maps only continuous can have the even ones)"
            )
        self.base, self.bijection = base, bijection

    @property
    def lattice(self) -> Lattice:
        return self.base.lattice

    @property
    def support(self) -> Support:
        """The sites that the flow draws; a flow of the even sites is compared with a `Decimated` action."""
        return self.base.support

    @property
    def equivariant_under(self) -> frozenset[str]:
        """The symmetries of q: those that base and bijection have for all parameters."""
        return closed(self.base.equivariant_under) & closed(self.bijection.equivariant_under)

    def require_match(self, action: AbstractAction, *, evaluate: bool = False) -> None:
        """Raise `InputError` if no training can bring q close to exp(-S).

        The error is that of `require_domain`, or that q has a symmetry that S lacks, by their declarations. With
        `evaluate` the symmetries of an action from outside the library are also evaluated, see
        `actions.require_symmetries`.
        """
        self.require_domain(action)
        missing = sorted(self.equivariant_under - closed(action.symmetries))
        if missing:
            raise InputError(
                f"flow: has the symmetry {missing[0]!r} whatever its parameters, and {type(action.full).__name__} "
                "lacks it; use a base or maps without it (couplings with z2: false), or declare it in symmetries if S "
                "has it"
            )
        if evaluate and can_be_evaluated(action.full):
            require_symmetries(action.full, self.lattice, self.equivariant_under)

    def require_domain(self, action: AbstractAction) -> None:
        """Raise `InputError` if flow and action are not functions of the same fields at the same sites."""
        if self.base.space != action.space:
            raise InputError(
                f"flow: its fields are {self.base.space}, and those of {type(action).__name__} are {action.space}; "
                "sample this action without a map"
            )
        if self.support != action.support:
            wanted = "actions.Decimated" if self.support is Support.EVEN else "one of all"
            raise InputError(
                f"flow: is one of {self.support.value}, {type(action).__name__} is not such an action; give {wanted}"
            )

    @property
    def parameters(self) -> int:
        """Number of learnable parameters."""
        return parameters_of(self)

    def __repr__(self) -> str:
        """The lattice, the number of parameters, the base and the maps in order."""
        return "\n".join([self._head, *(f"  {number}: {name}" for number, name, _ in self._parts())])

    def _repr_html_(self) -> str:
        """The same as a table, with the parameters of each part, for notebooks."""
        return table(self._head, ("", "part", "parameters"), self._parts())

    @property
    def _head(self) -> str:
        sites = "" if self.support is Support.ALL else f", {self.support.value}"
        return f"Flow(lattice {list(self.lattice.shape)}{sites}, {self.parameters} parameters)"

    def _parts(self) -> list[tuple[str, str, int]]:
        """Number, name and learnable parameters of the base and of each map in order."""
        chain = self.bijection if isinstance(self.bijection, Chain) else Chain(self.lattice, [self.bijection])
        maps = [
            (str(number), name, parameters_of(part))
            for number, (name, part) in enumerate(zip(chain.named(), chain.maps, strict=True), start=1)
        ]
        return [("base", type(self.base).__name__, parameters_of(self.base)), *maps]

    def astype(self, dtype: DTypeLike) -> "Flow":
        """The same flow in another floating-point precision."""
        parameters, rest = eqx.partition(self.bijection, eqx.is_inexact_array)
        cast = jax.tree.map(lambda leaf: leaf.astype(dtype), parameters)
        return Flow(self.base.astype(dtype), eqx.combine(cast, rest))

    def noise(self, key: Key) -> Field:
        """The base's noise z, independent of every parameter."""
        return self.base.noise(key)

    def push(self, z: Field) -> tuple[Field, Scalar]:
        """(phi, log q(phi)) at fixed noise; phi is NaN at sites that the flow does not draw."""
        x, log_density, _ = self.base.push(self._one(z))
        y, log_det = self.bijection.forward(x)
        return self._marked(y), log_density - log_det

    def push_with_score(self, z: Field) -> tuple[Field, Scalar, Field]:
        """`push`, and the score d log q / dphi: a constant to differentiation, 0 at sites that are not drawn."""
        x, log_density, score = self.base.push(self._one(z))
        y, log_det, score = self.bijection.forward_with_score(x, score)
        return self._marked(y), log_density - log_det, self.drawn(score)

    def sample(self, key: Key, action: AbstractAction | None = None) -> tuple[Field, Scalar]:
        """A configuration and its log-density; log w is -action(phi) minus the log-density.

        A flow of the even sites draws only those: the others are NaN or, if its `action` is given, are drawn from their
        density given the even ones.
        """
        field, log_density = self.push(self.noise(key))
        if action is None:
            return field, log_density
        self.require_domain(action)
        return action.sample_conditional(jax.random.fold_in(key, 2), field), log_density

    def log_density(self, field: Field) -> Scalar:
        """log q of a given configuration; for a flow of the even sites, the values at the odd sites do not matter."""
        x, log_det = self.bijection.inverse(self.drawn(self._one(field)))
        return self.base.log_density(x) + log_det

    def drawn(self, field: Field) -> Field:
        """The field at the sites that the flow draws, zero at others: for sums over sites."""
        return self.support.restrict(self.lattice, field)

    def _marked(self, field: Field) -> Field:
        return self.support.mark(self.lattice, field)

    def _one(self, field: Field) -> Field:
        if field.shape != self.lattice.shape:
            raise InputError(
                f"flow: takes one configuration of shape {self.lattice.shape}, got an array of shape {field.shape}; "
                "batches need jax.vmap"
            )
        return field

    def residual(self, action: AbstractAction, z: Field, u: Scalar | None = None) -> Scalar:
        """log q + S at fixed noise z and auxiliary randomness u: constant, namely -log Z, for a trivializing map."""
        field, log_density = (self if u is None else self.perturbed(u)).push(z)
        return log_density + action(field)

    def perturbed(self, u: Scalar) -> "Flow":
        """The flow with the time grids of its continuous maps shifted by u, see `AbstractBijection.perturbed`."""
        return Flow(self.base, self.bijection.perturbed(u))

    def l2_weights(self) -> "Flow":
        """The flow with every parameter replaced by the weight of its square in the Gauss-Newton objective."""
        base = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_inexact_array(leaf) else leaf, self.base)
        return Flow(base, self.bijection.l2_weights())

    @property
    def integration_steps(self) -> int | Int[Array, ""] | None:
        """Steps of the numerical integration that the flow relies on; None for a flow whose density is exact."""
        return self.bijection.integration_steps

    @property
    def micro_batch(self) -> int | None:
        """Configurations to evaluate at once within a larger batch, None for all of them.

        The fields of a continuous map's features would not fit in the caches.
        """
        return None if self.integration_steps is None else tuning().map_batch(self.lattice.volume)

    def with_integration_steps(self, steps: int | Int[Array, ""]) -> "Flow":
        """The same flow with its continuous maps integrated in another number of steps."""
        return Flow(self.base, self.bijection.with_integration_steps(steps))

    def resolved(self) -> "Flow":
        """The flow itself; see `SteppedFlow.resolved`."""
        return self

    def stages(self, z: Field) -> list[Stage]:
        """The field, with NaN as in `push`, and its log-density after the base and after each part of the bijection."""
        x, log_density, _ = self.base.push(z)
        result = [Stage("base", x, log_density)]
        parts = self.bijection if isinstance(self.bijection, Chain) else Chain(self.lattice, [self.bijection])
        for name, field, log_det in parts.stages(x):
            result.append(Stage(name, field, log_density - log_det))
        return [stage._replace(field=self._marked(stage.field)) for stage in result]

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "Flow":
        """The flow on another lattice and, with its action, at another coupling, as the start of training there.

        Raises `InputError` if a part of it cannot be carried.
        """
        return Flow(self.base.resize(lattice, action), self.bijection.resize(lattice))


class SteppedFlow(eqx.Module):
    """A flow whose number of integration steps is a runtime argument of its programs: one program serves all numbers.

    Args:
        flow: the flow.
        steps: its integration steps; without effect on a flow whose density is exact.
    """

    flow: Flow
    steps: Int[Array, ""]

    def __init__(self, flow: Flow, steps: int):
        # Integration steps in the flow itself would be constants of its programs.
        self.flow, self.steps = flow.with_integration_steps(1), jnp.asarray(steps, jnp.int32)

    def resolved(self) -> Flow:
        """The flow with its steps, for use inside a program."""
        return self.flow.with_integration_steps(self.steps)

    def astype(self, dtype: DTypeLike) -> "SteppedFlow":
        """The same flow in another floating-point precision."""
        return eqx.tree_at(lambda stepped: stepped.flow, self, self.flow.astype(dtype))
