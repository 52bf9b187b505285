"""The Gamma method of the library against that of pyerrors, and its error against the scatter of many ensembles."""

import numpy as np
import pyerrors
import pytest

from trivmap.observables import estimates
from trivmap.observables.gamma import Series, error_squared


def chains(rng, replicas, length, correlation):
    noise = rng.normal(size=(replicas, length))
    series = np.empty_like(noise)
    series[:, 0] = noise[:, 0] / np.sqrt(1 - correlation**2)
    for step in range(1, length):
        series[:, step] = correlation * series[:, step - 1] + noise[:, step]
    return series


def both(monkeypatch, samples, ensemble="one", bin_length=1):
    names = [f"{ensemble}|r{number}" for number in range(len(samples))]
    with_pyerrors = estimates.gamma_method(samples, names, bin_length)
    with monkeypatch.context() as changed:
        changed.setattr(estimates, "has_pyerrors", lambda: False)
        own = estimates.gamma_method(samples, names, bin_length)
    assert isinstance(own, Series) and isinstance(with_pyerrors, pyerrors.Obs)
    return own, with_pyerrors


@pytest.mark.parametrize("bin_length", [1, 7])
@pytest.mark.parametrize(
    ("replicas", "length", "correlation"),
    [(1, 500, 0.0), (4, 250, 0.5), (8, 125, 0.9), (2, 1000, -0.4), (3, 10, 0.3), (1, 50, 0.0), (2, 5, 0.0)],
)
def test_it_agrees_with_pyerrors(replicas, length, correlation, bin_length, monkeypatch):
    rng = np.random.default_rng(3)
    for _ in range(10):
        own, other = both(monkeypatch, chains(rng, replicas, length, correlation), bin_length=bin_length)
        assert own.value == pytest.approx(other.value, rel=1e-13, abs=1e-15)
        assert own.dvalue == pytest.approx(other.dvalue, rel=1e-11)


def test_sums_and_differences_keep_the_correlations(monkeypatch):
    rng = np.random.default_rng(4)
    first = chains(rng, 4, 200, 0.6)
    second = first + 0.3 * chains(rng, 4, 200, 0.1)
    third = chains(rng, 1, 60, 0.0)
    pairs = [both(monkeypatch, first), both(monkeypatch, second), both(monkeypatch, third, "two")]
    (a, b, c), (x, y, z) = zip(*pairs, strict=True)
    for own, other in ((a - b, x - y), (a + c, x + z), (0.0 + a, 0.0 + x), (a - b + 0.0 + c, x - y + 0.0 + z)):
        other.gamma_method()
        assert own.value == pytest.approx(other.value, abs=1e-13)
        assert own.dvalue == pytest.approx(other.dvalue, rel=1e-11)
    widened, counterpart = a + Series(0.0, {}, {"known": 0.04}), x + pyerrors.cov_Obs(0.0, 0.04, "known")
    counterpart.gamma_method()
    assert widened.dvalue == pytest.approx(counterpart.dvalue, rel=1e-11)


def test_a_constant_has_no_error():
    assert error_squared(np.zeros((2, 50))) == 0


def test_the_error_is_that_of_many_ensembles():
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(400):
        series = chains(rng, 4, 400, 0.7)
        mean = series.mean()
        pulls.append(mean / error_squared(series - mean) ** 0.5)
    # The error itself fluctuates by some 8 %, which widens the pulls by less than 1 %.
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * len(pulls)))
    assert abs(np.mean(pulls)) < 4 / np.sqrt(len(pulls))
