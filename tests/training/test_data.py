"""Configurations of the target for training: stored ones, and chains that the flow itself keeps fresh."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField, Gaussian
from trivmap.bijections import Chain
from trivmap.objectives import ForwardKL, Mixture, PathGradient
from trivmap.optimizers import first_order
from trivmap.training import Phase, Stored, Trainer, TrainingPlan, Walkers
from trivmap.training.schedules import constant_rate

RING = Lattice((4,))
ACTION = FreeScalar(0.8, 1)
KEY = jax.random.key(5)
NARROW = Flow(Gaussian(RING, learnable=False, dtype=jnp.float64), Chain(RING, []))


def exact_fields(number, key=0):
    """Configurations of the free field by its Fourier modes."""
    base = FreeField(RING, mass=0.8, dtype=jnp.float64)
    keys = jax.random.split(jax.random.key(key), number)
    return jax.vmap(lambda key: base.push(base.noise(key))[0])(keys)


def plan(objective, data, steps=60):
    return TrainingPlan(
        objective=objective,
        optimizer=first_order("adam", 0.05),
        temperature=constant_rate(1.0),
        phases=[Phase(steps, 128)],
        data=data,
        chunk=10,
        evaluate_every=steps,
        checkpoint_every=steps,
    )


def trained(objective, data):
    flow = Flow(FreeField(RING, mass=2.0, dtype=jnp.float64), Chain(RING, []))
    trainer = Trainer(flow, ACTION, plan(objective, data), KEY)
    return trainer, trainer.run(trainer.initial_state())


@pytest.mark.parametrize(
    ("objective", "data"),
    [
        (ForwardKL(), Stored(exact_fields(4000))),
        (Mixture(0.5), Stored(exact_fields(4000))),
        (Mixture(0.5), Walkers(count=128)),
        (ForwardKL(), Walkers(count=64)),
    ],
    ids=["forward", "mixture", "mixture-fresh", "forward-fresh"],
)
def test_a_free_field_is_learned(objective, data):
    trainer, outcome = trained(objective, data)
    assert outcome.status == "finished"
    assert outcome.evaluation.acceptance.value > 0.9
    per_step = 128 * len(objective.draws) + (0 if isinstance(data, Stored) else 2 * data.count)
    assert trainer.plan.configurations_until(60) == 60 * per_step


def test_stored_configurations_are_images_under_the_symmetries():
    fields = jnp.asarray([[1.0, 2.0, 3.0, 4.0], [5.0, -6.0, 7.0, 8.0]])
    drawn, state = Stored(fields).draw(None, NARROW, ACTION, KEY, 2000)
    assert state is None
    rows, counts = np.unique(np.asarray(drawn), axis=0, return_counts=True)
    images = {tuple(sign * np.roll(field, shift)) for field in fields for sign in (1, -1) for shift in range(4)}
    assert {tuple(row) for row in rows} == {tuple(float(x) for x in image) for image in images}
    # Each as often as any other.
    assert np.max(np.abs(counts - 2000 / 16)) < 4.5 * (2000 / 16) ** 0.5


def test_symmetries_that_the_action_lacks_are_not_used():
    class Tilted(FreeScalar):
        @property
        def symmetries(self):
            return frozenset()

    fields = jnp.asarray([[1.0, 2.0, 3.0, 4.0]])
    drawn, _ = Stored(fields).draw(None, NARROW, Tilted(0.8, 1), KEY, 50)
    np.testing.assert_array_equal(drawn, np.broadcast_to(fields, (50, 4)))


def test_chains_of_the_flow_become_the_target():
    """Of a flow that is too narrow: its own configurations are wrong, those of its chains right."""
    action = Phi4.from_couplings("bosetti2015", 1, beta=0.3, lam=0.3)
    source = Walkers(count=4000)
    state = source.begin(NARROW, KEY)

    @jax.jit
    def moved(state):
        def step(state, key):
            fields, state = source.draw(state, NARROW, action, key, 4000)
            return state, jnp.mean(fields**2)

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(9), 60))

    _, squares = moved(state)
    draws = jax.random.normal(jax.random.key(2), (1 << 17, 4), jnp.float64)
    log_weight = -jax.vmap(action)(draws) + 0.5 * jnp.sum(draws**2, axis=1)
    weight = jnp.exp(log_weight - log_weight.max())
    exact = float(jnp.sum(weight * jnp.mean(draws**2, axis=1)) / jnp.sum(weight))
    found, error = float(jnp.mean(squares[20:])), 0.01
    assert abs(float(jnp.mean(state**2)) - exact) > 5 * error
    assert abs(found - exact) < error


def test_fewer_or_more_than_there_are_chains():
    source = Walkers(count=8)
    state = source.begin(NARROW, KEY)
    for batch in (3, 20):
        drawn, after = source.draw(state, NARROW, ACTION, KEY, batch)
        assert drawn.shape == (batch, 4) and after.shape == (8, 4)
        assert {tuple(row) for row in np.asarray(drawn)} <= {tuple(row) for row in np.asarray(after)}


def test_a_training_continues_with_its_chains_bit_by_bit():
    trainer, _ = trained(Mixture(0.5), Walkers(count=16))
    first = trainer.initial_state()
    step = jax.jit(trainer._chunk(first))
    whole, _ = step(first, jnp.asarray(6, jnp.int32), trainer.plan.data)
    half, _ = step(first, jnp.asarray(2, jnp.int32), trainer.plan.data)
    rest, _ = step(half, jnp.asarray(4, jnp.int32), trainer.plan.data)
    assert eqx.tree_equal(eqx.filter(whole, eqx.is_inexact_array), eqx.filter(rest, eqx.is_inexact_array))
    assert not np.array_equal(whole.data, first.data)


def test_mistakes():
    with pytest.raises(InputError, match=r"training\.data: missing; ForwardKL is estimated on configurations"):
        plan(ForwardKL(), None)
    with pytest.raises(InputError, match=r"^data: holds no configurations"):
        Stored(jnp.zeros((0, 4)))
    with pytest.raises(InputError, match=r"^count: must be at least 1, got 0"):
        Walkers(count=0)
    assert replace(plan(PathGradient(), None), chunk=2).data is None
