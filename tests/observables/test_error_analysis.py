"""Errors that are right: pulls over many experiments against exact values, and what must not be trusted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pyerrors
import pytest
from scipy.signal import lfilter

from tests.oracles import ChainOracle, FreeFieldOracle
from trivmap.actions import FreeScalar, Phi4
from trivmap.errors import InputError
from trivmap.observables import ArrayHistory, analyze, measure, trust

WIDTH = 0.5  # of the Gaussian target below, proposals having width 1


def autoregressive(rng, shape, a):
    """Stationary AR(1) of unit variance along the last axis: rho(t) = a^t, tau_int = (1 + a) / (1 - a) / 2."""
    noise = rng.normal(size=shape)
    noise[..., 0] /= np.sqrt(1 - a**2)
    return np.sqrt(1 - a**2) * lfilter([1.0], [1.0, -a], noise)


def metropolis(rng, experiments, chains, steps):
    """Independence Metropolis: proposals x ~ N(0, 1), target N(0, WIDTH^2); (x, log_weight, accepted)."""
    x = rng.normal(size=(experiments, chains, steps))
    log_weight = x**2 / 2 - x**2 / (2 * WIDTH**2)
    return x, log_weight, decisions(rng, log_weight)


def decisions(rng, log_weight):
    """Whether independence Metropolis accepts each proposal."""
    log_uniform = np.log(rng.random(log_weight.shape))
    accepted = np.zeros(log_weight.shape, bool)
    current = np.full(log_weight.shape[:-1], -np.inf)
    for step in range(log_weight.shape[-1]):
        accepted[..., step] = log_uniform[..., step] + current < log_weight[..., step]
        current = np.where(accepted[..., step], log_weight[..., step], current)
    return accepted


def pull(observable, exact):
    return (observable.value - exact) / observable.dvalue


@pytest.mark.parametrize(("bins", "steps"), [(None, 6000), (12000, 6000), (200, 6000), (None, 2500)])
def test_autoregressive_chain_has_its_error_and_its_tau_int(bins, steps):
    a, chains, experiments = 0.8, 2, 250
    tau_int = (1 + a) / (1 - a) / 2
    data = autoregressive(np.random.default_rng(steps), (experiments, chains, steps), a)
    results = [analyze(ArrayHistory({"phi2": each}), bins=bins) for each in data]
    pulls = np.array([pull(result["phi2"], 0.0) for result in results])
    # The standard deviation of 250 pulls is known to 4.5%; error estimates of their own spread add little.
    assert abs(pulls.mean()) < 0.2
    assert pulls.std() == pytest.approx(1, abs=0.12)
    exact = np.sqrt(2 * tau_int / (chains * steps))
    assert np.mean([result["phi2"].dvalue for result in results]) == pytest.approx(exact, rel=0.04)
    assert np.mean([result.tau_int["phi2"] for result in results]) == pytest.approx(tau_int, rel=0.06)


def test_independent_configurations_have_tau_int_one_half():
    data = np.random.default_rng(2).normal(size=(200, 4, 2000))
    results = [analyze(ArrayHistory({"phi2": each})) for each in data]
    assert np.mean([result.tau_int["phi2"] for result in results]) == pytest.approx(0.5, rel=0.06)
    assert min(result.tau_int["phi2"] for result in results) == 0.5
    assert np.std([pull(result["phi2"], 0.0) for result in results]) == pytest.approx(1, abs=0.13)


@pytest.fixture(scope="module")
def metropolis_results():
    # These weights are bounded, and lighter than log-normal ones of their acceptance, which the limit supposes.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust, "LARGEST_SKEWNESS_OF_CURVED", 0.05)
        yield _metropolis_results()


def _metropolis_results():
    arrays = metropolis(np.random.default_rng(3), 250, 2, 16_000)
    # A lattice of one site cannot be: m is a number here, and V = 2 a factor of the susceptibility.
    return [
        analyze(ArrayHistory({"magnetization": x}, lattice=(2,), accepted=accepted, log_weight=w, warmup=1000))
        for x, w, accepted in zip(*arrays, strict=True)
    ]


EXACT = {
    "magnetization": 0.0,
    "abs_magnetization": WIDTH * np.sqrt(2 / np.pi),
    "susceptibility": 2 * WIDTH**2,
    "connected_susceptibility": 2 * WIDTH**2 * (1 - 2 / np.pi),
    "binder": 0.0,
}


@pytest.mark.parametrize("name", EXACT)
def test_metropolis_chain_reweighting_and_their_difference_have_right_errors(metropolis_results, name):
    chain = [pull(result[name], EXACT[name]) for result in metropolis_results]
    reweighted = [pull(result.reweighted[name], EXACT[name]) for result in metropolis_results]
    difference = [pull(result.difference[name], 0.0) for result in metropolis_results]
    for pulls in (chain, reweighted, difference):
        assert abs(np.mean(pulls)) < 0.2
        assert np.std(pulls) == pytest.approx(1, abs=0.13)


def test_difference_knows_that_proposals_are_shared(metropolis_results):
    errors = np.array(
        [[each["susceptibility"].dvalue for each in (r.chain, r.reweighted, r.difference)] for r in metropolis_results]
    )
    chain, reweighted, difference = errors.mean(axis=0)
    assert difference < 0.8 * np.hypot(chain, reweighted)
    scatter = np.std([r.difference["susceptibility"].value for r in metropolis_results])
    assert difference == pytest.approx(scatter, rel=0.12)


def test_metropolis_tau_int_is_exact(metropolis_results):
    # Odd functions: rho(t) = E_p[f^2 r^t] with r(x) the probability to stay at x; integrated numerically.
    x = np.linspace(-8, 8, 1601)
    target = np.exp(-(x**2) / (2 * WIDTH**2))
    proposal = np.exp(-(x**2) / 2)
    weight = target / proposal
    stay = 1 - np.minimum(1, weight / weight[:, None]) @ proposal / proposal.sum()
    tau_int = np.sum(target * x**2 * (0.5 + stay / (1 - stay))) / np.sum(target * x**2)
    measured = np.mean([result.tau_int["magnetization"] for result in metropolis_results])
    assert tau_int > 0.7
    assert measured == pytest.approx(tau_int, rel=0.04)


@pytest.mark.parametrize("shape", [(8,), (6, 4)], ids=str)
def test_free_field(shape):
    m_sq, steps = 0.5, 20000
    oracle = FreeFieldOracle(shape, -1.0, len(shape) + m_sq / 2)
    fields = jnp.asarray(oracle.sample(np.random.default_rng(4), 2 * steps), jnp.float32)
    measured = jax.jit(jax.vmap(partial(measure, FreeScalar(m_sq, len(shape)))))(fields)
    history = ArrayHistory({k: v.reshape(2, steps, *v.shape[1:]) for k, v in measured.items()}, lattice=shape)
    results = analyze(history, fit_start=1)
    pole = 1 / (2 * np.arcsinh(np.sqrt(m_sq) / 2))
    exact = {
        "susceptibility": 1 / m_sq,
        "correlation_length": 1 / np.sqrt(m_sq),
        "correlation_length_arccosh": pole,
        "correlation_length_cosh_fit": pole,
        "binder": 0.0,
        "action_density": 0.5,
        "schwinger_dyson": 1.0,
        "phi2": oracle.propagator.ravel()[0],
    }
    for name, value in exact.items():
        assert abs(pull(results[name], value)) < 3.5, name
        assert results[name].dvalue < 0.05
    assert not results.untrusted
    masses = results["effective_mass"]
    assert masses[0] is None
    assert max(abs(pull(mass, 1 / pole)) for mass in masses[1:]) < 3.5
    assert results.reweighted is None
    assert results.info["fits"]["correlation_length_cosh_fit"]["p_value"] > 0.001


def test_interacting_ring_agrees_with_its_transfer_matrix():
    oracle, steps = ChainOracle(6, -0.9, 0.0, 0.5), 15000
    fields = jnp.asarray(oracle.sample(np.random.default_rng(5), 2 * steps))
    action = Phi4.from_couplings("bosetti2015", 1, beta=0.9, lam=0.5)
    measured = jax.jit(jax.vmap(partial(measure, action)))(fields)
    history = ArrayHistory({k: v.reshape(2, steps, *v.shape[1:]) for k, v in measured.items()}, lattice=(6,))
    results = analyze(history)
    two_point = oracle.two_point
    lowest = two_point @ np.cos(2 * np.pi * np.arange(6) / 6)
    exact = {
        "susceptibility": two_point.sum(),
        "abs_magnetization": oracle.abs_magnetization,
        "connected_susceptibility": two_point.sum() - 6 * oracle.abs_magnetization**2,
        "binder": oracle.binder,
        "phi2": oracle.phi2,
        "phi4": oracle.phi4,
        "ising_energy": two_point[1],
        "action_density": -0.9 * two_point[1] + 0.5 * oracle.phi4,
        "schwinger_dyson": 1.0,
        "correlation_length": np.sqrt((two_point.sum() / lowest - 1) / (4 * np.sin(np.pi / 6) ** 2)),
    }
    for name, value in exact.items():
        assert abs(pull(results[name], value)) < 3.5, name
    for array in ("correlator", "two_point"):
        assert max(abs(pull(o, e)) for o, e in zip(results[array], two_point[:4], strict=True)) < 3.5


def test_uncorrelated_field_has_no_correlation_length():
    rng = np.random.default_rng(6)
    spectrum = np.abs(rng.normal(loc=(0.0, 1.0), size=(2, 500, 2)))
    results = analyze(ArrayHistory({"momentum_two_point": spectrum}, lattice=(4, 4)))
    assert "correlation_length" not in results
    assert "G(0) <= G(k1)" in results.untrusted["correlation_length"]
    with pytest.raises(KeyError, match=r"cannot be trusted: G\(0\) <= G\(k1\)"):
        results["correlation_length"]


def test_noise_leaves_the_effective_mass_where_it_is_seen():
    rng = np.random.default_rng(7)
    c = np.array([1.0, 0.3, 0.09, 0.027, 0.03]) + 0.0017 * rng.normal(size=(2, 1500, 5))
    results = analyze(ArrayHistory({"correlator": c}, lattice=(8, 8)))
    assert [mass is not None for mass in results["effective_mass"]] == [False, True, True, True, False]
    assert "effective_mass[4]" in results.untrusted
    assert "effective_mass[0]" not in results.untrusted
    assert "correlation_length_arccosh" in results.untrusted
    np.testing.assert_array_equal(np.isnan(results.chain.value("effective_mass")), [True, False, False, False, True])


def test_not_a_number_is_never_a_result():
    values = np.random.default_rng(8).normal(size=(2, 500))
    values[1, 250] = np.nan
    results = analyze(ArrayHistory({"phi2": values, "phi4": np.ones((2, 500))}))
    assert "phi2" not in results
    assert "not a number" in results.untrusted["phi2"]
    # Neither is what never changed: it has no error.
    assert "phi4" not in results
    assert "has not changed in 1000 configurations" in results.untrusted["phi4"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("stuck", "moved only 0 times in 1000 steps"),
        ("unstarted", "1 chains had accepted no proposal"),
    ],
)
def test_chain_that_hardly_moves_is_not_trusted(case, message):
    rng = np.random.default_rng(9)
    accepted = np.ones((2, 500), bool)
    if case == "stuck":
        accepted[:, 1:] = False
    else:
        accepted[1, :10] = False
    history = ArrayHistory(
        {"phi2": rng.normal(size=(2, 500))},
        lattice=(4,),
        accepted=accepted,
        log_weight=0.3 * rng.normal(size=(2, 500)),
    )
    results = analyze(history)
    assert not list(results)
    assert message in results.untrusted["phi2"]
    assert results.summary()["phi2"]["source"] == "reweighted"
    assert "phi2" in results.reweighted
    assert "phi2" not in results.difference


def test_slow_chain_is_not_trusted():
    walk = np.cumsum(np.random.default_rng(10).normal(size=(2, 5000)), axis=1)
    results = analyze(ArrayHistory({"phi2": walk}))
    assert "the chains disagree about phi2 (R-hat " in results.untrusted["phi2"]
    rng = np.random.default_rng(10)
    slow = {"phi2": autoregressive(rng, (2, 2000), 0.98)}
    reason = analyze(ArrayHistory(slow)).untrusted["phi2"]
    assert "the median autocorrelation time" in reason and reason.endswith("of 4000 configurations, fewer than 250")
    # The median of three is the time of a fast one, and the slow one is judged by its own.
    fast = {name: rng.normal(size=(2, 2000)) for name in ("phi4", "ising_energy")}
    results = analyze(ArrayHistory(fast | slow))
    assert {"phi4", "ising_energy"} <= results.summary().keys()
    assert results.untrusted["phi2"].startswith("its autocorrelation time")
    assert results.untrusted["phi2"].endswith("of 4000 configurations, fewer than 50")


@pytest.mark.parametrize("case", ["few", "nan"])
def test_weights_of_a_few_samples_are_not_trusted(case):
    rng = np.random.default_rng(11)
    log_weight = 5.0 * rng.normal(size=(2, 500)) if case == "few" else np.zeros((2, 500))
    if case == "nan":
        log_weight[0, 7] = np.nan
    history = ArrayHistory({"phi2": rng.normal(size=(2, 500))}, accepted=np.ones((2, 500), bool), log_weight=log_weight)
    results = analyze(history)
    # A chain that never goes where the weight is NaN samples another ensemble.
    assert "phi2" not in results
    reason = results.reweighted.untrusted["phi2"]
    assert ("effective samples" if case == "few" else "1 of the log-weights are NaN") in reason
    assert "phi2" not in results.reweighted
    assert "phi2" not in results.difference


def test_replicas_are_chains_of_an_ensemble_of_their_own():
    rng = np.random.default_rng(12)
    first, second = (analyze(ArrayHistory({"phi2": rng.normal(size=(3, 1000))})) for _ in range(2))
    assert first["phi2"].names == [f"{first.info['ensemble']}|r{chain:04d}" for chain in range(3)]
    # Two runs are independent: the errors of their difference add in quadrature.
    gap = first["phi2"] - second["phi2"]
    gap.gamma_method()
    assert gap.dvalue == pytest.approx(np.hypot(first["phi2"].dvalue, second["phi2"].dvalue), rel=1e-12)
    assert analyze(ArrayHistory({"phi2": rng.normal(size=(3, 1000))}), ensemble="mine")["phi2"].e_names == ["mine"]


def test_errors_are_those_of_pyerrors_on_derived_observables():
    rng = np.random.default_rng(13)
    m = 0.3 + autoregressive(rng, (1, 8000), 0.5)
    results = analyze(ArrayHistory({"magnetization": m}, lattice=(4, 4)), bins=8000)
    names = ["test|r0000"]
    second, fourth = pyerrors.Obs(list(m**2), names), pyerrors.Obs(list(m**4), names)
    binder = 1 - fourth / (3 * second**2)
    binder.gamma_method()
    assert results["binder"].value == pytest.approx(binder.value, rel=1e-12)
    assert results["binder"].dvalue == pytest.approx(binder.dvalue, rel=1e-9)


def test_fit_start_outside_the_lattice_is_refused():
    history = ArrayHistory({"phi2": np.zeros((2, 100))}, lattice=(8, 8))
    with pytest.raises(InputError, match="fit_start: must lie between 1 and L // 2 = 4, got 5"):
        analyze(history, fit_start=5)


def test_errors_of_what_belongs_to_steps_know_that_they_make_up_for_each_other():
    # dH of a trajectory begins with the energy that the one before it ended with.
    rng, values, errors = np.random.default_rng(11), [], []
    for _ in range(150):
        energy = rng.normal(scale=0.2, size=(4, 401))
        # A normal dH of variance 0.1 has the mean 0.05 in equilibrium.
        delta_h = 0.05 + np.diff(energy) + rng.normal(scale=np.sqrt(0.02), size=(4, 400))
        found = analyze(ArrayHistory({"exp_minus_delta_h": np.exp(-delta_h), "phi2": delta_h}))
        values.append(found["delta_h_symmetry"].value)
        errors.append(found["delta_h_symmetry"].dvalue)
    assert np.std(values) / np.mean(errors) == pytest.approx(1, abs=0.12)
