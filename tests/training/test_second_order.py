"""Training by Gauss-Newton: the objective of each step, and a training that is interrupted and continued."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.support import Recorder, bits
from trivmap import Flow, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Affine, Chain, DenseNetwork, Rescale, coupling_stack
from trivmap.objectives import Draws, PathGradient, Variance, residual_and_path
from trivmap.optimizers import GaussNewton
from trivmap.store.checkpoints import CheckpointStore
from trivmap.training import Phase, Trainer, TrainingPlan
from trivmap.training.schedules import constant_rate

LATTICE = Lattice((4,))
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.6, lam=0.3)
KEY = jax.random.key(21)
VARIANCE = Variance()


def flow(dtype="float32"):
    layers = coupling_stack(LATTICE, Affine(), 2, DenseNetwork((3,)), z2=False, dtype=dtype, key=jax.random.key(1)).maps
    return Flow(FreeField(LATTICE, mass=2.5, dtype=dtype), Chain(LATTICE, [*layers, Rescale(LATTICE, dtype=dtype)]))


def trainer(objective=VARIANCE, **options):
    plan = TrainingPlan(
        objective=objective,
        optimizer=GaussNewton(**options),
        temperature=constant_rate(1.0),
        phases=[Phase(6, 128)],
        chunk=2,
        evaluate_every=100,
        checkpoint_every=100,
    )
    return Trainer(flow(), ACTION, plan, KEY)


FINISHING = trainer(finish=2)


def run(trainer, state=None, interrupt_at=None):
    trainer.observer = Recorder(interrupt_at)
    return trainer.run(trainer.initial_state() if state is None else state)


@pytest.fixture(scope="module")
def middle():
    """After four steps on the variance, two before the end."""
    outcome = run(FINISHING, interrupt_at=4)
    assert outcome.status == "interrupted"
    return outcome.state


def agree(one, other):
    """To within the rounding of two programs."""
    for a, b in zip(one.optimizer.last_accepted, other.optimizer.last_accepted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    assert int(one.step) == int(other.step)


def test_the_last_steps_are_on_the_kl(middle):
    agree(middle, run(trainer(), interrupt_at=4).state)
    assert float(middle.optimizer.predicted_gain) == 0
    end, kl = run(FINISHING, middle), trainer(objective=PathGradient())
    agree(end.state, run(kl, middle).state)
    assert float(end.state.optimizer.predicted_gain) != 0


def test_a_training_taken_up_between_the_two_goes_on_bit_by_bit(middle, tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints", "digest")
    store.save(4, middle, {})
    restored, _ = store.restore(FINISHING.initial_state())
    assert bits(restored) == bits(middle)
    assert bits(run(FINISHING, restored).state) == bits(run(FINISHING).state)


def test_residual_and_path_are_those_of_the_objective():
    """Their mean gradient is that of the path gradient, which tests/objectives finds unbiased."""
    parameters, static = eqx.partition(flow("float64"), eqx.is_inexact_array)
    rng = np.random.default_rng(2)
    moved = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.2 * rng.normal(size=leaf.shape)), parameters)
    noise, temperature = jnp.asarray(rng.normal(size=(9, 4))), jnp.float32(1.3)

    @jax.jit
    def both(parameters):
        def by_pair(parameters):
            f, p = jax.vmap(lambda z: residual_and_path(eqx.combine(parameters, static), ACTION, z, temperature))(noise)
            return jnp.mean(p), f

        def by_objective(parameters):
            return PathGradient()(eqx.combine(parameters, static), ACTION, Draws(noise=noise), temperature)

        return [jax.grad(function, has_aux=True)(parameters) for function in (by_pair, by_objective)]

    (one, f), (other, residuals) = both(moved)
    np.testing.assert_allclose(f, residuals, rtol=1e-13)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_the_residual_differs_by_the_derivative_of_log_q_at_fixed_field():
    whole = flow("float64")
    parameters, static = eqx.partition(whole, eqx.is_inexact_array)
    z = jnp.asarray(np.random.default_rng(3).normal(size=4))

    @jax.jit
    def both(parameters):
        field, _ = eqx.combine(parameters, static).push(z)

        def difference(parameters):
            f, p = residual_and_path(eqx.combine(parameters, static), ACTION, z, jnp.float32(1))
            return f - p

        return jax.grad(difference)(parameters), jax.grad(lambda p: eqx.combine(p, static).log_density(field))(
            parameters
        )

    for a, b in zip(*map(jax.tree.leaves, both(parameters)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)
