"""The constants of a backend reach the programs: a processor stands in for every other one."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, Lattice, tuning
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous
from trivmap.fourier import Modes
from trivmap.observables import measure
from trivmap.optimizers.linearization import explicit
from trivmap.samplers import (
    HMC,
    ActionPotential,
    Annealed,
    FlowPath,
    Hamiltonian,
    IndependenceMetropolis,
    annealing_levels,
)
from trivmap.simulation import MarkovChains, ProposalChains, markov
from trivmap.simulation.adaptation import DualAveraging
from trivmap.training.evaluation import draw_log_weights

LATTICE = Lattice((8, 8))
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
KEY = jax.random.key(0)
OTHER = tuning.Tuning(
    map_sites=48 * 64, jacobian_sites=24 * 64, proposal_sites=96 * 64, proposals=(1, 1000), shared=(1, 1),
    chain_sites=5 * 2 * 64, matrix_sites=64,
)  # fmt: skip


@pytest.fixture
def other(monkeypatch):
    monkeypatch.setattr(tuning, "TUNINGS", tuning.TUNINGS | {"other": OTHER})
    monkeypatch.setattr(tuning, "backend", lambda: "other")


def flow():
    base = FreeField(LATTICE, mass=1.0, dtype=jnp.float64)
    return Flow(base, Chain(LATTICE, [Continuous(LATTICE, steps=1, dtype=jnp.float64)]))


def batches(function: Any, *arguments: Any) -> set[int]:
    """The sizes of all leading axes in a program, those of its loops included."""

    def equations(jaxpr: Any) -> Iterator[Any]:
        for equation in jaxpr.eqns:
            yield equation
            for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)

    traced = jax.make_jaxpr(function)(*arguments)
    variables = [v.aval for equation in equations(traced.jaxpr) for v in equation.outvars]
    return {aval.shape[0] for aval in variables if len(aval.shape) == 3 and aval.shape[1:] == LATTICE.shape}


def _arguments(driver):
    """What a call of the chains' program takes beside the kernel."""
    states, _ = jax.eval_shape(driver._states, driver._arrays, KEY, None)
    size = jnp.asarray(0.2)
    number = jnp.asarray(0, jnp.int32)
    return markov._Walk(states, size, DualAveraging.begin(size)), KEY, number, number, jnp.asarray(False)


def test_the_backend_of_this_process_has_its_constants():
    assert tuning.tuning() is tuning.TUNINGS[jax.default_backend()]
    processor, accelerator = tuning.TUNINGS["cpu"], tuning.TUNINGS["gpu"]
    for volume in (16, 1024, 2**16):
        assert processor.map_batch(volume) <= accelerator.map_batch(volume)
        assert processor.proposal_batch(volume) < accelerator.proposal_batch(volume)


def test_an_unknown_backend_is_taken_for_an_accelerator(monkeypatch):
    monkeypatch.setattr(tuning, "backend", lambda: "quantum")
    assert tuning.tuning() == tuning.TUNINGS["gpu"]


@pytest.mark.usefixtures("other")
def test_evaluation_takes_the_wanted_configurations_at_once():
    found = batches(lambda key: draw_log_weights.__wrapped__(flow(), ACTION, key, 1, 480), KEY)
    assert 48 in found and max(found) == 48


@pytest.mark.usefixtures("other")
def test_a_jacobian_takes_the_wanted_configurations_at_once():
    def residual(theta, z):
        return ACTION(theta[0] * z)

    noise = jnp.ones((240, *LATTICE.shape))
    found = batches(lambda z: explicit(residual, jnp.ones(1), z).residuals, noise)
    assert 24 in found and max(found - {240}) == 24


@pytest.mark.usefixtures("other")
def test_proposals_come_in_the_wanted_batches():
    driver = ProposalChains(IndependenceMetropolis(flow(), ACTION), KEY, chains=1, measure=lambda field: {})
    assert driver.stride == 96
    annealed = Annealed(FlowPath(flow(), ACTION), annealing_levels(2), [Hamiltonian(0.1, 1)])
    assert annealed.micro_batch == 48


@pytest.mark.usefixtures("other")
def test_chains_take_the_wanted_steps_in_a_call():
    kernel = HMC(ActionPotential(ACTION, LATTICE, jnp.float64), step_size=0.2)
    driver = MarkovChains(kernel, KEY, chains=2, measure=lambda field: measure(ACTION, field), target=None, warmup=0)
    rows = jax.eval_shape(driver._run, driver._arrays, *_arguments(driver), thin=None)[1]
    assert {row.shape[:2] for row in rows.values()} == {(5, 2)}


@pytest.mark.usefixtures("other")
def test_small_lattices_are_transformed_by_a_matrix():
    assert Modes(LATTICE).method == "matrix"
    field = np.random.default_rng(0).normal(size=LATTICE.shape)
    by_fft = Modes(LATTICE, "fft")
    there = Modes(LATTICE).inverse(Modes(LATTICE).forward(jnp.asarray(field)))
    np.testing.assert_allclose(there, by_fft.inverse(by_fft.forward(jnp.asarray(field))), atol=1e-12)


def test_what_is_drawn_does_not_depend_on_them(monkeypatch):
    def drawn():
        driver = ProposalChains(
            IndependenceMetropolis(flow(), ACTION), KEY, chains=1, measure=lambda field: {"one": field[0, 0]}
        )
        part, _ = driver.part(driver.start(), 0, 200)
        return np.asarray(part.log_weight), np.asarray(part.observables["one"])

    here = drawn()
    monkeypatch.setattr(tuning, "TUNINGS", tuning.TUNINGS | {"other": OTHER})
    monkeypatch.setattr(tuning, "backend", lambda: "other")
    for one, other in zip(here, drawn(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)
