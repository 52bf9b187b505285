import numpy as np
import pytest

from experiments.power_law import LINE, power_law
from trivmap.errors import InputError
from trivmap.estimate import Estimate

LENGTHS = [2.0, 4.0, 8.0, 16.0]


def synthetic(rng, exponent=1.9, relative=0.05):
    times = 1.3 * np.array(LENGTHS) ** exponent * (1 + relative * rng.standard_normal(len(LENGTHS)))
    return [Estimate(float(time), float(relative * time)) for time in times]


def test_an_exact_power_law_is_found():
    law = power_law(LENGTHS, [Estimate(0.7 * xi**2.1, 0.1 * xi) for xi in LENGTHS])
    assert law.exponent.value == pytest.approx(2.1) and law.amplitude.value == pytest.approx(0.7)
    assert law.chi_squared == pytest.approx(0, abs=1e-18) and law.degrees == 2


def test_errors_are_those_of_the_scatter():
    rng = np.random.default_rng(5)
    laws = [power_law(LENGTHS, synthetic(rng)) for _ in range(400)]
    pulls = np.array([(law.exponent.value - 1.9) / law.exponent.error for law in laws])
    assert abs(pulls.mean()) < 4 / np.sqrt(400)
    assert pulls.std() == pytest.approx(1, abs=0.15)
    amplitudes = np.array([(law.amplitude.value - 1.3) / law.amplitude.error for law in laws])
    assert amplitudes.std() == pytest.approx(1, abs=0.15)
    assert np.mean([law.chi_squared for law in laws]) == pytest.approx(2, abs=0.4)


def test_two_lengths_leave_no_freedom():
    law = power_law([2.0, 8.0], [Estimate(1.0, 0.1), Estimate(4.0, 0.4)])
    assert law.exponent.value == pytest.approx(1.0) and law.degrees == 0
    assert law.exponent.error == pytest.approx(0.1 * np.sqrt(2) / np.log(4))


@pytest.mark.parametrize(
    ("lengths", "times"),
    [
        ([2.0], [Estimate(1.0, 0.1)]),
        ([2.0, 2.0], [Estimate(1.0, 0.1)] * 2),
        ([2.0, 4.0], [Estimate(1.0, 0.1), Estimate(1.0, 0.0)]),
        ([2.0, 4.0], [Estimate(1.0, 0.1), Estimate(float("nan"), float("nan"))]),
    ],
)
def test_what_cannot_be_fitted_is_refused(lengths, times):
    with pytest.raises(InputError, match="two lengths at least"):
        power_law(lengths, times)


def test_the_line_is_that_of_the_presets():
    from trivmap.cards.card import load_card

    for extent, beta in LINE.items():
        action = load_card(f"phi4-L{extent}").action
        assert (action.beta, action.lam) == (beta, 0.5)
