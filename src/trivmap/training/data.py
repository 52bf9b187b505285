"""Configurations of the target for objectives that are estimated on them."""

import abc
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from trivmap._types import Field, Key, Scalar
from trivmap.actions import AbstractAction
from trivmap.arguments import Count, DirectoryName, bounded
from trivmap.devices import shard_batch
from trivmap.errors import InputError
from trivmap.flows import Flow

Fields = Float[Array, "configurations *lattice"]
Drawn = Float[Array, "batch *lattice"]


class AbstractData(eqx.Module):
    """A source of configurations of exp(-S) for training.

    To add one: keep arrays as fields; the part that changes from step to step is the state, which `begin` makes and
    `draw` updates.
    """

    @property
    def evaluations(self) -> int:
        """Evaluations of the map in every step, beside those of the objective."""
        return 0

    @abc.abstractmethod
    def begin(self, flow: Flow, key: Key) -> PyTree:
        """The state before the first step."""

    @abc.abstractmethod
    def draw(self, state: PyTree, flow: Flow, action: AbstractAction, key: Key, batch: int) -> tuple[Drawn, PyTree]:
        """(configurations of a step, new state); `flow` is the flow before the step."""


@eqx.filter_jit
def begin(data: AbstractData, flow: Flow, key: Key) -> PyTree:
    """The state of a source of data before the first step, compiled."""
    return data.begin(flow, key)


class Stored(AbstractData):
    """Configurations of a simulation, drawn at random, each as a random image under the symmetries of the action.

    Args:
        fields: the configurations, shape (number, *lattice); None if they have not been read, and cannot be drawn.

    Raises `InputError` for an empty array.
    """

    fields: Fields | None

    def __init__(self, fields: Fields | None):
        if fields is not None and len(fields) == 0:
            raise InputError("data: holds no configurations")
        self.fields = None if fields is None else jnp.asarray(fields)

    def begin(self, flow: Flow, key: Key) -> None:
        return None

    def draw(self, state: None, flow: Flow, action: AbstractAction, key: Key, batch: int) -> tuple[Drawn, None]:
        if self.fields is None:
            raise InputError("data: the configurations have not been read yet")
        keys = jax.random.split(key, batch + 1)
        chosen = self.fields[jax.random.randint(keys[0], (batch,), 0, len(self.fields))]
        symmetries = action.symmetries

        def image(key: Key, field: Field) -> Field:
            sign, shift = jax.random.split(key)
            if "translations" in symmetries:
                shifts = jax.random.randint(shift, (field.ndim,), 0, jnp.asarray(field.shape))
                for axis in range(field.ndim):
                    field = jnp.roll(field, shifts[axis], axis)
            return jnp.where(jax.random.bernoulli(sign), -field, field) if "z2" in symmetries else field

        return jax.vmap(image)(keys[1:], chosen), None


def stored(run: Annotated[str, DirectoryName()]) -> Stored:
    """Configurations of a run that has stored its fields: of clusters or hybrid Monte Carlo, for example.

    Args:
        run: run directory, in the folder that holds this run's own; of the same lattice and action, with
            `sampling.save_fields`
    """
    return Stored(None)


class Walkers(AbstractData):
    """Chains of independence Metropolis by the flow that is trained: its own configurations, reweighted.

    Every chain takes one step in each step of the training, with the flow as it then is. The chains start from the
    flow's own configurations, so they know only modes that the flow proposes.

    Args:
        count: the number of chains, for example 256
    """

    count: int = eqx.field(static=True)

    @bounded
    def __init__(self, *, count: Count):
        self.count = count

    @property
    def evaluations(self) -> int:
        return 2 * self.count

    def begin(self, flow: Flow, key: Key) -> Fields:
        keys = jax.random.split(key, self.count)
        return jax.vmap(lambda key: flow.push(flow.noise(key))[0])(keys)

    def draw(self, state: Fields, flow: Flow, action: AbstractAction, key: Key, batch: int) -> tuple[Drawn, Fields]:
        chains, chosen = jax.random.split(key)
        keys = jax.random.split(chains, self.count)
        moved = shard_batch(_steps, (flow, action), (keys, state))
        if batch == self.count:
            return moved, moved
        return moved[jax.random.randint(chosen, (batch,), 0, self.count)], moved


def _steps(of: tuple[Flow, AbstractAction], chains: tuple[Array, Fields]) -> Fields:
    """One step of independence Metropolis for every chain."""
    flow, action = of

    def one(key: Key, field: Field) -> Field:
        noise, test = jax.random.split(key)
        proposal, log_density = flow.push(flow.noise(noise))
        new: Scalar = log_density + action(proposal)
        old: Scalar = flow.log_density(field) + action(field)
        taken = jnp.log(jax.random.uniform(test, (), new.dtype)) < old - new
        return jnp.where(taken & jnp.isfinite(new), proposal, field)

    return jax.lax.stop_gradient(jax.vmap(one)(*chains))
