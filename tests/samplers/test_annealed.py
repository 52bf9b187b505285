"""Annealing against exact answers: Z, observables, work forward and backward, the accept test on its weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from tests.oracles import ChainOracle, FreeFieldOracle, square_lattice
from trivmap import Flow, InputError, Lattice
from trivmap.actions import AbstractAction, FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous, Features, KernelBasis
from trivmap.diagnostics import effective_sample_size, log_z
from trivmap.samplers import (
    OMELYAN,
    Annealed,
    FlowPath,
    Hamiltonian,
    HeatBath,
    HoppingExpansionPath,
    SiteMetropolis,
    annealing_levels,
    tune_step_size,
)
from trivmap.samplers.annealed import systematic
from trivmap.samplers.moves import point
from trivmap.simulation import ProposalChains

RING, RING_ACTION = Lattice((6,)), Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
RING_EXACT = ChainOracle(6, *RING_ACTION.coefficients)
HOPPING = HoppingExpansionPath(RING, RING_ACTION, dtype=jnp.float64)
KEY = jax.random.key(11)


@eqx.filter_jit
def propose(kernel, keys):
    return jax.vmap(kernel.propose)(keys)


@eqx.filter_jit
def runs(kernel, keys):
    return jax.vmap(kernel.run)(keys)


def keys(count, seed=0):
    return jax.random.split(jax.random.fold_in(KEY, seed), count)


def free(lattice, action, *, mass=None, dtype=jnp.float64):
    """The path from the Hartree free field, or one of another mass, without any map."""
    if mass is None:
        return FlowPath(Flow(FreeField.hartree(lattice, action, dtype=dtype), Chain(lattice, [])), action)
    return FlowPath(Flow(FreeField(lattice, mass=mass, dtype=dtype), Chain(lattice, [])), action)


def pull(estimate, exact, largest_error):
    assert estimate.error < largest_error
    return abs(estimate.value - exact) / estimate.error


def weighted_pull(log_weights, values, exact):
    """|mean - exact| / error of a reweighted mean of independent proposals."""
    weights = np.exp(np.asarray(log_weights) - np.max(log_weights))
    weights /= weights.sum()
    values = np.asarray(values)
    mean = np.sum(weights * values)
    error = np.sqrt(np.sum((weights * (values - mean)) ** 2))
    assert error < 0.05 * abs(exact)
    return abs(mean - exact) / error


def assert_ring(log_weights, fields):
    assert pull(log_z(log_weights), RING_EXACT.log_z, 0.01) < 3
    assert weighted_pull(log_weights, jnp.mean(fields**2, axis=1), RING_EXACT.phi2) < 3.5
    assert weighted_pull(log_weights, jnp.mean(fields**4, axis=1), RING_EXACT.phi4) < 3.5
    links = jnp.mean(fields * jnp.roll(fields, 1, axis=1), axis=1)
    assert weighted_pull(log_weights, links, RING_EXACT.two_point[1]) < 3.5
    assert weighted_pull(log_weights, 6 * jnp.mean(fields, axis=1) ** 2, 6 * RING_EXACT.magnetization_squared) < 3.5


class TestRing:
    """Interacting, d = 1, against the transfer matrix."""

    KERNEL = Annealed(HOPPING, annealing_levels(6), [HeatBath(), Hamiltonian(0.35, 2)])
    COUNT = 6000

    @pytest.fixture(scope="class")
    @classmethod
    def forward(cls):
        return propose(cls.KERNEL, keys(cls.COUNT))

    def test_forward(self, forward):
        field, log_weight, log_uniform = forward
        assert field.shape == (self.COUNT, 6) and log_weight.dtype == jnp.float64
        assert_ring(log_weight, field)
        assert abs(np.mean(np.exp(log_uniform)) - 0.5) < 4 / np.sqrt(12 * self.COUNT)

    def test_work_backward_and_crooks(self, forward):
        """E_B[1/w] = 1/Z, and E_F[w; log w < c] = Z P_B(log w < c) for every c."""
        forward = np.asarray(forward.log_weight) - RING_EXACT.log_z
        fields = RING_EXACT.sample(np.random.default_rng(5), self.COUNT)
        run = eqx.filter_jit(lambda kernel, keys, x: jax.vmap(kernel.backward)(keys, x))
        logs = run(self.KERNEL, keys(self.COUNT, seed=1), jnp.asarray(fields))
        assert pull(log_z(-logs), -RING_EXACT.log_z, 0.01) < 3
        backward = np.asarray(logs) - RING_EXACT.log_z
        for c in np.quantile(backward, [0.05, 0.3, 0.6, 0.9]):
            terms, flags = np.exp(forward) * (forward < c), backward < c
            error = np.hypot(terms.std(), flags.std()) / np.sqrt(self.COUNT)
            assert abs(terms.mean() - flags.mean()) < 3.5 * error
        # The two distributions themselves lie apart.
        assert backward.mean() - forward.mean() > 0.1

    def test_a_sweep_backward_is_the_sweep_reversed(self):
        """In equilibrium (x, K x) and (K_backward y, y) have one distribution: <even site before, odd site after>."""
        fields = jnp.asarray(RING_EXACT.sample(np.random.default_rng(8), 4000))

        @eqx.filter_jit
        def swept(backward):
            def one(key, x):
                moved, _ = HeatBath()(key, HOPPING, jnp.ones(()), point(HOPPING, x, False), backward=backward)
                return moved.x

            return jax.vmap(one)(keys(4000), fields)

        after, before = swept(False), swept(True)
        forward, backward = np.asarray(fields[:, 0] * after[:, 1]), np.asarray(before[:, 0] * fields[:, 1])
        error = np.hypot(forward.std(), backward.std()) / np.sqrt(4000)
        assert abs(forward.mean() - backward.mean()) < 3.5 * error
        # The same order both times would put a single link between the two sites.
        assert np.mean(after[:, 0] * fields[:, 1]) > forward.mean() + 5 * error

    def test_more_steps_give_more_effective_samples_by_the_same_program(self):
        traced = []

        class Counted(HoppingExpansionPath):
            def residual(self, x):
                traced.append(x.shape)
                return super().residual(x)

        path = Counted(RING, RING_ACTION, dtype=jnp.float64)
        ess = []
        for levels in ([0, 1, 1, 1, 1, 1, 1], [0, 0.5, 1, 1, 1, 1, 1], annealing_levels(6), annealing_levels(6, 0.7)):
            logs = propose(Annealed(path, levels, [SiteMetropolis()]), keys(2000)).log_weight
            ess.append(effective_sample_size(logs))
            if len(ess) == 1:
                first = len(traced)
        assert len(traced) == first
        assert ess[0].value + 3 * ess[0].error < ess[1].value
        assert ess[1].value + 3 * ess[1].error < ess[2].value

    def test_resampled_particles(self):
        """The estimate of Z of each run is unbiased, as is every weighted mean over its particles."""
        kernel = Annealed(HOPPING, annealing_levels(3), [SiteMetropolis()], particles=6, threshold=0.9)
        population = runs(kernel, keys(2500, seed=3))
        assert population.fields.shape == (2500, 6, 6) and population.log_weights.shape == (2500, 6)
        assert population.acceptance.shape == (2500, 3, 1) and population.ess.shape == (2500, 3)
        resampled = np.asarray(population.ess) < 0.9
        assert 0.1 < resampled.mean() < 0.9
        means = jax.nn.logsumexp(population.log_weights, axis=1) - np.log(6)
        assert pull(log_z(means), RING_EXACT.log_z, 0.01) < 3
        weights = jnp.exp(population.log_weights - RING_EXACT.log_z)
        terms = np.asarray(jnp.mean(weights * jnp.mean(population.fields**4, axis=2), axis=1))
        assert abs(terms.mean() - RING_EXACT.phi4) < 3.5 * terms.std() / np.sqrt(len(terms))
        assert np.all(np.asarray(population.acceptance) > 0.5)


class TestFromAFlow:
    def test_a_free_field_from_one_of_a_wrong_mass(self):
        """By Langevin steps, in float32."""
        lattice, action = Lattice((4, 4)), FreeScalar(0.5, 2)
        kernel = Annealed(
            free(lattice, action, mass=1.0, dtype=jnp.float32), annealing_levels(8), [Hamiltonian(1.1, 1)]
        )
        field, logs, _ = propose(kernel, keys(6000))
        assert field.dtype == jnp.float32 and logs.dtype == jnp.float64
        assert pull(log_z(logs), action.log_z(lattice), 0.01) < 3
        exact = FreeFieldOracle((4, 4), -1.0, 2.25)
        assert weighted_pull(logs, jnp.mean(field**2, axis=(1, 2)), exact.propagator[0, 0]) < 3.5
        plain = np.asarray(jnp.mean(field**2, axis=(1, 2)))
        assert abs(plain.mean() - exact.propagator[0, 0]) > 5 * plain.std() / np.sqrt(len(plain))

    def test_starts_untrained_and_perturbed_agree(self):
        lattice = Lattice((4,))
        action = Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
        exact = ChainOracle(4, *action.coefficients)
        features = Features("tanh", (0.8,), (), ())

        def moved():
            return Continuous(lattice, features=features, kernel=KernelBasis(1, ()), steps=8, dtype="float64")

        ess = []
        for scale in (0.0, 0.05):
            path = FlowPath(Flow(free(lattice, action).flow.base, filled(moved, scale)), action)
            kernel = Annealed(path, annealing_levels(6), [Hamiltonian(0.5, 1, integrator=OMELYAN)])
            field, logs, _ = propose(kernel, keys(3000))
            assert pull(log_z(logs), exact.log_z, 0.02) < 3
            assert weighted_pull(logs, jnp.mean(field**4, axis=1), exact.phi4) < 3.5
            ess.append(effective_sample_size(logs).value)
        start = jax.jit(jax.vmap(lambda key: -path.residual(path.start(key))))(keys(2000))
        assert ess[0] > 0.65 > ess[1] > effective_sample_size(start).value + 0.1

    def test_tuning_and_log_z_of_8_by_8(self):
        """log Z of a trained flow on this lattice: 55.7351(12)."""
        lattice, action = Lattice((8, 8)), Phi4.from_couplings("bosetti2015", 2, beta=0.576, lam=0.5)
        path = free(lattice, action, dtype=jnp.float32)
        kernel = tune_step_size(
            Annealed(path, annealing_levels(20), [Hamiltonian(1.9, 3)]), KEY, acceptance=0.7, proposals=32, rounds=8
        )
        assert 0.3 < kernel.moves[0].step_size < 0.8 and kernel.moves[0].steps == 3
        population = runs(kernel, keys(3000))
        assert abs(float(jnp.mean(population.acceptance)) - 0.7) < 0.05
        assert pull(log_z(population.log_weights), 55.7351, 0.03) < 3
        assert kernel.micro_batch == 256


def test_accept_test_on_the_weights_gives_the_exact_square():
    """2x2 by quadrature: particles, resampling, the driver of every independence kernel."""
    lattice, action = Lattice((2, 2)), Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
    path = HoppingExpansionPath(lattice, action, dtype=jnp.float64)
    kernel = Annealed(path, annealing_levels(2), [SiteMetropolis()], particles=3, threshold=0.6)
    exact = square_lattice(*action.coefficients)

    def measure(field):
        return {
            "phi2": jnp.mean(field**2),
            "phi4": jnp.mean(field**4),
            "susceptibility": 4 * jnp.mean(field) ** 2,
            "abs_magnetization": jnp.abs(jnp.mean(field)),
            "action_density": action(field) / 4,
        }

    driver = ProposalChains(kernel, KEY, chains=24, measure=measure, batch=1500)
    part, _ = driver.part(driver.start(), 0, 1500)
    assert pull(log_z(part.log_weight.ravel()), exact.log_z, 0.01) < 3
    means = []
    for chain, accepted in enumerate(part.accepted):
        latest = np.maximum.accumulate(np.where(accepted, np.arange(1500), -1))[20:]
        means.append([values[chain][latest].mean() for values in part.observables.values()])
    value, error = np.mean(means, axis=0), np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    wanted = np.array([getattr(exact, name) for name in part.observables])
    assert np.all(np.abs(value - wanted) < 3.5 * error)
    assert np.all(error < 0.03)
    # The accept test had work to do.
    proposed = np.array([values.mean() for values in part.observables.values()])
    assert np.max(np.abs(proposed - wanted) / error) > 5


def test_systematic_resampling_takes_as_many_as_the_weights_say():
    logs = jnp.log(jnp.asarray([0.0, 0.05, 0.55, 0.1, 0.3])) - 800
    ancestors = jax.jit(jax.vmap(lambda key: systematic(key, logs)))(keys(4000))
    drawn = np.stack([np.bincount(each, minlength=5) for each in np.asarray(ancestors)])
    expected = 5 * np.array([0.0, 0.05, 0.55, 0.1, 0.3])
    assert np.all(drawn.sum(axis=1) == 5)
    assert np.all((drawn >= np.floor(expected)) & (drawn <= np.ceil(expected + 1e-9)))
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected, atol=4 * 0.5 / np.sqrt(4000))


class TestRefusals:
    SWEEP = (HeatBath(),)

    @pytest.mark.parametrize("levels", [[0], [0, 0.5], [0.1, 1], [0, 0.6, 0.5, 1], [0, np.nan, 1], [[0, 1]]])
    def test_levels(self, levels):
        with pytest.raises(InputError, match="levels must rise from 0 to 1"):
            Annealed(HOPPING, levels, self.SWEEP)

    @pytest.mark.parametrize(
        ("options", "text"), [({"particles": 0}, "particles must be"), ({"threshold": 1.1}, "threshold must lie")]
    )
    def test_particles(self, options, text):
        with pytest.raises(InputError, match=text):
            Annealed(HOPPING, [0, 1], self.SWEEP, **options)

    def test_moves(self):
        with pytest.raises(InputError, match="at least one move"):
            Annealed(HOPPING, [0, 1], [])
        with pytest.raises(InputError, match="SiteMetropolis works only on a HoppingExpansionPath"):
            Annealed(free(RING, RING_ACTION), [0, 1], [SiteMetropolis()])
        odd = HoppingExpansionPath(Lattice((3,)), RING_ACTION, dtype=jnp.float32)
        with pytest.raises(InputError, match="checkerboard needs every extent even"):
            Annealed(odd, [0, 1], self.SWEEP)
        with pytest.raises(InputError, match="sweeps must be at least 1"):
            HeatBath(0)
        with pytest.raises(InputError, match="step_size must be positive"):
            Hamiltonian(float("nan"))
        with pytest.raises(InputError, match="steps of a trajectory"):
            Hamiltonian(0.1, 0)

    def test_tuning(self):
        with pytest.raises(InputError, match="no Hamiltonian move"):
            tune_step_size(Annealed(HOPPING, [0, 1], self.SWEEP), KEY)
        with pytest.raises(InputError, match="acceptance must lie"):
            tune_step_size(Annealed(HOPPING, [0, 1], [Hamiltonian(0.1)]), KEY, acceptance=1.0)

    @pytest.mark.parametrize(("steps", "power"), [(0, 1.0), (3, 0.0), (3, np.inf)])
    def test_a_schedule(self, steps, power):
        with pytest.raises(InputError, match="at least one step and a positive power"):
            annealing_levels(steps, power)

    def test_an_action_of_another_form(self):
        class Cosine(AbstractAction):
            def __call__(self, field):
                return jnp.sum(1 - jnp.cos(field))

            @property
            def symmetries(self):
                return frozenset()

        with pytest.raises(InputError, match=r"needs an action with coefficients \(c1, c2, c4\)"):
            HoppingExpansionPath(RING, Cosine(), dtype=jnp.float32)


def test_a_coupling_is_not_rounded_with_the_field():
    """What rounds all weights alike would be an error of log Z that no number of them shows."""
    lattice, action = Lattice((8, 8)), Phi4.from_couplings("bosetti2015", 2, beta=0.576, lam=0.5)
    narrow, wide = (HoppingExpansionPath(lattice, action, dtype=dtype) for dtype in ("float32", "float64"))
    ones = np.ones(lattice.shape)
    found = narrow.residual(jnp.asarray(ones, jnp.float32))
    assert float(found) == pytest.approx(float(wide.residual(jnp.asarray(ones))), rel=1e-14)
    assert float(np.float32(0.576)) != 0.576
