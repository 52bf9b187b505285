"""Samplers that move in the noise of a flow, where that noise is not normal: exact ensembles by quadrature."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.documented import my_theory
from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bijections import Chain
from trivmap.diagnostics import log_z
from trivmap.samplers import HMC, Annealed, FlowPath, FlowPotential, Hamiltonian, annealing_levels
from trivmap.simulation import MarkovChains

PAIR, ACTION = Lattice((2,)), Phi4(-0.4, 0.3, 0.1, 1)
GRID, CELL = np.linspace(-8, 8, 401, retstep=True)


def flow():
    return Flow(my_theory().Logistic(PAIR, "float64", width=0.4), Chain(PAIR, []))


@eqx.filter_jit
def propose(kernel, keys):
    return jax.vmap(kernel.propose)(keys)


def exact():
    """(log Z, <phi^2>) of the two sites."""
    x, y = np.meshgrid(GRID, GRID)
    weight = np.exp(-(2 * -0.4 * x * y + 0.3 * (x**2 + y**2) + 0.1 * (x**4 + y**4)))
    return np.log(weight.sum() * CELL**2), np.sum(weight * (x**2 + y**2) / 2) / weight.sum()


def test_trivialized_hmc():
    kernel = HMC(FlowPotential(flow(), ACTION), step_size=0.6, trajectory_length=2.0)
    options = {"chains": 64, "warmup": 100, "measure": lambda field: {"phi2": jnp.mean(field**2)}}
    driver = MarkovChains(kernel, jax.random.key(1), **options)
    part, _ = driver.part(driver.start(), 0, 600)
    means = part.observables["phi2"].mean(axis=1)
    error = means.std(ddof=1) / 8
    assert error < 0.01
    assert abs(means.mean() - exact()[1]) < 3.5 * error


@pytest.mark.parametrize("levels", [1, 6])
def test_annealing(levels):
    kernel = Annealed(FlowPath(flow(), ACTION), annealing_levels(levels), [Hamiltonian(0.5, 3)])
    made = propose(kernel, jax.random.split(jax.random.key(2), 20_000))
    estimate = log_z(made.log_weight)
    assert estimate.error < 0.02
    assert abs(estimate.value - exact()[0]) < 3.5 * estimate.error
    weight = np.exp(np.asarray(made.log_weight - made.log_weight.max()))
    phi2 = np.mean(np.asarray(made.field) ** 2, axis=1)
    mean = weight @ phi2 / weight.sum()
    error = np.sqrt(np.sum((weight * (phi2 - mean)) ** 2)) / weight.sum()
    assert abs(mean - exact()[1]) < 3.5 * error < 0.08
