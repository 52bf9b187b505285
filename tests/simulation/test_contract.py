"""What every kernel must do. A new one is a line in `KERNELS`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from tests.oracles import ChainOracle
from tests.simulation.own_kernel import RandomWalk, State, Wide
from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField, Gaussian
from trivmap.bijections import Affine, Chain, DenseNetwork, coupling_stack
from trivmap.errors import InputError
from trivmap.observables import Mean, analyze
from trivmap.samplers import (
    HMC,
    OMELYAN,
    ActionPotential,
    Annealed,
    ClusterCycle,
    FlowPath,
    FlowPotential,
    FourierMass,
    Hamiltonian,
    HeatBath,
    HoppingExpansionPath,
    IndependenceMetropolis,
    Langevin,
    Wolff,
    annealing_levels,
    require_contract,
)
from trivmap.simulation import ClusterChains, MarkovChains, ProposalChains, simulate

RING = Lattice((4,))
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
KEY = jax.random.key(31)
POTENTIAL = ActionPotential(ACTION, RING, jnp.float64)
MAPS = coupling_stack(RING, Affine(), 2, DenseNetwork((3,)), dtype=jnp.float64, key=jax.random.key(1)).maps
FLOW = Flow(FreeField(RING, mass=1.5, dtype=jnp.float64), Chain(RING, MAPS))
NORMAL = Flow(Gaussian(RING, dtype=jnp.float64), Chain(RING, []))
LEVELS = annealing_levels(4)
KERNELS = {
    "hmc": HMC(POTENTIAL, step_size=0.5),
    "hmc-fourier": HMC(
        POTENTIAL, step_size=0.5, integrator=OMELYAN, kinetic=FourierMass(RING, m_sq=0.5, dtype=jnp.float64)
    ),
    "langevin": Langevin(ACTION, RING, jnp.float64, step_size=0.5),
    "trivialized-hmc": HMC(FlowPotential(FLOW, ACTION), step_size=0.4),
    "flow": IndependenceMetropolis(FLOW, ACTION),
    "annealed": Annealed(FlowPath(NORMAL, ACTION), LEVELS, [Hamiltonian(0.4, 2)]),
    "particles": Annealed(FlowPath(NORMAL, ACTION), LEVELS, [Hamiltonian(0.4, 2)], particles=3),
    "heat-bath": Annealed(HoppingExpansionPath(RING, ACTION, dtype=jnp.float64), LEVELS, [HeatBath(1)]),
    "swendsen-wang": ClusterCycle(ACTION, RING),
    "wolff": ClusterCycle(ACTION, RING, Wolff(2)),
    "metropolis": ClusterCycle(ACTION, RING, None, sweeps=4),
    "own": RandomWalk(ACTION, RING, 0.6),
    "own-proposals": Wide(ACTION, RING),
}
TRACED = sorted(name for name, kernel in KERNELS.items() if not isinstance(kernel, ClusterCycle))


def scalars(field):
    return {"phi2": jnp.mean(field**2), "link": jnp.mean(field * jnp.roll(field, 1)), "m": jnp.mean(field)}


@functools.cache
def driver(name, *, chains=3, seed=31):
    """One for all tests: to compile it takes the time."""
    kernel, key, warmup = KERNELS[name], jax.random.key(seed), 20
    match kernel:
        case ClusterCycle():
            return ClusterChains(kernel, key, chains=chains, warmup=warmup, measure=scalars)
        case IndependenceMetropolis() | Annealed() | Wide():
            return ProposalChains(kernel, key, chains=chains, measure=scalars, batch=64)
    return MarkovChains(kernel, key, chains=chains, measure=scalars, warmup=warmup, target=None)


def assert_same(part, other, exactly=True):
    tolerance = 0 if exactly else 1e-10
    assert np.array_equal(part.accepted, other.accepted)
    for name, values in part.observables.items():
        np.testing.assert_allclose(values, other.observables[name], rtol=tolerance, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(part.fields, other.fields, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", KERNELS)
def test_the_exact_ring(name):
    """Against the transfer matrix, the error from the scatter of many chains."""
    exact = ChainOracle(4, *ACTION.coefficients)
    history = simulate(KERNELS[name], ACTION, KEY, steps=400, chains=64, warmup=60)
    results = analyze(history, bins=64 * 8)
    wanted = {"phi2": exact.phi2, "nearest_neighbor": exact.two_point[1], "abs_magnetization": exact.abs_magnetization}
    for observable, value in wanted.items():
        if observable in results:
            found = results[observable]
            found.gamma_method()
            assert abs(found.value - value) < 3.5 * found.dvalue, observable
            assert found.dvalue < 0.05 * value, observable
    assert "phi2" in results


@pytest.mark.parametrize("name", KERNELS)
def test_parts_are_one_run(name):
    own = driver(name)
    start = own.start()
    whole, end = own.part(start, 0, 40, thin=1)
    state, parts = own.start(), []
    for first, last in ((0, 7), (7, 8), (8, 40)):
        # As it comes back from the disk.
        state = {entry: np.array(values) for entry, values in state.items()}
        part, state = own.part(state, first, last, thin=1)
        parts.append(part)
    joined = whole._replace(
        accepted=np.concatenate([part.accepted for part in parts], axis=1),
        observables={
            entry: np.concatenate([part.observables[entry] for part in parts], axis=1) for entry in whole.observables
        },
        fields=np.concatenate([part.fields for part in parts], axis=1),
    )
    assert_same(joined, whole)
    assert state.keys() == end.keys()
    for entry, values in end.items():
        assert np.array_equal(state[entry], values), entry


@pytest.mark.parametrize("name", KERNELS)
def test_the_key_decides(name):
    own, other = driver(name), driver(name, seed=32)
    first, second, third = (each.part(each.start(), 0, 40, thin=1)[0] for each in (own, own, other))
    assert_same(first, second)
    assert np.abs(first.fields - third.fields).max() > 0.1
    for chain in range(1, 3):
        assert np.abs(first.fields[0] - first.fields[chain]).max() > 0.1


@pytest.mark.parametrize("name", KERNELS)
def test_a_chain_does_not_depend_on_the_others(name):
    few, many = (driver(name, chains=chains) for chains in (1, 3))
    alone, among = (each.part(each.start(), 0, 40, thin=1)[0] for each in (few, many))
    among = among._replace(
        accepted=among.accepted[:1],
        observables={entry: values[:1] for entry, values in among.observables.items()},
        fields=among.fields[:1],
    )
    assert_same(alone, among, exactly=False)


@pytest.mark.parametrize("name", KERNELS)
def test_steps_that_are_accepted_change_the_field(name):
    own = driver(name)
    part, _ = own.part(own.start(), 0, 40, thin=1)
    changed = np.any(part.fields[:, 1:] != part.fields[:, :-1], axis=-1)
    assert np.array_equal(changed, part.accepted[:, 1:])
    assert part.accepted.any()


@pytest.mark.parametrize("name", TRACED)
def test_what_the_library_asks_of_a_kernel(name):
    require_contract(KERNELS[name])
    kernel = KERNELS[name]
    assert kernel.lattice == RING
    state, info = jax.eval_shape(kernel.step, KEY, jax.eval_shape(kernel.init, KEY))
    assert state.field.shape == RING.shape and info.accepted.dtype == bool


class TestTuning:
    def test_of_an_own_kernel(self):
        own = MarkovChains(KERNELS["own"], KEY, chains=32, measure=scalars, warmup=200, target=0.4)
        state = own.start()
        part, state = own.part(state, 0, 300)
        assert part.accepted.mean() == pytest.approx(0.4, abs=0.04)
        facts = own.diagnostics(state)
        assert facts["step_size"] == state["step_size"] != 0.6 and facts["wanted_acceptance"] == 0.4
        assert part.observables["log_ratio"].shape == (32, 300)

    def test_of_a_kernel_without_a_step_size(self):
        with pytest.raises(InputError, match="IndependenceMetropolis has no step_size"):
            MarkovChains(KERNELS["flow"], KEY, chains=2, measure=scalars, target=0.5)

    def test_independent_proposals_are_a_chain_too(self):
        """The plain step of the kernel makes the chain that the accept test makes of a batch."""
        chain = MarkovChains(KERNELS["flow"], KEY, chains=4, measure=scalars, warmup=10, target=None)
        part, _ = chain.part(chain.start(), 0, 2000)
        exact = ChainOracle(4, *ACTION.coefficients)
        means = part.observables["phi2"].reshape(-1, 200).mean(axis=1)
        assert abs(means.mean() - exact.phi2) < 4 * means.std(ddof=1) / np.sqrt(len(means))


class Broken(RandomWalk):
    """Breaks its contract in the way that its subclass says."""


class Smaller(Broken):
    def init(self, key):
        return State(jnp.zeros(3), jnp.zeros(()))


class OtherForm(Broken):
    def step(self, key, state, shared=None):
        return State(state.field.astype(jnp.float32), state.action), super().step(key, state)[1]


class Alone(Broken):
    def step(self, key, state, shared=None):
        return super().step(key, state)[0]


class Undecided(Broken):
    def step(self, key, state, shared=None):
        return state, State(state.field, state.action)


class Raising(Broken):
    def step(self, key, state, shared=None):
        if state.field[0] > 0:
            return state, None
        return state, None


class Fieldless(Broken):
    def init(self, key):
        return jnp.zeros(4)


class Unweighted(Wide):
    def propose(self, key):
        return super().propose(key)._replace(log_weight=jnp.zeros(4))


class Clashing(Broken):
    def record(self, info):
        return {"phi2": info.log_ratio}


class Claiming(Broken):
    """Would replace the decisions by their probabilities."""

    def record(self, info):
        return {"accepted": self.acceptance(info)}


class Forgetful(Broken):
    def acceptance(self, info):
        return info.chance


class Vague(Broken):
    def valid(self, state):
        return state.field > 0


class Elsewhere(Broken):
    def starts(self, kind, key, chains):
        return State(jnp.zeros((chains, 4)), jnp.zeros((chains, 2)))


class KeptState(NamedTuple):
    field: Array
    key: Array


class Keeping(Broken):
    def init(self, key):
        return KeptState(jnp.zeros(4), key)


class SizedState(NamedTuple):
    field: Array
    step_size: Array


class Sized(Broken):
    def init(self, key):
        return SizedState(jnp.zeros(4), jnp.zeros(()))


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        (Smaller, r"Smaller.init: the state's field: must be floating of shape \(4,\), got float64 of shape \(3,\)"),
        (
            OtherForm,
            r"OtherForm.step: returns another form of state than init: field float32\[4\], action",
        ),
        (Alone, r"Alone.step: must return \(state, info\)"),
        (Undecided, "Undecided.step: the info's accepted: is missing"),
        (Raising, "Raising.step: cannot be traced by JAX"),
        (Fieldless, "Fieldless.init: the state's field: is missing"),
        (Unweighted, r"Unweighted.propose: log_weight: must be floating of shape \(\)"),
        (Clashing, "Clashing.record: 'phi2' is the name of something else"),
        (Claiming, "Claiming.record: 'accepted' is the name of something else"),
        (Forgetful, "Forgetful.acceptance: cannot be traced by JAX"),
        (Vague, r"Vague.valid: must be bool of shape \(\), got bool of shape \(4,\)"),
        (Elsewhere, "Elsewhere.starts: gives another form of state than init"),
        (Keeping, "Keeping.init: the state's key is a key, which is not stored"),
        (Sized, "Sized.init: the state has a part 'step_size', which must have another name to be stored"),
    ],
)
def test_a_kernel_that_breaks_the_contract(kernel, sentence):
    with pytest.raises(InputError, match=sentence):
        simulate(kernel(ACTION, RING), ACTION, KEY, steps=10)


@pytest.mark.parametrize("bad", [{"chains": 0}, {"steps": 0}, {"warmup": -1}])
def test_numbers_that_make_no_simulation(bad):
    with pytest.raises(InputError, match="chains, steps, warmup"):
        simulate(KERNELS["hmc"], ACTION, KEY, **{"steps": 10} | bad)


@pytest.mark.parametrize("name", ["own", "swendsen-wang", "flow"])
def test_own_observables_are_measured(name):
    sixth = Mean(name="sixth_power", measure=lambda field, action: jnp.mean(field**6, dtype=float))
    history = simulate(KERNELS[name], ACTION, KEY, steps=50, warmup=20, observables=sixth)
    assert history["sixth_power"].shape == (4, 70 if name == "flow" else 50)


def test_the_start_is_the_kernels_to_know():
    with pytest.raises(InputError, match="RandomWalk has no 'mixed' start"):
        simulate(KERNELS["own"], ACTION, KEY, steps=10, start="mixed")
    assert simulate(KERNELS["hmc"], ACTION, KEY, steps=10, start="mixed").chains == 4


def test_records_are_those_of_one_chain():
    """A sum in `record` runs over what a chain has, not over the chains."""

    class Summing(RandomWalk):
        def record(self, info):
            return {"summed": jnp.sum(info.log_ratio)}

    history = simulate(Summing(ACTION, RING), ACTION, KEY, steps=20)
    assert history["summed"].shape == (4, 20) and np.ptp(history["summed"][:, 5]) > 0


def test_single_precision():
    """A step size that is a plain number does not widen the fields."""
    kernel = RandomWalk(ACTION, RING, 0.6, jnp.dtype("float32"))
    driver = MarkovChains(kernel, KEY, chains=2, measure=scalars, warmup=20, target=0.4)
    part, state = driver.part(driver.start(), 0, 30, thin=1)
    assert part.fields.dtype == state["step_size"].dtype == np.float32
    with pytest.raises(InputError, match="must be float64 of shape"):
        require_contract(kernel, dtype="float64")


@pytest.mark.parametrize(("name", "given"), [("flow", {"target": 0.5}), ("wolff", {"start": "cold"})])
def test_what_has_no_meaning_is_refused(name, given):
    with pytest.raises(InputError, match="target, start: of no use"):
        simulate(KERNELS[name], ACTION, KEY, steps=10, **given)


def test_given_starts():
    fields = np.random.default_rng(0).normal(size=(4, *KERNELS["hmc"].lattice.shape))
    found = simulate(KERNELS["hmc"], ACTION, KEY, steps=10, start=fields, warmup=0)
    again = simulate(KERNELS["hmc"], ACTION, KEY, steps=10, start="hot", warmup=0)
    assert found.chains == 4 and not np.array_equal(found["phi2"], again["phi2"])
    with pytest.raises(InputError, match="RandomWalk cannot begin at given configurations; it has no method at"):
        simulate(KERNELS["own"], ACTION, KEY, steps=10, start=fields)
    with pytest.raises(InputError, match="4 chains begin at configurations of shape"):
        simulate(KERNELS["hmc"], ACTION, KEY, steps=10, start=fields[:3])
    with pytest.raises(InputError, match="has no step size and one kind of start"):
        simulate(KERNELS["flow"], ACTION, KEY, steps=10, start=fields)
