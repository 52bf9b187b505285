import itertools
import math

import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from tests.oracles import ChainOracle
from trivmap import InputError
from trivmap.actions import NOTATIONS, FreeScalar, Phi4, convert
from trivmap.actions.notations import SMALLEST_GAP, coefficients, require_integrable

# One interacting theory per dimension and notation, some in the broken phase.
COUPLINGS = {
    "standard": {"m_sq": -1.2, "g": 5.0},
    "albergo2019": {"m_sq": -4.0, "lam": 6.975},
    "bosetti2015": {"beta": 0.7, "lam": 0.9},
    "nicoli2020": {"kappa": 0.3, "lam": 0.022},
}
PAIRS = list(itertools.product(NOTATIONS, NOTATIONS))
pairs = pytest.mark.parametrize(("source", "target"), PAIRS, ids=["-".join(pair) for pair in PAIRS])


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("standard", lambda d: (-1.0, d - 0.6, 5.0 / 24)),
        ("albergo2019", lambda d: (-2.0, 2 * d - 4.0, 6.975)),
        ("bosetti2015", lambda d: (-0.7, -0.8, 0.9)),
        ("nicoli2020", lambda d: (-0.6, 0.956, 0.022)),
    ],
)
def test_coefficients_are_those_of_the_literature(notation, expected, dimension):
    np.testing.assert_allclose(coefficients(notation, COUPLINGS[notation], dimension), expected(dimension), rtol=1e-14)


@pairs
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_conversion_keeps_the_action(source, target, dimension):
    """S(phi) = S'(phi') at phi = s phi', for random fields."""
    converted, scale = convert(source, target, COUPLINGS[source], dimension)
    assert tuple(converted) == NOTATIONS[target].couplings
    field = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3, 2)[:dimension]))
    before = Phi4.from_couplings(source, dimension, **COUPLINGS[source])(scale * field)
    after = Phi4.from_couplings(target, dimension, **converted)(field)
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pairs
def test_conversion_there_and_back(source, target):
    there, scale = convert(source, target, COUPLINGS[source], 2)
    back, inverse = convert(target, source, there, 2)
    assert back == pytest.approx(COUPLINGS[source], rel=1e-12)
    assert scale * inverse == pytest.approx(1.0, rel=1e-12)


@pairs
def test_log_z_shifts_by_the_volume_times_the_log_of_the_scale(source, target):
    converted, scale = convert(source, target, COUPLINGS[source], 1)
    before = ring_log_z(coefficients(source, COUPLINGS[source], 1))
    after = ring_log_z(coefficients(target, converted, 1))
    assert before == pytest.approx(after + 4 * math.log(scale), abs=1e-9)


def ring_log_z(c: tuple[float, float, float]) -> float:
    return ChainOracle(4, *c, points=100).log_z


# L: beta at lam = 0.5 of the one, lam at m_sq = -4 of the other: the same physics, confirmed by simulation.
LINE = {6: (0.537, 6.975), 8: (0.576, 6.008), 10: (0.601, 5.550), 12: (0.616, 5.276), 14: (0.626, 5.113)}


@pytest.mark.parametrize("extent", LINE)
def test_line_of_constant_physics_is_one_line(extent):
    beta, lam = LINE[extent]
    converted, _ = convert("albergo2019", "bosetti2015", {"m_sq": -4.0, "lam": lam}, 2)
    # m_sq = -4 in d = 2 has no quadratic term, nor has lam = 1/2: exactly beta = 2 sqrt(0.5 / lam_A).
    assert converted["lam"] == pytest.approx(0.5, rel=1e-14)
    assert converted["beta"] == pytest.approx(2 * math.sqrt(0.5 / lam), rel=1e-14)
    # The two tables were found independently, to about 1% of xi.
    assert converted["beta"] == pytest.approx(beta, rel=4e-3)


def test_free_theories_are_converted_too():
    """c4 = 0: the quadratic equation for the scale degenerates."""
    converted, scale = convert("standard", "bosetti2015", {"m_sq": 0.5, "g": 0.0}, 2)
    assert converted == pytest.approx({"beta": 1 / 2.25, "lam": 0.0})
    assert scale == pytest.approx(2.25**-0.5)


