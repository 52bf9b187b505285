"""What is measured: one optimizer step of reverse-KL training towards phi^4, of two networks at several sizes.

A contender is a library's own way to write one of the networks. It gives a function that takes many training steps
(noise, map, log-density, action, gradient, Adam) in one compiled loop, and the state it starts from.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

NOTATION, COUPLINGS = "albergo2019", {"m_sq": -4.0, "lam": 8.0}
LEARNING_RATE = 1e-3
KERNEL, CHANNELS = 3, (8, 8)
COUPLING_LAYERS = {"dense": 8, "conv": 16}


class Case(NamedTuple):
    """A network on an extent x extent lattice, trained with `batch` configurations a step."""

    network: str
    extent: int
    batch: int

    @property
    def volume(self) -> int:
        return self.extent**2

    def __str__(self) -> str:
        return f"{self.network} L={self.extent} batch={self.batch}"


class Program(NamedTuple):
    """`run(state) -> state` takes `steps` training steps; `x64` is the precision mode it wants to be traced in."""

    run: Callable[[Any], Any]
    state: Any
    x64: bool


Build = Callable[[Case, int], Program]


def action(field: jax.Array) -> jax.Array:
    """The phi^4 action of one configuration, for the libraries that bring none of their own."""
    square = field * field
    links = sum(field * jnp.roll(field, -1, axis) for axis in range(field.ndim))
    return jnp.sum(-2.0 * links + (2 * field.ndim + COUPLINGS["m_sq"]) * square + COUPLINGS["lam"] * square * square)


def adam_loop(loss: Callable[[Any, jax.Array], jax.Array], parameters: Any, steps: int) -> Program:
    """`steps` steps of Adam on `loss(parameters, key)`, as one scan."""
    optimizer = optax.adam(LEARNING_RATE)

    def step(state, key):
        parameters, moments = state
        gradient = jax.grad(loss)(parameters, key)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), None

    def run(state):
        training, key = state
        key, use = jax.random.split(key)
        training, _ = jax.lax.scan(step, training, jax.random.split(use, steps))
        return training, key

    return Program(run, ((parameters, optimizer.init(parameters)), jax.random.key(1)), x64=False)
