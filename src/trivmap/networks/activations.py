"""The activation functions of networks, by name."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array

from trivmap.errors import InputError

ODD: Mapping[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "asinh": jnp.arcsinh,
    "arctan": jnp.arctan,
    "sin": jnp.sin,
    "softsign": jax.nn.soft_sign,
    "identity": lambda x: x,
}
"""Odd functions: a network of these without biases is itself exactly odd."""

OTHER: Mapping[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "leaky-relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
}

ACTIVATIONS = ODD | OTHER
"""The activations by name: functions of an array, entry by entry."""


def activation(name: str) -> Callable[[Array], Array]:
    """The function of that name; raises `InputError` for an unknown one."""
    if name not in ACTIVATIONS:
        raise InputError(f"network.activation: {name!r} is unknown; choose one of {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]
