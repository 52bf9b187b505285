import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.actions import AbstractAction, Phi4
from trivmap.errors import InputError
from trivmap.samplers import HMC, OMELYAN, ActionPotential, Integrator, exp_minus_delta_h, standstill

LATTICE = Lattice((4,))
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
POTENTIAL = ActionPotential(ACTION, LATTICE, jnp.float64)
KERNEL = HMC(POTENTIAL, step_size=0.3, trajectory_length=1.2)
CHAINS = 500
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def moved():
    @jax.jit
    def run(key):
        start, move = jax.random.split(key)
        states = jax.vmap(KERNEL.init)(jax.random.split(start, CHAINS))
        new, info = jax.vmap(KERNEL.step, in_axes=(0, 0, None))(jax.random.split(move, CHAINS), states, 5)
        again = jax.vmap(KERNEL.at)(new.position)
        return states, new, info, again

    return run(jax.random.key(0))


def test_what_a_state_holds_is_what_belongs_to_its_position(moved):
    states, new, info, again = moved
    assert 50 < int(np.sum(info.accepted)) < CHAINS
    for kept, recomputed in zip(new, again, strict=True):
        np.testing.assert_allclose(kept, recomputed, rtol=1e-13, atol=1e-13)
    rejected = ~np.asarray(info.accepted)
    for before, after in zip(states, new, strict=True):
        assert np.array_equal(np.asarray(before)[rejected], np.asarray(after)[rejected])
        assert not np.any(np.asarray(before)[~rejected] == np.asarray(after)[~rejected])


def test_decides_with_the_metropolis_probability(moved):
    _, _, info, _ = moved
    delta_h, accepted = np.asarray(info.delta_h), np.asarray(info.accepted)
    probability = np.minimum(1, np.exp(-delta_h))
    assert np.all(accepted[delta_h < 0])
    error = np.sqrt(np.sum(probability * (1 - probability)))
    assert abs(accepted.sum() - probability.sum()) < 4 * error
    assert probability.mean() < 0.98


def test_the_number_of_evaluations_is_that_of_the_steps():
    calls = []

    class Counting(ActionPotential):
        def evaluate(self, position):
            jax.debug.callback(lambda: calls.append(1))
            return super().evaluate(position)

    kernel = HMC(Counting(ACTION, LATTICE, jnp.float64), step_size=0.1, integrator=OMELYAN)
    state = KERNEL.at(jnp.ones(4))
    jax.block_until_ready(jax.jit(lambda key, state: kernel.step(key, state, 7))(KEY, state))
    jax.effects_barrier()
    assert len(calls) == 14


def test_lengths_are_uniform_between_half_and_three_halves():
    kernel = HMC(POTENTIAL, step_size=0.01, trajectory_length=2.0)
    steps = np.asarray(jax.jit(jax.vmap(kernel.shared))(jax.random.split(jax.random.key(1), 20_000)))
    assert steps.min() >= 100 and steps.max() <= 300
    assert abs(steps.mean() - 200) < 4 * 200 / np.sqrt(12 * len(steps))
    assert steps.var() == pytest.approx(200**2 / 12, rel=0.05)
    # One step is the least, however short the trajectory.
    assert HMC(POTENTIAL, step_size=0.5, trajectory_length=0.01).shared(jax.random.key(0)) == 1


class Wall(AbstractAction):
    """S = phi^2 / 2 where the mean is positive; elsewhere something that is not a finite number."""

    beyond: float = eqx.field(static=True)

    def __call__(self, field):
        return jnp.where(jnp.mean(field) > 0, 0.5 * jnp.sum(field**2), self.beyond)

    def force(self, field):
        return -field

    @property
    def symmetries(self):
        return frozenset()


@pytest.mark.parametrize("beyond", [np.nan, np.inf, -np.inf])
def test_an_energy_that_is_no_number_is_rejected(beyond):
    kernel = HMC(ActionPotential(Wall(beyond), LATTICE, jnp.float64), step_size=0.2)
    states = jax.vmap(kernel.at)(jnp.full((200, 4), 0.1))
    new, info = jax.jit(jax.vmap(kernel.step, in_axes=(0, 0, None)))(
        jax.random.split(jax.random.key(2), 200), states, 5
    )
    finite = np.isfinite(info.delta_h)
    assert 40 < finite.sum() < 160
    assert not np.any(np.asarray(info.accepted) & ~finite)
    assert np.all(np.asarray(new.position).mean(axis=1) > 0)
    assert np.all(np.asarray(exp_minus_delta_h(info.delta_h))[~finite] == 0)


def test_irreversibility_is_rounding():
    single = ActionPotential(ACTION, LATTICE, jnp.float32)
    for potential, bound in ((POTENTIAL, 1e-14), (single, 1e-5)):
        kernel = HMC(potential, step_size=0.1, trajectory_length=2.0)
        measured = jax.jit(lambda key, kernel=kernel: kernel.irreversibility(key, kernel.init(key), 20))(KEY)
        assert 0 < measured < bound
    # A splitting that reads differently backwards shows.
    wrong = HMC(POTENTIAL, step_size=0.1, integrator=Integrator(0.25, ((0.3, 0.5), (0.7, 0.5))))
    assert wrong.irreversibility(KEY, wrong.init(KEY), 20) > 1e-4


@pytest.mark.parametrize("option", ["step_size", "trajectory_length"])
@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf")])
def test_sizes_that_make_no_sense(option, value):
    with pytest.raises(InputError, match=option):
        HMC(POTENTIAL, **{"step_size": 0.1, option: value})


def test_trajectories_that_are_never_accepted_show_nothing():
    accepted, values = np.zeros((4, 500), bool), np.zeros((4, 500))
    reason = standstill(accepted, values)
    assert reason == (
        "0 of 2000 trajectories were accepted, 2000 had a dH that is infinite or nearly so; give a smaller step_size"
    )
    accepted[0, :50] = True
    assert standstill(accepted, values) is None
    assert standstill(np.ones((1, 3), bool), np.ones((1, 3))) is None
