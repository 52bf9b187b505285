import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def optax_mixes_dtypes():
    """Its schedules and Adam's bias correction raise a float to an integer power, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield
