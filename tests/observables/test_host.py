"""The measurements on the host are those of the compiled function."""

import functools

import jax
import numpy as np
import pytest

from trivmap.actions import Phi4
from trivmap.observables import measure, measure_on_host


@pytest.mark.parametrize("shape", [(5,), (2, 2), (4, 6), (6, 3, 6), (3, 3, 2, 4)], ids=str)
def test_agrees_with_the_compiled_measurements(shape):
    action = Phi4(-0.3, 0.4, 0.2, len(shape))
    fields = np.random.default_rng(0).normal(size=(3, *shape))
    expected = jax.jit(jax.vmap(functools.partial(measure, action)))(fields)
    found = measure_on_host(action.coefficients, fields)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        single = name == "two_point"
        assert found[name].shape == values.shape and found[name].dtype == values.dtype
        np.testing.assert_allclose(found[name], values, rtol=1e-4 if single else 1e-10, atol=1e-6 if single else 1e-12)


def test_configurations_do_not_depend_on_each_other():
    fields = np.random.default_rng(0).normal(size=(20, 6, 6))
    together = measure_on_host((-0.3, 0.4, 0.2), fields)
    for name, values in measure_on_host((-0.3, 0.4, 0.2), fields[7:8]).items():
        assert np.array_equal(values[0], together[name][7])
