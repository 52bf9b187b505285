"""Exponents on costs with a known law."""

import numpy as np
import pytest

from trivmap.studies.scaling.fits import Cost
from trivmap.studies.scaling.fits import cost_exponent as exponent_of_intervals

EXTENTS = (6, 8, 12, 16, 20)


def cost_exponent(costs, ratio=1.0):
    """Of costs that are known to a factor `ratio`."""
    return exponent_of_intervals({L: [c and Cost(c, c / ratio) for c in each] for L, each in costs.items()})


def test_an_exact_power_law_is_found():
    found = cost_exponent({L: [3 * L**2.5] for L in EXTENTS})
    assert found.exponent.value == pytest.approx(2.5, abs=1e-12) and found.exponent.error < 1e-10
    assert found.amplitude == pytest.approx(3) and found.degrees == 3
    assert found.extents == EXTENTS and found.censored == () and not found.lower_bound


def test_the_error_is_that_of_many_repetitions():
    """Three seeds with a scatter of 20%: deviations of the fits against the errors they claim."""
    generator, pulls, errors = np.random.default_rng(0), [], []
    for _ in range(2000):
        costs = {L: list(L**1.5 * np.exp(0.2 * generator.normal(size=3))) for L in EXTENTS}
        found = cost_exponent(costs)
        pulls.append((found.exponent.value - 1.5) / found.exponent.error)
        errors.append(found.exponent.error)
    assert abs(np.mean(pulls)) < 0.1
    # Widened where the line happens to fit badly, never narrowed: somewhat less than 1.
    assert 0.8 < np.std(pulls) < 1.05
    x = np.log(np.repeat(EXTENTS, 3))
    assert np.median(errors) == pytest.approx(0.2 / np.sqrt(np.sum((x - x.mean()) ** 2)), rel=0.15)


def test_a_curve_that_is_no_power_law_widens_the_error():
    costs = {L: [np.exp(0.3 * L) * f for f in (0.99, 1.0, 1.01)] for L in EXTENTS}
    found = cost_exponent(costs)
    assert found.chi_squared > 100 * found.degrees
    assert found.exponent.error > 0.3


def test_a_lattice_with_a_run_that_never_got_there_is_left_out():
    costs = {6: [10.0, 11.0], 8: [20.0, 21.0], 12: [50.0, 52.0], 16: [None, 90.0], 20: [None, None]}
    found = cost_exponent(costs)
    assert found.extents == (6, 8, 12) and found.censored == (16, 20) and found.lower_bound
    hole = cost_exponent({6: [10.0, 11.0], 8: [None, 3.0], 12: [50.0, 52.0]})
    assert hole.censored == (8,) and not hole.lower_bound


@pytest.mark.parametrize(
    "costs", [{}, {8: [1.0, 2.0]}, {8: [1.0], 16: [2.0]}, {8: [None], 12: [None]}, {8: [1.0, 2.0], 16: [None]}]
)
def test_without_an_error_there_is_no_exponent(costs):
    assert cost_exponent(costs) is None


def test_seeds_that_agree_to_the_last_leave_the_scatter_about_the_line():
    costs = {8: [1280.0] * 3, 16: [2560.0] * 3, 32: [3840.0] * 3}
    found = cost_exponent(costs)
    x, y = np.log([8, 16, 32]), np.log([1280, 2560, 3840])
    slope, covariance = np.polyfit(x, y, 1, cov=True)
    assert found.exponent.value == pytest.approx(slope[0])
    assert found.exponent.error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert np.isnan(found.chi_squared)


@pytest.mark.parametrize("seeds", [1, 3])
def test_evaluations_far_apart_leave_the_exponent_that_uncertain(seeds):
    """Costs rounded up to the next power of 4, of which the seeds know nothing."""
    costs = {L: [float(4 ** np.ceil(np.log(L**1.5) / np.log(4)))] * seeds for L in EXTENTS}
    found = cost_exponent(costs, ratio=4.0)
    x = np.log(EXTENTS)
    alone = np.log(4) / np.sqrt(12 * np.sum((x - x.mean()) ** 2))
    assert found.exponent.error == pytest.approx(alone * np.sqrt(max(1.0, found.chi_squared / found.degrees)))
    assert found.exponent.value == pytest.approx(1.5, abs=2 * found.exponent.error)


def test_equal_costs_are_not_sure_for_being_equal():
    found = cost_exponent({4: [384.0, 384.0, 384.0], 6: [384.0] * 3, 8: [384.0] * 3}, ratio=3.0)
    assert found.exponent.value == pytest.approx(0.0, abs=1e-12) and found.exponent.error > 0.4


def test_rounding_to_evaluations_is_covered_by_the_error():
    """A true law, one seed's scatter of 10%, costs seen at the next of evaluations a factor of 2 apart."""
    generator, pulls = np.random.default_rng(1), []
    for _ in range(1000):
        shift = generator.uniform(0, 1)
        logs = {L: 1.5 * np.log(L) / np.log(2) + 0.15 * generator.normal(size=3) for L in EXTENTS}
        found = cost_exponent({L: list(2 ** (np.ceil(each - shift) + shift)) for L, each in logs.items()}, ratio=2.0)
        pulls.append((found.exponent.value - 1.5) / found.exponent.error)
    assert abs(np.mean(pulls)) < 0.25 and 0.5 < np.std(pulls) < 1.1
