"""A kernel and an independent proposal of a user's own, as docs/how-to/extending.md describes them."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from trivmap import Lattice
from trivmap.actions import AbstractAction
from trivmap.samplers import AbstractIndependence, AbstractKernel, Proposal


class State(NamedTuple):
    field: Array
    action: Array


class Info(NamedTuple):
    accepted: Array
    log_ratio: Array


class RandomWalk(AbstractKernel):
    """Metropolis with a normal step at all sites at once."""

    action: AbstractAction
    lattice: Lattice
    step_size: float = 0.5
    dtype: jnp.dtype = eqx.field(static=True, default=jnp.dtype("float64"))

    def init(self, key):
        field = jax.random.normal(key, self.lattice.shape, self.dtype)
        return State(field, self.action(field))

    def step(self, key, state, shared=None):
        move_key, test_key = jax.random.split(key)
        field = state.field + self.step_size * jax.random.normal(move_key, self.lattice.shape, self.dtype)
        action = self.action(field)
        log_ratio = state.action - action
        accepted = jnp.log(jax.random.uniform(test_key, dtype=float)) < log_ratio
        new = jax.tree.map(lambda there, here: jnp.where(accepted, there, here), State(field, action), state)
        return new, Info(accepted, log_ratio)

    def acceptance(self, info):
        return jnp.exp(jnp.minimum(info.log_ratio, 0))

    def record(self, info):
        return {"log_ratio": info.log_ratio}


class Wide(AbstractIndependence):
    """Independent proposals: normal numbers of one width."""

    action: AbstractAction
    lattice: Lattice
    width: float = 0.8
    dtype: jnp.dtype = eqx.field(static=True, default=jnp.dtype("float64"))

    def propose(self, key):
        noise_key, test_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, self.lattice.shape, self.dtype)
        log_density = jnp.sum(-0.5 * noise**2 - jnp.log(self.width * jnp.sqrt(2 * jnp.pi)))
        field = self.width * noise
        return Proposal(field, -self.action(field) - log_density, jnp.log(jax.random.uniform(test_key, dtype=float)))
