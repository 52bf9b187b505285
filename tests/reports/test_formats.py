import math

import pytest

from trivmap.reports.formats import count, duration, parenthesis, roughly


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (6.50774, 0.00908, "6.5077(91)"),
        (6.50774, 0.00904, "6.5077(90)"),
        (-0.5, 0.0123, "-0.500(12)"),
        (123.4, 1.23, "123.4(1.2)"),
        (123.44, 9.96, "123(10)"),
        (12345.0, 678.0, "12340(680)"),
        (0.26344, 0.000996, "0.2634(10)"),
        (0.26344, 0.0996, "0.26(10)"),
        (1.0, 3e-9, "1.0000000000(30)"),
        (0.5, 0.0, "0.5"),
        (0.5, None, "0.5"),
        (17.246312345, None, "17.2463"),
        (2.0, math.inf, "2(inf)"),
    ],
)
def test_parenthesis_keeps_two_digits_of_the_error(value, error, text):
    assert parenthesis(value, error) == text


@pytest.mark.parametrize("value", [1.23456, -98.7654, 0.000321])
@pytest.mark.parametrize("error", [0.0123, 0.99, 4.4, 77.0])
def test_parenthesis_reads_back_within_rounding(value, error):
    digits, _, rest = parenthesis(value, error).partition("(")
    places = len(digits.partition(".")[2])
    shown = rest.rstrip(")")
    assert float(digits) == pytest.approx(value, abs=0.051 * error)
    assert float(shown) * (1 if "." in shown else 10**-places) == pytest.approx(error, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4249, "0.425 s"), (12.34, "12.3 s"), (245.0, "4 min 05 s"), (3599.6, "1 h 00 min"), (11532.0, "3 h 12 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "1 s"),
        (7.78, "8 s"),
        (49.0, "50 s"),
        (97.0, "97 s"),
        (119.0, "120 s"),
        (218.0, "4 min"),
        (7199.0, "120 min"),
        (11532.0, "3 h"),
        (200_000.0, "2 days"),
        (1e11, "1200000 days"),
    ],
)
def test_roughly(seconds, text):
    assert roughly(seconds) == text


def test_count_groups_digits():
    assert count(1234567).split("\u202f") == ["1", "234", "567"]
