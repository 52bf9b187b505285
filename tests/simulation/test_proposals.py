"""Chains run in parts and batches of any size are one and the same chain."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import ChainOracle
from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import Gaussian
from trivmap.bijections import AbstractBijection, Affine, Chain, DenseNetwork, coupling_stack
from trivmap.samplers import IndependenceMetropolis, proposal_key
from trivmap.simulation import Part, ProposalChains, default_batch

LATTICE = Lattice((4,))
ROOT = Path(__file__).parents[2]
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
KEY = jax.random.key(8)
MAPS = coupling_stack(LATTICE, Affine(), 2, DenseNetwork((3,)), dtype=jnp.float64, key=jax.random.key(1)).maps
FLOW = Flow(Gaussian(LATTICE, dtype=jnp.float64), Chain(LATTICE, MAPS))


def magnetization(field):
    return {"m": jnp.mean(field), "square": jnp.mean(field**2, keepdims=True)}


def simulation(batch, flow=FLOW, action=ACTION, chains=4, **options):
    kernel = IndependenceMetropolis(flow, action)
    return ProposalChains(kernel, KEY, chains=chains, measure=magnetization, batch=batch, **options)


def run(driver, chain, start, stop, state=None, **options):
    """A part of one of the chains, without the axis of chains, and the state of all."""
    part, state = driver.part(driver.start() if state is None else state, start, stop, **options)
    own = {name: values[chain] for name, values in part.observables.items()}
    fields = None if part.fields is None else part.fields[chain]
    return Part(part.accepted[chain], own, fields, part.log_weight[chain]), state


ONE, SEVEN, MANY = (simulation(batch) for batch in (1, 7, 64))


def assert_same(part, other, exactly=False):
    """The same decisions, and numbers that agree to rounding."""
    tolerance = 0 if exactly else 1e-12
    assert np.array_equal(part.accepted, other.accepted)
    np.testing.assert_allclose(part.log_weight, other.log_weight, rtol=tolerance, atol=tolerance)
    assert part.observables.keys() == other.observables.keys()
    for name, values in part.observables.items():
        assert values.shape == other.observables[name].shape
        np.testing.assert_allclose(values, other.observables[name], rtol=tolerance, atol=tolerance)
    assert (part.fields is None) == (other.fields is None)
    if part.fields is not None:
        assert part.fields.shape == other.fields.shape
        np.testing.assert_allclose(part.fields, other.fields, rtol=tolerance, atol=tolerance)


def joined(parts):
    return type(parts[0])(
        np.concatenate([part.accepted for part in parts]),
        {name: np.concatenate([part.observables[name] for part in parts]) for name in parts[0].observables},
        None if parts[0].fields is None else np.concatenate([part.fields for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
    )


@pytest.fixture(scope="module")
def whole():
    part, state = run(MANY, 2, 0, 50, thin=1)
    return part, state


@pytest.mark.parametrize("other", [ONE, SEVEN])
def test_batch_size_changes_nothing(whole, other):
    part, state = run(other, 2, 0, 50, thin=1)
    assert_same(part, whole[0])
    assert state["log_weight"][2] == pytest.approx(whole[1]["log_weight"][2], rel=1e-13)
    np.testing.assert_allclose(state["fields"], whole[1]["fields"], rtol=1e-12)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_no_bit(threads):
    one, several = simulation(7, threads=1), simulation(7, threads=threads)
    part, state = run(one, 2, 3, 50, thin=1)
    other, state_there = run(several, 2, 3, 50, thin=1)
    assert_same(other, part, exactly=True)
    for name in ("log_weight", "fields"):
        assert np.array_equal(state_there[name], state[name])


def test_threads_work_in_the_precision_of_their_caller():
    """JAX's contexts hold for one thread: another one, tracing for itself, would make float32 of this."""
    assert jax.config.jax_enable_x64
    with jax.enable_x64(False):
        one, several = (simulation(7, flow=FLOW.astype(jnp.float32), threads=threads) for threads in (1, 3))
        assert_same(run(several, 2, 0, 50)[0], run(one, 2, 0, 50)[0], exactly=True)


def test_every_entry_is_the_proposal_of_its_index(whole):
    part, _ = whole
    assert part.log_weight.dtype == np.float64
    assert part.observables["square"].shape == (50, 1)
    kernel = IndependenceMetropolis(FLOW, ACTION)
    keys = jax.vmap(lambda i: proposal_key(KEY, 2, i))(jnp.arange(50, dtype=jnp.uint32))
    made = jax.jit(jax.vmap(lambda key: kernel.propose(key)))(keys)
    np.testing.assert_allclose(part.log_weight, made.log_weight, rtol=1e-12)
    np.testing.assert_allclose(part.observables["m"], made.field.mean(axis=1), rtol=1e-12, atol=1e-14)
    assert 5 < part.accepted.sum() < 50
    latest = np.maximum.accumulate(np.where(part.accepted, np.arange(50), -1))
    np.testing.assert_allclose(part.fields, made.field[latest], rtol=1e-12)


@pytest.mark.parametrize("edges", [[13, 14, 40], [1, 2, 3], [49]])
def test_parts_change_nothing(whole, edges):
    parts, state = [], None
    for start, stop in zip([0, *edges], [*edges, 50], strict=True):
        part, state = run(SEVEN, 2, start, stop, state, thin=1)
        parts.append(part)
    assert_same(joined(parts), whole[0])
    np.testing.assert_allclose(state["fields"], whole[1]["fields"], rtol=1e-12)


