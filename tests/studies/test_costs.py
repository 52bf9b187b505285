import math

import pytest

from trivmap.estimate import Estimate
from trivmap.studies.comparison_result import break_even, cost_of_one, independent_per_second


def exactly(value):
    return Estimate(value, 0.0)


def test_rate_and_cost_of_one_are_inverse():
    tau_int, seconds = Estimate(2.5, 0.25), Estimate(0.01, 0.0005)
    rate, cost = independent_per_second(tau_int, seconds), cost_of_one(tau_int, seconds)
    assert rate.value == pytest.approx(20) and cost.value == pytest.approx(0.05)
    relative = math.hypot(0.1, 0.05)
    assert rate.error == pytest.approx(20 * relative) and cost.error == pytest.approx(0.05 * relative)


def test_an_independent_sampler_makes_one_a_step():
    assert independent_per_second(exactly(0.5), exactly(0.25)) == (4.0, 0.0)


class TestBreakEven:
    def test_at_known_numbers(self):
        # 100 + n 0.01 = 10 + n 0.04 at n = 3000.
        found = break_even(100.0, exactly(0.01), 10.0, exactly(0.04))
        assert found.verdict == "at" and found.samples == pytest.approx((3000.0, 0.0))

    def test_error_is_that_of_the_gain(self):
        found = break_even(90.0, Estimate(0.01, 0.003), 0.0, Estimate(0.04, 0.004))
        assert found.samples == pytest.approx((3000.0, 3000 * 0.005 / 0.03))

    def test_a_more_expensive_sample_never_pays(self):
        assert break_even(100.0, Estimate(0.04, 0.001), 0.0, Estimate(0.01, 0.001)) == ("never", None)
        assert break_even(0.0, exactly(0.04), 5.0, exactly(0.01)).verdict == "never"

    def test_equal_costs_never_pay_a_training(self):
        assert break_even(100.0, exactly(0.01), 0.0, exactly(0.01)) == ("never", None)

    @pytest.mark.parametrize("own", [0.011, 0.010, 0.009])
    def test_costs_that_do_not_differ_clearly_decide_nothing(self, own):
        assert break_even(100.0, Estimate(own, 0.001), 0.0, Estimate(0.010, 0.001)) == ("undecided", None)

    def test_a_shorter_warm_up_and_cheaper_samples_pay_at_once(self):
        assert break_even(1.0, exactly(0.01), 2.0, exactly(0.04)) == ("from the start", None)
