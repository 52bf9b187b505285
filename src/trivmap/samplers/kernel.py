"""The contract of a transition kernel that is compiled by JAX."""

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from trivmap._types import Field, Key
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.spaces import AbstractSpace


class AbstractKernel(eqx.Module):
    """Transition kernel of ONE chain with exp(-S) / Z as its stationary distribution; batches come from `jax.vmap`.

    To add one: give it a `lattice`, and write `init` and `step`. States and infos are pytrees of arrays, for example
    NamedTuples:

    - a state has an attribute `field`, the configuration of the chain in the shape of the action's space, and any other
      data that the next step needs;
    - an info has an attribute `accepted`, a bool: whether the step changed the configuration.

    All randomness comes from the key of the step. A kernel with an attribute `step_size` can be tuned: a driver with a
    target acceptance adapts it in the warm-up, using `acceptance`, and then keeps it fixed.

    `simulation.MarkovChains` runs any kernel. `AbstractIndependence` is the narrower contract of kernels whose
    proposals do not depend on the state, which are made in batches and carry weights.
    """

    if TYPE_CHECKING:

        @property
        def lattice(self) -> Lattice: ...
    else:
        # An attribute or a property.
        lattice: eqx.AbstractVar[Lattice]

    @property
    def space(self) -> AbstractSpace | None:
        """The space of its fields; None if the kernel does not declare it, in which case only the shape is compared."""
        return None

    @abc.abstractmethod
    def init(self, key: Key) -> Any:
        """The state of a new chain; a driver warms it up before anything is measured."""

    @abc.abstractmethod
    def step(self, key: Key, state: Any, shared: Any = None) -> tuple[Any, Any]:
        """(state, info) after one step; `shared` is the result of `shared(key)` for the driver's own key, or None."""

    def shared(self, key: Key) -> Any:
        """Random numbers that all chains share in a step, independent of the chains: by default none.

        Hybrid Monte Carlo draws its number of integration steps here: chains of different lengths side by side would
        all take the time of the longest.
        """
        return None

    def starts(self, kind: str, key: Key, chains: int) -> Any:
        """The states of new chains, with the kinds of `samplers.start_positions`; by default only `hot`."""
        if kind != "hot":
            raise InputError(f"start: {type(self).__name__} has no {kind!r} start; give hot")
        return jax.vmap(self.init)(jax.random.split(key, chains))

    def at(self, position: Field) -> Any:
        """The state of a chain at a given configuration; by default there is none.

        Raises `InputError` for a kernel that cannot begin there.
        """
        raise InputError(f"start: {type(self).__name__} cannot begin at given configurations; it has no method at")

    def valid(self, state: Any) -> Bool[Array, ""]:
        """True if a chain can begin at this state: by default, if its field is finite."""
        return jnp.all(jnp.isfinite(state.field))

    def acceptance(self, info: Any) -> Float[Array, ""]:
        """The probability with which the step was accepted."""
        return jnp.asarray(info.accepted, float)

    def record(self, info: Any) -> Mapping[str, Array]:
        """Numbers of a step that are stored with the measurements, by name; by default none.

        The names must differ from those of observables, and from `accepted`, `log_weight` and `fields`.
        """
        return {}

    @property
    def tunable(self) -> bool:
        """True if the kernel has a step size."""
        return hasattr(self, "step_size")

    def with_own_step_size(self) -> "AbstractKernel":
        """The kernel with its step size as an array of the precision of its fields."""
        size = getattr(self, "step_size", None)
        if size is None or isinstance(size, jax.Array):
            return self
        dtype = jax.eval_shape(self.init, jax.eval_shape(jax.random.key, 0)).field.dtype
        return self.tuned(jnp.asarray(size, dtype))

    def tuned(self, step_size: Array) -> "AbstractKernel":
        """The kernel with another step size; a kernel without one is returned unchanged."""
        return eqx.tree_at(lambda kernel: kernel.step_size, self, step_size) if self.tunable else self

    def facts(self) -> dict[str, Any]:
        """Settings for the summary of a run."""
        return {}

    def check(self, key: Key, state: Any, shared: Any = None) -> Mapping[str, Array]:
        """Numbers that must be small for one chain, by name; a summary has the largest over the chains."""
        return {}