@pytest.mark.parametrize("target", ["standard", "albergo2019"])
@pytest.mark.parametrize("beta", [0.0, -0.3])
def test_couplings_that_a_notation_cannot_express_are_refused(target, beta):
    with pytest.raises(InputError, match=rf"^{target} needs a ferromagnetic .*got c1={-beta:g}"):
        convert("bosetti2015", target, {"beta": beta, "lam": 0.5}, 2)


def test_antiferromagnets_convert_where_they_can():
    converted, scale = convert("bosetti2015", "nicoli2020", {"beta": -0.3, "lam": 0.5}, 2)
    assert converted == pytest.approx({"kappa": -0.15, "lam": 0.5})
    assert scale == pytest.approx(1.0)


@pytest.mark.parametrize("call", ["action", "source", "target"])
def test_unknown_notation_is_refused(call):
    calls = {
        "action": lambda: Phi4.from_couplings("bosetti", 2, beta=0.5, lam=0.5),
        "source": lambda: convert("bosetti", "standard", {"beta": 0.5, "lam": 0.5}, 2),
        "target": lambda: convert("bosetti2015", "bosetti", {"beta": 0.5, "lam": 0.5}, 2),
    }
    with pytest.raises(InputError, match=r"^notation: 'bosetti' is unknown; choose one of standard, albergo2019"):
        calls[call]()


@pytest.mark.parametrize("notation", NOTATIONS)
def test_missing_coupling_is_refused(notation):
    first, second = NOTATIONS[notation].couplings
    with pytest.raises(InputError, match=rf"^{second}: missing; the notation {notation} needs {first} and {second}"):
        Phi4.from_couplings(notation, 2, **{first: 1.0})


def test_coupling_of_another_notation_is_refused():
    with pytest.raises(InputError, match=r"^kappa: not a coupling of bosetti2015, which has beta and lam"):
        Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5, kappa=0.1)


@pytest.mark.parametrize("notation", NOTATIONS)
def test_negative_quartic_coupling_is_refused_by_its_name(notation):
    """Mistake seen in earlier codes: negative lam accepted."""
    first, second = NOTATIONS[notation].couplings
    with pytest.raises(InputError, match=rf"^{second}: must not be negative, got -0\.1"):
        Phi4.from_couplings(notation, 2, **{first: 1.0, second: -0.1})


@pytest.mark.parametrize("bad", [math.nan, math.inf, True, "0.5", None])
def test_couplings_that_are_no_finite_numbers_are_refused(bad, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    with pytest.raises(InputError, match=rf"^beta: must be a finite number, got {bad}"):
        Phi4.from_couplings("bosetti2015", 2, beta=bad, lam=0.5)


@pytest.mark.parametrize("number", [1, np.int64(1), np.float32(1.0), np.float64(1.0)])
def test_numbers_of_other_kinds_are_taken(number, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it
    assert Phi4.from_couplings("bosetti2015", 2, beta=number, lam=0.5).coefficients == (-1.0, 0.0, 0.5)


def test_an_array_without_axes_is_a_number():
    expected = Phi4.from_couplings("bosetti2015", 2, beta=0.6, lam=0.5)
    assert Phi4.from_couplings("bosetti2015", 2, beta=np.array(0.6), lam=jnp.asarray(0.5)) == expected
    for wrong in (np.array([0.6]), np.array(0.6j), np.array(True)):
        with pytest.raises(InputError, match=r"^beta: must be a finite number"):
            Phi4.from_couplings("bosetti2015", 2, beta=wrong, lam=0.5)


@pytest.mark.parametrize(("c1", "c2"), [(-1.0, 2.0), (-1.0, 2.0 + 1e-9), (-0.5, 1.0 + 1e-10), (0.0, 0.0), (0.0, -1.0)])
def test_a_quadratic_form_that_rounding_decides_over_is_refused(c1, c2):
    with pytest.raises(InputError, match="without a quartic term"):
        require_integrable(c1, c2, 0.0, 2)


@pytest.mark.parametrize(("c1", "c2"), [(-1.0, 2.0 + 5e-9), (0.0, 1e-12), (1.0, 2.1)])
def test_a_quadratic_form_that_is_positive_is_taken(c1, c2):
    require_integrable(c1, c2, 0.0, 2)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_the_lightest_free_field_is_a_quadratic_phi4(dimension):
    require_integrable(*FreeScalar(SMALLEST_GAP, dimension).coefficients, dimension)
