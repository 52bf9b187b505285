"""Small residuals with known derivatives, and dense linear algebra to compare optimizers with."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

PARAMETERS = np.array([0.4, -0.8, 0.5, 0.2, -0.3])
RIDGE = np.array([0.0, 0.02, 0.0, 0.3, 0.01])


def residual(theta, z):
    """Nonlinear in five parameters; z has three numbers."""
    scaled = jnp.stack([z[0], jnp.sin(theta[1] * z[1]), theta[2] * theta[2] * z[2] * z[0], z[1] * z[2], z[2]])
    return jnp.dot(scaled, theta) + 0.1 * jnp.sum(z * z) + 2.0


def linear(theta, z):
    """Zero spread at theta = 1, 2, ...; z has as many numbers as there are parameters."""
    return jnp.dot(theta - jnp.arange(1.0, 1.0 + theta.size, dtype=theta.dtype), z) - 7.0


def noise(count, size=3, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, size)))


@partial(jax.jit, static_argnums=2)
def derivatives(theta, z, function):
    def batch(theta):
        return jax.vmap(lambda each: function(theta, each))(z)

    return batch(theta), jax.jacobian(batch)(theta)


def centered(theta, z, function=residual):
    """(f, J): the residuals about their mean and the Jacobian about its mean row."""
    values, rows = map(np.asarray, derivatives(jnp.asarray(theta), z, function))
    return values - values.mean(), rows - rows.mean(axis=0)


def floored(diagonal):
    """D of the damping: no parameter is quite free."""
    return diagonal + 1e-6 * np.max(diagonal)
