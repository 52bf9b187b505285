import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trivmap.errors import InputError
from trivmap.optimizers import first_order, optimizer_names

PARAMETERS = {"a": jnp.asarray([[1.0, -2.0], [0.5, 1.5]], jnp.float32), "b": jnp.asarray(2.0, jnp.float32)}
ONLY_NUMBERS = {"optimistic_adam", "rprop", "sm3"}
ONLY_ARRAYS = {"sm3"}
SLOW = {"lbfgs"}  # its line search compiles for seconds; it has a test of its own
DEPRECATED = pytest.mark.filterwarnings("ignore:.optimistic_adam. is deprecated")


@pytest.fixture(autouse=True)
def optax_mixes_dtypes():
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss(parameters):
    return sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(parameters))


def steps(optimizer, count, parameters=PARAMETERS):
    state = optimizer.init(parameters)
    for _ in range(count):
        value, gradient = jax.value_and_grad(loss)(parameters)
        updates, state = optimizer.update(gradient, state, parameters, value=value, grad=gradient, value_fn=loss)
        parameters = optax.apply_updates(parameters, updates)
    return parameters


def test_the_common_ones_are_known():
    names = optimizer_names()
    assert {"adam", "adamw", "sgd", "lion", "rmsprop", "nadam", "lamb", "yogi", "lbfgs"} <= set(names)
    assert not [name for name in names if name.startswith("scale_by") or not name.islower()]


@DEPRECATED
@pytest.mark.filterwarnings("ignore:Specifying a key will be required")  # noisy_sgd
@pytest.mark.parametrize("name", [name for name in optimizer_names() if name not in SLOW])
def test_every_optimizer_of_optax_goes_downhill(name):
    rate = 0.01 if name in ONLY_NUMBERS else optax.constant_schedule(0.01)
    start = {"a": PARAMETERS["a"]} if name in ONLY_ARRAYS else PARAMETERS
    moved = steps(first_order(name, rate).transformation, 4, start)
    assert float(loss(moved)) < float(loss(start))
    for key, values in start.items():
        assert moved[key].dtype == jnp.float32
        assert np.any(moved[key] != values)


def test_a_line_search_sees_the_value_function():
    """With the curvature unknown, every step of L-BFGS still goes downhill as far as Wolfe's conditions ask."""

    def steep(parameters):
        return 1e4 * loss(parameters)

    optimizer = first_order("lbfgs", 1.0).transformation

    @jax.jit
    def step(parameters, state):
        value, gradient = jax.value_and_grad(steep)(parameters)
        updates, state = optimizer.update(gradient, state, parameters, value=value, grad=gradient, value_fn=steep)
        return optax.apply_updates(parameters, updates), state

    parameters, state, values = PARAMETERS, optimizer.init(PARAMETERS), [float(steep(PARAMETERS))]
    for _ in range(4):
        parameters, state = step(parameters, state)
        values.append(float(steep(parameters)))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-6 * values[0]


@DEPRECATED
@pytest.mark.parametrize("name", sorted(ONLY_NUMBERS))
def test_an_optimizer_without_schedules_says_so(name):
    with pytest.raises(InputError, match=rf"^learning_rate: {name} takes no schedule; give a number$"):
        first_order(name, optax.constant_schedule(0.01))


def test_schedule_and_keywords_reach_the_optimizer():
    rate = optax.piecewise_constant_schedule(0.5, {1: 0.5})
    moved = steps(first_order("sgd", rate).transformation, 2)
    # Two steps x -> x (1 - 2 rate), rates 0.5 and 0.25: the first ends at the minimum.
    np.testing.assert_array_equal(moved["a"], 0)
    moved = steps(first_order("sgd", 0.1, momentum=0.5).transformation, 2)
    # x1 = 0.8 x, v1 = 2 x, v2 = 1.6 x + v1 / 2 = 2.6 x, x2 = 0.8 x - 0.26 x.
    np.testing.assert_allclose(moved["a"], 0.54 * PARAMETERS["a"], rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    norm = float(optax.tree.norm(PARAMETERS)) * 2
    clipped = steps(first_order("sgd", 1.0, clip=0.25).transformation, 1)
    step = jax.tree.map(lambda new, old: new - old, clipped, PARAMETERS)
    np.testing.assert_allclose(float(optax.tree.norm(step)), 0.25, rtol=1e-6)
    np.testing.assert_allclose(step["b"], -2 * 0.25 / norm * PARAMETERS["b"], rtol=1e-6)
    untouched = steps(first_order("sgd", 0.01, clip=1.01 * norm).transformation, 1)
    np.testing.assert_array_equal(untouched["a"], steps(first_order("sgd", 0.01).transformation, 1)["a"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "adamm"}, "kind: 'adamm' is not an optimizer of optax; did you mean adam"),
        ({"kind": "scale_by_adam"}, "kind: 'scale_by_adam' is not an optimizer of optax"),
        ({"kind": "adam", "bb1": 0.5}, "bb1: adam has no such keyword; did you mean b1?"),
        ({"kind": "adam", "b1": "high"}, "adam refused its keywords"),
        ({"kind": "adam", "clip": 0.0}, "clip: must be positive, got 0.0"),
        ({"kind": "adam", "clip": float("nan")}, "clip: must be positive, got nan"),
    ],
)
def test_mistakes_are_told_in_one_sentence(arguments, message):
    with pytest.raises(InputError) as caught:
        first_order(**{"learning_rate": 0.1, **arguments})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
