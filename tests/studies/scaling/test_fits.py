"""Exponents on costs with a known law."""

import numpy as np
import pytest

from trivmap.studies.scaling.fits import Cost
from trivmap.studies.scaling.fits import cost_exponent as exponent_of_intervals

EXTENTS = (6, 8, 12, 16, 20)


def cost_exponent(costs, ratio=1.0):
    """Of costs that are known to a factor `ratio`."""
    return exponent_of_intervals({L: [interval(c, ratio) for c in each] for L, each in costs.items()})


def interval(cost, ratio):
    """About a cost; None stands for a run that spent 60 and did not get there."""
    return Cost(60.0, np.inf) if cost is None else Cost(cost / np.sqrt(ratio), cost * np.sqrt(ratio))


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
    assert found.extents == (6, 8, 12) and found.censored == (16, 20)
    # The law says 91 at L = 16: 60 spent in vain are no surprise.
    assert found.amplitude * 16**found.exponent.value > 80 and not found.lower_bound
    hole = cost_exponent({6: [10.0, 11.0], 8: [None, 3.0], 12: [50.0, 52.0]})
    assert hole.censored == (8,) and not hole.lower_bound


@pytest.mark.parametrize(("spent", "bound"), [(50.0, False), (200.0, True)])
def test_what_is_spent_in_vain_bounds_the_exponent_only_where_the_law_says_less(spent, bound):
    costs = {L: [interval(float(L**1.5), 1.2)] for L in (6, 8, 12)} | {20: [Cost(spent, np.inf), interval(80.0, 1.2)]}
    assert exponent_of_intervals(costs).lower_bound == bound
    assert not exponent_of_intervals(costs | {20: [Cost(0.0, np.inf)]}).lower_bound


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
    """Costs known to a factor of 4, in which the seeds agree."""
    found = cost_exponent({L: [float(L**1.5)] * seeds for L in EXTENTS}, ratio=4.0)
    x = np.log(EXTENTS)
    assert found.exponent.value == pytest.approx(1.5) and found.chi_squared < 1e-12
    assert found.exponent.error == pytest.approx(np.log(4) / np.sqrt(12 * np.sum((x - x.mean()) ** 2)))


def test_equal_costs_are_not_sure_for_being_equal():
    found = cost_exponent({4: [384.0, 384.0, 384.0], 6: [384.0] * 3, 8: [384.0] * 3}, ratio=3.0)
    assert found.exponent.value == pytest.approx(0.0, abs=1e-12) and found.exponent.error > 0.4


@pytest.mark.parametrize("exponent", [1.5, 2.5])
def test_evaluations_in_steps_do_not_shift_the_exponent(exponent):
    """Costs with a scatter of 25%, seen at multiples of 384, of which the first hides all that is cheaper."""
    generator, pulls = np.random.default_rng(1), []
    for _ in range(1000):
        costs = {}
        for L in (8, 12, 16, 20, 32):
            exact = 300 * (L / 8) ** exponent * np.exp(0.25 * generator.normal(size=3))
            seen = 384 * np.ceil(exact / 384)
            costs[L] = [Cost(max(128.0, value - 384), value) for value in seen]
        found = exponent_of_intervals(costs)
        pulls.append((found.exponent.value - exponent) / found.exponent.error)
    assert abs(np.mean(pulls)) < 0.4 and 0.4 < np.std(pulls) < 1.05
