import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.diagnostics import log_z
from trivmap.observables import analyze
from trivmap.simulation import draw

LATTICE = Lattice((6,))
ACTION = FreeScalar(0.8, 1)
FLOW = Flow(FreeField(LATTICE, mass=1.1, dtype=jnp.float32), Chain(LATTICE, []))


def test_a_history_that_can_be_analyzed():
    history = draw(FLOW, ACTION, jax.random.key(5), proposals=20_000, chains=2, warmup=50)
    assert (history.chains, history.n, history.warmup) == (2, 10_000, 50)
    estimate = log_z(history["log_weight"])
    assert abs(estimate.value - ACTION.log_z(LATTICE)) < 3 * estimate.error < 0.02
    results = analyze(history)
    phi2 = results["phi2"]
    phi2.gamma_method()
    exact = float(np.mean(1 / (LATTICE.momentum_squared + 0.8)))
    assert abs(phi2.value - exact) < 3 * phi2.dvalue < 0.05
    check = results["schwinger_dyson"]
    check.gamma_method()
    assert abs(check.value - 1) < 3 * check.dvalue < 0.1


@pytest.mark.parametrize(("proposals", "chains"), [(1001, 2), (200, 2), (100, 4)])
def test_proposals_must_be_shared_and_outlast_the_warm_up(proposals, chains):
    with pytest.raises(InputError, match=rf"proposals: {proposals} must be a multiple of {chains} chains"):
        draw(FLOW, ACTION, jax.random.key(5), proposals=proposals, chains=chains)


@pytest.mark.parametrize(("extent", "m_sq"), [(8, 0.8), (6, 0.9)])
def test_one_key_at_two_points_is_independent_unless_the_noise_is_common(extent, m_sq):
    lattice = Lattice((extent,))
    points = [
        (FLOW, ACTION),
        (Flow(FreeField(lattice, mass=1.1, dtype=jnp.float32), Chain(lattice, [])), FreeScalar(m_sq, 1)),
    ]

    def correlation(name, **options):
        drawn = [draw(*point, jax.random.key(5), proposals=8_000, **options)[name].ravel() for point in points]
        return np.corrcoef(*drawn)[0, 1]

    for name in ("magnetization", "log_weight"):
        assert abs(correlation(name)) < 4 / np.sqrt(8_000 - 400)
    assert correlation("magnetization", common_noise=True) > 0.8
