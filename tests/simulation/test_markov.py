"""Hamiltonian chains sample what they should, whatever the integrator, the masses, the map and the cuts into parts."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from tests.oracles import ChainOracle, FreeFieldOracle, square_lattice
from trivmap import Flow, Lattice
from trivmap.actions import AbstractAction, FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Affine, Chain, Continuous, ConvolutionalNetwork, Features, KernelBasis, coupling_stack
from trivmap.errors import InputError
from trivmap.observables import ArrayHistory, analyze, disagreement, measure
from trivmap.reports.references import find_reference
from trivmap.samplers import HMC, OMELYAN, ActionPotential, FlowPotential, FourierMass
from trivmap.simulation import MarkovChains, Part

KEY = jax.random.key(12)
RING = Lattice((4,))
RING_ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)


def scalars(action, field):
    neighbors = sum(field * jnp.roll(field, 1, axis) for axis in range(field.ndim))
    return {
        "phi2": jnp.mean(field**2),
        "phi4": jnp.mean(field**4),
        "link": jnp.mean(neighbors) / field.ndim,
        "susceptibility": field.size * jnp.mean(field) ** 2,
        "action_density": action(field) / field.size,
    }


def run(kernel, action, *, chains=256, steps=300, **options):
    """Means over chains with their errors, which take no account of autocorrelation because they need none."""
    driver = MarkovChains(kernel, KEY, chains=chains, measure=partial(scalars, action), **options)
    state = driver.start()
    part, state = driver.part(state, 0, steps)
    means = {name: values.mean(axis=1) for name, values in part.observables.items()}
    table = {name: (m.mean(axis=0), m.std(axis=0, ddof=1) / np.sqrt(chains)) for name, m in means.items()}
    return table, part, driver.diagnostics(state)


def assert_agrees(table, exact, relative=0.02):
    for name, value in exact.items():
        mean, error = table[name]
        assert abs(mean - value) < 3.5 * error, name
        assert error < max(relative * abs(value), relative / 4), name


def ring_values():
    oracle = ChainOracle(4, *RING_ACTION.coefficients)
    c1, c2, c4 = RING_ACTION.coefficients
    return {
        "phi2": oracle.phi2,
        "phi4": oracle.phi4,
        "link": oracle.two_point[1],
        "susceptibility": 4 * oracle.magnetization_squared,
        "action_density": c1 * oracle.two_point[1] + c2 * oracle.phi2 + c4 * oracle.phi4,
        "exp_minus_delta_h": 1.0,
    }


def untrained_affine():
    maps = coupling_stack(RING, Affine(), 2, ConvolutionalNetwork((2,)), dtype=jnp.float32, key=jax.random.key(0)).maps
    return Flow(FreeField(RING, mass=1.5, dtype=jnp.float32), Chain(RING, maps))


def untrained_continuous():
    flow = Continuous(
        RING,
        features=Features("tanh", (0.7, 1.5), (), ()),
        kernel=KernelBasis(1, ()),
        times=2,
        steps=8,
        dtype=jnp.float32,
    )
    return Flow(FreeField(RING, mass=1.5, dtype=jnp.float32), Chain(RING, [flow]))


class TestInteractingRing:
    """Against the transfer matrix."""

    @pytest.mark.parametrize("accelerated", [False, True])
    def test_of_the_action(self, accelerated):
        potential = ActionPotential(RING_ACTION, RING, jnp.float32)
        kinetic = FourierMass(RING, m_sq=0.5, dtype=jnp.float32) if accelerated else None
        kernel = HMC(potential, step_size=0.5, integrator=OMELYAN, kinetic=kinetic)
        table, part, facts = run(kernel, RING_ACTION, target=0.85, warmup=60)
        assert_agrees(table, ring_values())
        assert part.accepted.mean() == pytest.approx(0.85, abs=0.04)
        assert facts["irreversibility"] < 1e-5

    @pytest.mark.parametrize("flow", [untrained_affine, untrained_continuous])
    def test_through_an_untrained_flow(self, flow):
        potential = FlowPotential(filled(flow, 0.3), RING_ACTION)
        # At larger steps exp(-dH) has a tail so long that its mean over so few trajectories lies below 1.
        kernel = HMC(potential, step_size=0.2)
        table, part, _ = run(kernel, RING_ACTION, chains=128, warmup=80, steps=200, target=0.95)
        assert_agrees(table, ring_values(), relative=0.05)
        assert part.accepted.mean() == pytest.approx(0.95, abs=0.03)


def test_free_field_at_every_momentum():
    lattice, action = Lattice((4, 3)), FreeScalar(0.4, 2)
    oracle = FreeFieldOracle(lattice.shape, *action.coefficients[:2])

    def spectrum(field):
        return {"power": jnp.abs(jnp.fft.fftn(field)) ** 2 / field.size}

    kernel = HMC(ActionPotential(action, lattice, jnp.float32), step_size=0.6, trajectory_length=2.0)
    driver = MarkovChains(kernel, KEY, chains=256, measure=spectrum, target=None, warmup=20, start="cold")
    part, _ = driver.part(driver.start(), 0, 300)
    means = part.observables["power"].mean(axis=1)
    value, error = means.mean(axis=0), means.std(axis=0, ddof=1) / 16
    assert np.max(np.abs(value - 1 / oracle.inverse_spectrum) / error) < 4
    assert np.max(error * oracle.inverse_spectrum) < 0.03
    # Steps this large are wrong without the accept test.
    assert part.accepted.mean() < 0.85


def test_two_by_two():
    lattice, action = Lattice((2, 2)), Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
    exact = square_lattice(*action.coefficients)
    kernel = HMC(ActionPotential(action, lattice, jnp.float32), step_size=0.3)
    table, _, _ = run(kernel, action, warmup=60)
    wanted = {name: getattr(exact, name) for name in ("phi2", "phi4", "susceptibility", "action_density")}
    assert_agrees(table, wanted | {"link": exact.ising_energy, "exp_minus_delta_h": 1.0})


class TestEightByEight:
    LATTICE = Lattice((8, 8))

    def driver(self, beta, **options):
        action = Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=0.5)
        kernel = HMC(ActionPotential(action, self.LATTICE, jnp.float32), step_size=0.2, trajectory_length=1.5)
        return MarkovChains(kernel, KEY, measure=partial(measure, action), **options)

    def history(self, part: Part):
        return ArrayHistory(part.observables, lattice=self.LATTICE.shape)

    def test_the_reference_row(self):
        driver = self.driver(0.576, chains=64, warmup=150)
        part, _ = driver.part(driver.start(), 0, 400)
        results = analyze(self.history(part))
        card = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.576, "lam": 0.5}
        reference = find_reference(card, self.LATTICE.shape)
        assert reference is not None
        for name, known in reference.observables.items():
            distance = abs(results.chain.value(name) - known.value)
            assert distance < 3.5 * np.hypot(results.chain.error(name), known.error), name
        assert results.chain.error("susceptibility") < 0.03 * results.chain.value("susceptibility")
        for name in ("schwinger_dyson", "delta_h_symmetry"):
            assert abs(results.chain.value(name) - 1) < 3.5 * results.chain.error(name)
        assert disagreement(self.history(part)) is None

    def test_chains_that_do_not_tunnel_are_found_out(self):
        driver = self.driver(0.75, chains=16, start="mixed", warmup=20)
        part, _ = driver.part(driver.start(), 0, 100)
        m = part.observables["magnetization"]
        assert np.all(m[::2].mean(axis=1) > 0) and np.all(m[1::2].mean(axis=1) < 0)
        reason = disagreement(self.history(part))
        assert reason is not None and "magnetization" in reason


class TestParts:
    DRIVER = MarkovChains(
        HMC(ActionPotential(RING_ACTION, RING, jnp.float32), step_size=0.5),
        KEY,
        chains=3,
        measure=partial(scalars, RING_ACTION),
        warmup=60,
    )

    @pytest.fixture(scope="class")
    @classmethod
    def start(cls):
        return cls.DRIVER.start()

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, start):
        return cls.DRIVER.part(start, 0, 600, thin=1)

    def in_parts(self, start, edges, thin):
        state, parts = start, []
        for first, last in zip([0, *edges], [*edges, 600], strict=True):
            part, state = self.DRIVER.part(state, first, last, thin=thin)
            parts.append(part)
        return parts, state

    @pytest.mark.parametrize("thin", [1, 7, 300])
    @pytest.mark.parametrize("edges", [[], [1, 2, 256, 300], [301, 599]])
    def test_change_nothing(self, start, whole, edges, thin):
        parts, state = self.in_parts(start, edges, thin)
        assert np.array_equal(np.concatenate([p.accepted for p in parts], axis=1), whole[0].accepted)
        for name, values in whole[0].observables.items():
            assert np.array_equal(np.concatenate([p.observables[name] for p in parts], axis=1), values), name
        fields = np.concatenate([p.fields for p in parts], axis=1)
        assert np.array_equal(fields, whole[0].fields[:, ::thin])
        assert state.keys() == whole[1].keys()
        assert all(np.array_equal(state[name], whole[1][name]) for name in state)

    def test_are_what_they_say(self, start, whole):
        part, state = whole
        assert part.accepted.shape == (3, 600) and part.accepted.dtype == bool
        assert part.fields.shape == (3, 600, 4)
        np.testing.assert_allclose(part.observables["phi2"], np.mean(part.fields**2, axis=2), rtol=1e-5)
        assert np.array_equal(part.fields[:, -1], state["field"])
        moved = np.any(np.diff(np.concatenate([start["field"][:, None], part.fields], axis=1), axis=1), axis=2)
        assert np.array_equal(moved, part.accepted)
        assert 0.6 < part.accepted.mean() < 0.98
        # Chains differ, and so do steps.
        assert len(np.unique(part.observables["exp_minus_delta_h"])) == 1800

    def test_start_again_from_the_key(self, start):
        again = self.DRIVER.start()
        assert all(np.array_equal(again[name], start[name]) for name in start)

    def test_without_fields(self, start, whole):
        part, _ = self.DRIVER.part(start, 0, 5)
        assert part.fields is None
        np.testing.assert_allclose(part.observables["phi4"], whole[0].observables["phi4"][:, :5], rtol=1e-5)

    def test_facts(self, start):
        facts = self.DRIVER.diagnostics(start)
        assert facts["integrator"] == "leapfrog"
        assert facts["step_size"] == float(start["step_size"]) != 0.5
        assert facts["mean_steps"] == round(1 / facts["step_size"])


def test_the_warm_up_leads_out_of_where_the_step_is_unstable():
    class Boiling(ActionPotential):
        def noise(self, key):
            return 6 * super().noise(key)

    kernel = HMC(Boiling(RING_ACTION, RING, jnp.float32), step_size=0.3)
    driver = MarkovChains(kernel, KEY, chains=128, measure=partial(scalars, RING_ACTION), target=None, warmup=60)
    state = driver.start()
    assert np.max(state["energy"]) < 20
    part, _ = driver.part(state, 0, 20)
    assert np.all(part.accepted.any(axis=1))


class Undefined(AbstractAction):
    def __call__(self, field):
        return jnp.log(-jnp.sum(field**2))

    @property
    def symmetries(self):
        return frozenset()


def test_refusals():
    kernel = HMC(ActionPotential(Undefined(), RING, jnp.float32), step_size=0.1)
    options = {"chains": 4, "measure": partial(scalars, RING_ACTION)}
    with pytest.raises(InputError, match="4 of 4 chains"):
        MarkovChains(kernel, KEY, **options).start()
    for bad in ({"chains": 0}, {"warmup": -1}, {"target": 1.0}, {"target": 0.0}):
        with pytest.raises(InputError, match="sampling"):
            MarkovChains(kernel, KEY, **{**options, **bad})


class Bottomless(AbstractAction):
    """S = sum_x [phi^2 - phi^6 / 10], which has no lower bound."""

    def __call__(self, field):
        return jnp.sum(field**2 - 0.1 * field**6)

    @property
    def symmetries(self):
        return frozenset({"z2"})


def test_a_step_size_that_falls_to_nothing_is_refused():
    kernel = HMC(ActionPotential(Bottomless(), Lattice((8,)), jnp.float64), step_size=0.1)
    driver = MarkovChains(kernel, jax.random.key(0), chains=4, measure=lambda field: {}, warmup=1000)
    with pytest.raises(InputError, match=r"step_size: it fell to .* in the warm-up: S has no lower bound"):
        driver.start()
