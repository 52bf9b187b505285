"""The recipe of the presets in two calls."""

import jax
import jax.numpy as jnp
import pytest

import trivmap
from trivmap import Lattice
from trivmap.actions import AbstractAction, Decimated, Phi4
from trivmap.errors import InputError
from trivmap.optimizers import GaussNewton
from trivmap.training import fit, recommended

ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.4, lam=0.5)


class SineGordon(AbstractAction):
    """S = sum_x [1/2 sum_mu (phi(x+mu) - phi(x))^2 + 0.6 (1 - cos phi)]."""

    def __call__(self, field):
        steps = sum(jnp.sum((jnp.roll(field, -1, axis) - field) ** 2) for axis in range(field.ndim))
        return 0.5 * steps + 0.6 * jnp.sum(1 - jnp.cos(field))

    @property
    def symmetries(self):
        return frozenset({"z2", "translations", "point-group"})


@pytest.mark.slow
@pytest.mark.usefixtures("optax_mixes_dtypes")
def test_from_an_action_to_numbers(capsys):
    flow, target = recommended(ACTION, Lattice([4, 4]))
    assert isinstance(target, Decimated)
    flow, quality = fit(flow, target, jax.random.key(0), steps=8, batch=128, progress=True)
    assert quality.acceptance.value > 0.95 and flow.integration_steps >= 4
    assert "train: 8 of 8" in capsys.readouterr().err
    history = trivmap.draw(flow, target, jax.random.key(1), proposals=8000, progress=True)
    assert "sample: 8000 of 8000" in capsys.readouterr().err
    results = trivmap.analyze(history)
    found = results["schwinger_dyson"]
    assert abs(found.value - 1) < 4 * found.dvalue
    assert 0 < abs(results.info["integration_shift"]["phi2"]["value"]) < 0.1 * results["phi2"].dvalue

    # Too few steps move observables by much more than their errors; the correction says so or withholds them.
    rough = trivmap.draw(flow.with_integration_steps(1), target, jax.random.key(1), proposals=8000)
    judged = trivmap.analyze(rough)
    for name in ("phi2", "phi4", "susceptibility"):
        if name in judged:
            error = (judged[name].dvalue ** 2 + results[name].dvalue ** 2) ** 0.5
            assert abs(judged[name].value - results[name].value) < 4 * error
        else:
            assert name in judged.untrusted


@pytest.mark.usefixtures("optax_mixes_dtypes")
def test_an_action_without_coefficients_on_odd_extents():
    lattice = Lattice([3, 3])
    flow, target = recommended(SineGordon(), lattice)
    assert isinstance(target, SineGordon)
    _, quality = fit(flow, target, jax.random.key(0), steps=6, batch=64)
    assert quality.acceptance.value > 0.95


def test_settings_that_do_not_fit_together():
    flow, target = recommended(ACTION, Lattice([4, 4]))
    with pytest.raises(InputError, match="learning_rate: of no use to GaussNewton"):
        fit(flow, target, jax.random.key(0), optimizer=GaussNewton(), learning_rate=1e-3)
    with pytest.raises(InputError, match="is not an optimizer of optax"):
        fit(flow, target, jax.random.key(0), optimizer="newton")