@pytest.mark.parametrize("thin", [2, 3, 7, 50, 64])
@pytest.mark.parametrize("edges", [[], [10, 11, 30]])
def test_thinning_keeps_every_so_many_th_configuration(whole, thin, edges):
    parts, state = [], None
    for start, stop in zip([0, *edges], [*edges, 50], strict=True):
        part, state = run(SEVEN, 2, start, stop, state, thin=thin)
        parts.append(part)
    fields = joined(parts).fields
    assert fields.shape == (-(-50 // thin), 4)
    np.testing.assert_allclose(fields, whole[0].fields[::thin], rtol=1e-12)
    assert np.all(np.any(fields != 0, axis=1))


def test_fields_are_kept_only_where_they_are_wanted(whole):
    part, state = run(MANY, 2, 0, 50)
    assert part.fields is None and "fields" not in state
    assert_same(part._replace(fields=whole[0].fields), whole[0], exactly=True)


def test_chains_are_different_and_repeatable(whole):
    other, _ = run(MANY, 3, 0, 50)
    assert np.abs(other.log_weight - whole[0].log_weight).min() > 1e-9
    again, _ = run(MANY, 2, 0, 50, thin=1)
    assert_same(again, whole[0], exactly=True)


class Undefined(AbstractBijection):
    """The identity whose log-determinant is not a number where the field's mean is negative."""

    lattice: Lattice

    def forward(self, x):
        return x, jnp.where(jnp.mean(x) < 0, jnp.nan, 0.0)

    def inverse(self, y):
        return y, -self.forward(y)[1]


class TestUndefinedProposals:
    FLOW = Flow(Gaussian(LATTICE, dtype=jnp.float64), Undefined(LATTICE))
    SIMULATION = simulation(7, flow=FLOW, chains=20)

    def test_are_never_accepted(self):
        part, _ = run(self.SIMULATION, 0, 0, 60, thin=1)
        negative = part.observables["m"] < 0
        assert 10 < negative.sum() < 50
        assert np.array_equal(np.isnan(part.log_weight), negative)
        assert not np.any(part.accepted & negative)
        first = int(np.flatnonzero(part.accepted)[0])
        assert np.all(part.fields[first:].mean(axis=1) > 0)

    def test_a_chain_may_begin_with_them(self):
        """Until something is accepted the fields are zero, whatever the parts."""
        chain = next(c for c in range(20) if np.isnan(run(self.SIMULATION, c, 0, 3)[0].log_weight).all())
        whole, end = run(self.SIMULATION, chain, 0, 30, thin=1)
        first = int(np.flatnonzero(whole.accepted)[0])
        assert first >= 3
        assert np.all(whole.fields[:first] == 0) and np.all(whole.fields[first:].any(axis=1))
        head, state = run(self.SIMULATION, chain, 0, 2, thin=1)
        assert state["log_weight"][chain] == -np.inf and np.all(state["fields"][chain] == 0)
        tail, state = run(self.SIMULATION, chain, 2, 30, state, thin=1)
        assert_same(joined([head, tail]), whole)
        np.testing.assert_allclose(state["fields"], end["fields"])


def test_a_wrong_width_gives_the_exact_ring():
    """d = 1 from unit normal proposals: <phi^2>, <phi phi'>, <|m|> of the transfer matrix, errors from the chains."""
    exact = ChainOracle(4, *ACTION.coefficients)
    flow = Flow(Gaussian(LATTICE, dtype=jnp.float64), Chain(LATTICE, []))

    def measure(field):
        neighbors = field * jnp.roll(field, 1)
        return {"phi2": jnp.mean(field**2), "link": jnp.mean(neighbors), "abs_m": jnp.abs(jnp.mean(field))}

    wide = ProposalChains(IndependenceMetropolis(flow, ACTION), KEY, chains=48, measure=measure, batch=2000)
    part, _ = wide.part(wide.start(), 0, 2000)
    means = []
    for chain, accepted in enumerate(part.accepted):
        latest = np.maximum.accumulate(np.where(accepted, np.arange(2000), -1))[50:]
        means.append([part.observables[name][chain][latest].mean() for name in ("phi2", "link", "abs_m")])
    value, error = np.mean(means, axis=0), np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    wanted = np.array([exact.phi2, exact.two_point[1], exact.abs_magnetization])
    assert np.all(np.abs(value - wanted) < 3.5 * error)
    assert np.all(error < 0.01)
    proposed = part.observables["phi2"].mean()
    assert abs(proposed - 1) < 0.02 and exact.phi2 < 0.8


def peak(parts):
    """The most bytes that so many parts, one after another, take on the way."""
    state = MANY.start()
    tracemalloc.start()
    for number in range(parts):
        _, state = MANY.part(state, 640 * number, 640 * (number + 1), thin=64)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


def test_proposals_by_themselves_are_those_that_are_tested():
    driver = simulation(64)
    part, _ = driver.part(driver.start(), 0, 200)
    for chain in (0, 3):
        made = list(driver.proposals(chain, 64, 200))
        assert [len(proposal.log_weight) for proposal, _ in made] == [64, 64, 8]
        for name, values in (("m", part.observables["m"]), (None, part.log_weight)):
            found = [proposal.log_weight if name is None else measured[name] for proposal, measured in made]
            np.testing.assert_array_equal(np.concatenate(found), values[chain, 64:])


PEAKS = """
import tests.conftest
from tests.simulation.test_proposals import peak
peak(2)
print(peak(2), peak(20))
"""


def test_memory_does_not_grow_with_the_number_of_parts():
    """In a process of its own: what JAX allocates on the way depends on the tests before."""
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many < few + 400_000  # twice the arrays of one part; 18 more parts that stay would be 3.6 MB


@pytest.mark.parametrize(("volume", "batch"), [(4, 4096), (64, 4096), (1024, 256), (64**2, 64), (64**3, 64)])
def test_default_batch(volume, batch):
    assert default_batch(volume) == batch
