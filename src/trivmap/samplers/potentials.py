"""Potentials: U of the density exp(-U) of a Hamiltonian sampler, and the physical field for a position."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Field, Key, Scalar
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.samplers.integrators import Evaluation
from trivmap.spaces import AbstractSpace, Real


class AbstractPotential(eqx.Module):
    """U(z) of ONE position z, a point of its `space`; batches come from `jax.vmap`.

    To add one: write `evaluate`, which gives at least the force, and `finish`, which adds what `evaluate` leaves out.
    A trajectory calls `evaluate` at every stage and `finish` once at its end.
    """

    lattice: eqx.AbstractVar[Lattice]
    dtype: eqx.AbstractVar[str]

    @abc.abstractmethod
    def evaluate(self, position: Field) -> Evaluation:
        """-dU/dz, with U and the physical field if they come at no extra cost."""

    @abc.abstractmethod
    def finish(self, position: Field, evaluation: Evaluation) -> tuple[Scalar, Field]:
        """(U, physical field) at a position that has been evaluated."""

    def sample_conditional(self, key: Key, field: Field) -> Field:
        """The physical field, with the part that the position does not determine drawn; by default nothing is drawn."""
        return field

    @property
    def space(self) -> AbstractSpace:
        """The space that positions are points of."""
        return Real()

    @abc.abstractmethod
    def uniform(self, sign: int) -> Field:
        """A constant start: 0, or a field of typical size and the given sign, in the sector of that magnetization."""

    def noise(self, key: Key) -> Field:
        """A disordered start, see `AbstractSpace.disordered`."""
        return self.space.disordered(key, self.lattice, self.dtype)


class ActionPotential(AbstractPotential):
    """U = S, z = phi."""

    action: AbstractAction
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, action: AbstractAction, lattice: Lattice, dtype: DTypeLike):
        self.action, self.lattice, self.dtype = action, lattice, jnp.dtype(dtype).name

    def evaluate(self, position: Field) -> Evaluation:
        return Evaluation(self.action.force(position))

    def finish(self, position: Field, evaluation: Evaluation) -> tuple[Scalar, Field]:
        return self.action(position), position

    @property
    def space(self) -> AbstractSpace:
        return self.action.space

    def uniform(self, sign: int) -> Field:
        return self.space.ordered(self.action, sign, self.lattice, self.dtype)


class FlowPotential(AbstractPotential):
    """U(z) = S(T(z)) + log q(T(z)) - log r(z) = S(T(z)) - log |det dT/dz| up to a constant, phi = T(z).

    T takes the base's noise z, of density r, through base and bijection. If phi has the density exp(-S), z has exp(-U),
    so a sampler of U followed by T samples exp(-S) for any flow. A trained flow makes U nearly -log r(z), which is
    |z|^2 / 2 for unit normal noise and gives all modes the same frequency (trivialized HMC, arXiv:2302.08408;
    arXiv:0907.5491). The exactness of a continuous flow is limited by its error, see `diagnostics.certificate`.
    """

    flow: Flow
    action: AbstractAction
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(self, flow: Flow, action: AbstractAction):
        flow.require_domain(action)
        self.flow, self.action = flow, action
        self.lattice, self.dtype = flow.lattice, flow.base.dtype

    def evaluate(self, position: Field) -> Evaluation:
        def energy(z: Field) -> tuple[Scalar, Field]:
            field, log_density = self.flow.push(z)
            return self.action(field) + log_density - self.flow.base.log_noise(z), field

        (value, field), gradient = jax.value_and_grad(energy, has_aux=True)(position)
        return Evaluation(-gradient, value, field)

    def finish(self, position: Field, evaluation: Evaluation) -> tuple[Scalar, Field]:
        assert evaluation.energy is not None and evaluation.field is not None
        return evaluation.energy, evaluation.field

    def sample_conditional(self, key: Key, field: Field) -> Field:
        return self.action.sample_conditional(key, field)

    def noise(self, key: Key) -> Field:
        return self.flow.noise(key)

    def uniform(self, sign: int) -> Field:
        """z = 2 sign / sqrt(V): two standard deviations of the magnetization of unit normal noise."""
        return jnp.full(self.lattice.shape, 2 * sign / self.lattice.volume**0.5, self.dtype)


def start_positions(potential: AbstractPotential, kind: str, key: Key, chains: int) -> Float[Array, "chains *shape"]:
    """Starting positions of `chains` chains.

    - `hot`: noise, different for each chain;
    - `cold`: zero;
    - `mixed`: half of them uniform at a typical size, the others at minus that size, so that chains which do not
      tunnel between the sectors of a broken symmetry disagree (see `observables.disagreement`).

    Raises `InputError` for another kind.
    """
    if kind == "hot":
        return jax.vmap(potential.noise)(jax.random.split(key, chains))
    if kind == "cold":
        return jnp.stack([potential.uniform(0)] * chains)
    if kind == "mixed":
        return jnp.stack([potential.uniform(1 if chain % 2 == 0 else -1) for chain in range(chains)])
    raise InputError(f"sampling.start: {kind!r} is unknown; choose one of hot, cold, mixed")
