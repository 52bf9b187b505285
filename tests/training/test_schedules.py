import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap.errors import InputError
from trivmap.training.schedules import (
    Phase,
    constant_rate,
    cosine_rate,
    phase_at,
    restarts_rate,
    temperature_schedule,
)


def values(schedule, *steps):
    """As training calls it: with a traced integer."""
    return [float(value) for value in jax.jit(jax.vmap(schedule))(jnp.asarray(steps, jnp.int32))]


def test_constant():
    np.testing.assert_allclose(values(constant_rate(3e-3), 0, 1, 10**6), 3e-3, rtol=1e-6)
    rising = values(constant_rate(1.0, warmup=4), 0, 1, 2, 3, 4, 5, 100)
    np.testing.assert_allclose(rising, [0.25, 0.5, 0.75, 1, 1, 1, 1], rtol=1e-6)


def test_cosine():
    np.testing.assert_allclose(
        values(cosine_rate(2.0, 100), 0, 25, 50, 75, 100, 1000),
        [2, 1 + np.cos(np.pi / 4), 1, 1 - np.cos(np.pi / 4), 0, 0],
        atol=1e-6,
    )
    warmed = values(cosine_rate(2.0, 110, warmup=10, final=0.1), 0, 4, 9, 10, 60, 110)
    np.testing.assert_allclose(warmed, [0.2, 1.0, 2.0, 2.0, 1.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(values(cosine_rate(2.0, 100, warmup=1), 0, 1), [2.0, 2.0], rtol=1e-6)


def test_restarts():
    schedule = restarts_rate(1.0, 1000, period=10, warmup=5, final=0.2, period_factor=2.0, decay=0.5)
    # Cosines begin at 5, 15, 35, 75 with lengths 10, 20, 40 and heights 1, 1/2, 1/4.
    steps = [0, 4, 5, 10, 14, 15, 25, 34, 35, 55, 75]
    lowest = [0.2 + 0.4 * (1 + np.cos(np.pi * 9 / 10)), 0.1 + 0.2 * (1 + np.cos(np.pi * 19 / 20))]
    exact = [0.2, 1, 1, 0.6, lowest[0], 0.5, 0.3, lowest[1], 0.25, 0.15, 0.125]
    np.testing.assert_allclose(values(schedule, *steps), exact, rtol=1e-5)


def test_restarts_go_on_to_the_end():
    schedule = restarts_rate(1.0, 95, period=30)
    np.testing.assert_allclose(values(schedule, 30, 60, 90), 1.0)
    np.testing.assert_allclose(values(schedule, 94), 0.5 * (1 + np.cos(np.pi * 4 / 30)), rtol=1e-5)


@pytest.mark.parametrize("options", [{"period": 0}, {"period": 5, "period_factor": 0.5}])
def test_restarts_that_never_advance_are_refused(options):
    with pytest.raises(InputError, match=r"^period(_factor)?: must be at least 1, got"):
        restarts_rate(1.0, 100, **options)


@pytest.mark.parametrize(("shape", "middle"), [("linear", 2.5), ("geometric", 2.0), ("cosine", 2.5)])
def test_temperature(shape, middle):
    schedule = temperature_schedule(4.0, 30, shape)
    start, half, late, *end = values(schedule, 0, 15, 29, 30, 31, 10**6)
    assert start == 4.0
    assert half == pytest.approx(middle, rel=1e-6)
    assert 1 < late < 1.2
    # Not nearly but exactly.
    assert end == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("shape", ["linear", "geometric", "cosine"])
@pytest.mark.parametrize("start", [0.3, 1.0, 7.0])
def test_temperature_moves_one_way_between_its_ends(shape, start):
    steps = np.arange(20)
    path = np.array(values(temperature_schedule(start, 13, shape), *steps))
    assert path[0] == pytest.approx(start)
    assert np.all(np.diff(path) * np.sign(1 - start) >= 0)
    assert np.all(path[13:] == 1.0)
    assert start == 1.0 or len(set(path[:13])) == 13


def test_temperature_is_the_dtype_it_claims():
    assert temperature_schedule(2.0, 10)(jnp.asarray(3)).dtype == jnp.float32
    assert float(temperature_schedule(2.0, 10)(5)) == 1.5


@pytest.mark.parametrize("start", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(start):
    with pytest.raises(InputError, match=r"^temperature.start: must be positive, got"):
        temperature_schedule(start, 10)


def test_unknown_shape():
    with pytest.raises(InputError, match="'quadratic' is unknown; choose one of linear, geometric, cosine"):
        temperature_schedule(2.0, 10, "quadratic")


def test_phases():
    phases = [Phase(10, 64), Phase(5, 128)]
    assert phase_at(phases, 0) == (Phase(10, 64), 10)
    assert phase_at(phases, 9) == (Phase(10, 64), 10)
    assert phase_at(phases, 10) == (Phase(5, 128), 15)
    with pytest.raises(ValueError, match="lies beyond the last phase, which ends at 15"):
        phase_at(phases, 15)
