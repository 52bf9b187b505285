"""The training loop on flows of a few parameters, where everything can be followed step by step."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.support import Recorder, bits
from trivmap import Flow, InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Rescale
from trivmap.objectives import Draws, PathGradient, ReverseKL
from trivmap.optimizers import first_order
from trivmap.store.checkpoints import CheckpointStore
from trivmap.training import Phase, Trainer, TrainingPlan
from trivmap.training.schedules import constant_rate, restarts_rate, temperature_schedule

LATTICE = Lattice((4,))
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.6, lam=0.3)
FLOW = Flow(FreeField(LATTICE, mass=2.5, dtype=jnp.float32), Chain(LATTICE, [Rescale(LATTICE, dtype=jnp.float32)]))
KEY = jax.random.key(21)
RATE = restarts_rate(0.05, 24, period=10, warmup=3, final=0.1, decay=0.8)
TEMPERATURE = temperature_schedule(3.0, 12, "geometric")
PLAN = TrainingPlan(
    objective=PathGradient(),
    optimizer=first_order("sgd", RATE, momentum=0.9, clip=1.0),
    temperature=TEMPERATURE,
    phases=[Phase(10, 16), Phase(14, 24)],
    moving_average=0.8,
    chunk=3,
    evaluate_every=8,
    checkpoint_every=5,
)
TRAINER = Trainer(FLOW, ACTION, PLAN, KEY)


def run(trainer, state=None, **options):
    """(outcome, recorder)."""
    recorder = Recorder(options.pop("interrupt_at", None))
    trainer.observer = recorder
    return trainer.run(trainer.initial_state() if state is None else state, **options), recorder


@pytest.fixture(scope="module")
def whole():
    return run(TRAINER)


class TestWhole:
    def test_ends(self, whole):
        outcome, _ = whole
        assert outcome.status == "finished"
        assert int(outcome.state.step) == 24
        assert outcome.evaluation is not None
        assert not bool(outcome.state.failed)

    def test_chunks_end_where_something_is_due(self, whole):
        """At multiples of chunk, evaluation and checkpoint, and where the batch changes."""
        _, recorder = whole
        marks = {*range(3, 25, 3), *range(8, 25, 8), *range(5, 25, 5), 10}
        assert [record["step"] for record in recorder.records] == sorted(marks)
        assert [step for step, _ in recorder.evaluations] == [8, 16, 24]
        assert [int(state.step) for state in recorder.saved] == [5, 10, 15, 20, 24]

    def test_records(self, whole):
        _, recorder = whole
        for record in recorder.records:
            step = record["step"]
            assert record["batch"] == (16 if step <= 10 else 24)
            assert record["configurations"] == 16 * min(step, 10) + 24 * max(0, step - 10)
            assert record["learning_rate"] == pytest.approx(float(RATE(step - 1)), rel=1e-6)
            assert record["temperature"] == pytest.approx(float(TEMPERATURE(step - 1)), rel=1e-6)
        assert recorder.records[-1]["temperature"] == 1.0
        assert recorder.records[0]["temperature"] > 2.4

    def test_an_evaluation_is_a_function_of_the_state(self, whole):
        outcome, recorder = whole
        assert TRAINER.evaluate(outcome.state) == recorder.evaluations[-1][1] == outcome.evaluation

    @pytest.mark.parametrize("position", range(4))
    def test_resumed_from_a_checkpoint_it_ends_bit_identical(self, whole, position, tmp_path):
        outcome, recorder = whole
        middle = recorder.saved[position]
        store = CheckpointStore(tmp_path, digest="same")
        store.save(int(middle.step), middle, {})
        restored, _ = store.restore(TRAINER.initial_state())
        assert bits(restored) == bits(middle)
        again, rest = run(TRAINER, restored)
        assert bits(again.state) == bits(outcome.state)
        assert rest.records == [record for record in recorder.records if record["step"] > int(middle.step)]
        assert rest.evaluations == [each for each in recorder.evaluations if each[0] > int(middle.step)]
        assert bits(TRAINER.flow(again.state)) == bits(TRAINER.flow(outcome.state))

    def test_interrupted_anywhere_and_resumed_it_ends_bit_identical(self, whole):
        outcome, recorder = whole
        state, records, stops = None, [], []
        for wish in (1, 7, 11, 17):
            part, seen = run(TRAINER, state, interrupt_at=wish)
            assert part.status == "interrupted"
            assert bits(seen.saved[-1]) == bits(part.state)
            state = part.state
            records += seen.records
            stops.append(int(state.step))
        assert stops == [3, 8, 12, 18]
        end, seen = run(TRAINER, state)
        assert bits(end.state) == bits(outcome.state)
        assert records + seen.records == recorder.records

    def test_the_length_of_chunks_changes_nothing(self, whole):
        outcome, recorder = whole
        other, seen = run(Trainer(FLOW, ACTION, dataclasses.replace(PLAN, chunk=50), KEY))
        assert bits(other.state) == bits(outcome.state)
        assert seen.evaluations == recorder.evaluations
        assert len(seen.records) < len(recorder.records)

    def test_another_key_trains_differently(self, whole):
        other = Trainer(FLOW, ACTION, PLAN, jax.random.key(22)).initial_state()
        TRAINER.observer = Recorder(interrupt_at=1)
        here = run(TRAINER, interrupt_at=1)[0].state
        there = run(TRAINER, other, interrupt_at=1)[0].state
        assert bits(here.parameters) != bits(there.parameters)


class TestStepByStep:
    """A checkpoint after every step shows all that a step does."""

    PLAN = dataclasses.replace(PLAN, phases=[Phase(6, 16)], evaluate_every=100, checkpoint_every=1)
    TRAINER = Trainer(FLOW, ACTION, PLAN, KEY)

    @pytest.fixture(scope="class")
    @classmethod
    def states(cls):
        _, recorder = run(cls.TRAINER)
        return [cls.TRAINER.initial_state(), *recorder.saved], recorder.records

    def noise(self, state):
        return jax.vmap(FLOW.noise)(jax.random.split(jax.random.fold_in(state.key, state.step), 16))

    def test_moving_average(self, states):
        """The weighted mean of all weights since the first step, newest weighing most: 0.8^(n-k), normalized."""
        states, _ = states
        for n in (1, 3, 6):
            shares = 0.8 ** np.arange(n - 1, -1, -1)
            history = np.array([state.parameters.base.log_factor for state in states[1 : n + 1]])
            expected = shares @ history / shares.sum()
            flow = self.TRAINER.flow(states[n])
            np.testing.assert_allclose(flow.base.log_factor, expected, rtol=1e-5)
        assert not np.allclose(expected, states[-1].parameters.base.log_factor, rtol=1e-2)

    def test_before_the_first_step_the_average_is_the_start(self):
        assert bits(self.TRAINER.flow(self.TRAINER.initial_state())) == bits(FLOW)

    def test_metrics_of_a_step(self, states):
        states, records = states
        for n in (0, 4):
            flow = eqx.combine(states[n].parameters, FLOW)
            temperature = float(TEMPERATURE(n))
            fields, log_q = jax.vmap(flow.push)(self.noise(states[n]))
            residuals = np.asarray(log_q + jax.vmap(ACTION)(fields) / temperature)
            record = records[n]
            assert record["step"] == n + 1
            assert record["loss"] == pytest.approx(residuals.mean(), rel=1e-5)
            assert record["loss_error"] == pytest.approx(residuals.std() / 4, rel=1e-4)
            weights = np.exp(residuals.min() - residuals)
            assert record["ess"] == pytest.approx(weights.sum() ** 2 / (16 * np.sum(weights**2)), rel=1e-4)

    def test_the_step_is_the_clipped_gradient_with_momentum(self, states):
        states, records = states
        velocity = None
        for n in range(3):
            parameters, static = eqx.partition(eqx.combine(states[n].parameters, FLOW), eqx.is_inexact_array)

            def surrogate(parameters, static=static, n=n):
                noise = self.noise(states[n])
                return PathGradient()(
                    eqx.combine(parameters, static), ACTION, Draws(noise=noise), jnp.asarray(TEMPERATURE(n))
                )[0]

            gradient = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.grad(surrogate)(parameters))]
            norm = np.sqrt(sum(np.sum(leaf**2) for leaf in gradient))
            assert records[n]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
            gradient = [leaf / max(1.0, norm) for leaf in gradient]
            velocity = gradient if velocity is None else [g + 0.9 * v for g, v in zip(gradient, velocity, strict=True)]
            after = jax.tree.leaves(states[n + 1].parameters)
            for old, new, v in zip(jax.tree.leaves(parameters), after, velocity, strict=True):
                np.testing.assert_allclose(new - old, -float(RATE(n)) * v, rtol=1e-3, atol=1e-6)


class TestFailure:
    """A learning rate that explodes at step 9; the update it spoils shows in the loss of the next step."""

    @staticmethod
    def trainer(fatal_rate):
        def schedule(step):
            # A moderate jump at step 2 is no failure.
            step = jnp.asarray(step)
            return jnp.where(step == 9, fatal_rate, jnp.where(step == 2, 0.02, 1e-3)).astype(jnp.float32)

        plan = TrainingPlan(
            objective=ReverseKL(),
            optimizer=first_order("sgd", schedule),
            temperature=constant_rate(1.0),
            phases=[Phase(20, 16)],
            chunk=4,
            evaluate_every=20,
            checkpoint_every=4,
        )
        return Trainer(FLOW, ACTION, plan, KEY)

    @pytest.fixture(scope="class")
    @classmethod
    def exploding(cls):
        return cls.trainer(1e12)

    @pytest.mark.parametrize(
        ("every", "steps", "kept"),
        [
            pytest.param(4, 20, 8, id="within a chunk"),
            pytest.param(5, 20, 5, id="in the last update before a checkpoint"),
            pytest.param(9, 20, 9, id="in the first update after one"),
            pytest.param(20, 20, 0, id="before the first checkpoint"),
            pytest.param(6, 10, 6, id="in the very last update"),
        ],
    )
    def test_the_last_checkpoint_is_good_and_kept(self, exploding, every, steps, kept):
        plan = dataclasses.replace(exploding.plan, checkpoint_every=every, phases=[Phase(steps, 16)])
        trainer = Trainer(FLOW, ACTION, plan, KEY)
        trainer._chunks = exploding._chunks  # one program serves them all
        outcome, recorder = run(trainer)
        assert outcome.status == "failed"
        assert int(outcome.state.step) == kept
        assert [int(state.step) for state in recorder.saved] == list(range(every, kept + 1, every))
        if kept:
            assert bits(outcome.state) == bits(recorder.saved[-1])
        else:
            assert bits(outcome.state) == bits(trainer.initial_state())
        assert not bool(outcome.state.failed)
        # Good means: training could go on from there.
        ahead, _ = trainer._program(outcome.state)(outcome.state, jnp.ones((), jnp.int32), None)
        assert not bool(ahead.failed)
        assert outcome.message.startswith("training became NaN or infinite at step 10 (loss ")
        assert f"the good state of step {kept} is kept; lower the learning rate" in outcome.message

    def test_divergence_is_seen_while_the_loss_is_still_a_number(self):
        outcome, recorder = run(self.trainer(2.0))
        assert outcome.status == "failed"
        assert outcome.message.startswith("training diverged at step 10 (loss ")
        assert int(outcome.state.step) == 8
        assert recorder.records[-1]["step"] == 10
        assert np.isfinite(recorder.records[-1]["loss"])

    def test_an_action_that_is_no_number(self, exploding):
        broken = Trainer(FLOW, Broken(), exploding.plan, KEY)
        outcome, recorder = run(broken)
        assert (outcome.status, int(outcome.state.step)) == ("failed", 0)
        assert recorder.records == recorder.saved == recorder.evaluations == []
        assert "became NaN or infinite at step 0 (loss nan" in outcome.message


class Broken(FreeScalar):
    """A free field whose action is not a number."""

    def __init__(self):
        super().__init__(1.0, 1)

    def __call__(self, field):
        return super().__call__(field) * jnp.nan


class TestStopping:
    # The exact flow: every evaluation finds acceptance 1.
    FLOW = Flow(FreeField(LATTICE, mass=0.5, dtype=jnp.float32), Chain(LATTICE, []))
    PLAN = TrainingPlan(
        objective=PathGradient(),
        optimizer=first_order("sgd", 1e-3),
        temperature=constant_rate(1.0),
        phases=[Phase(20, 8)],
        chunk=5,
        evaluate_every=10,
        checkpoint_every=10,
        stop_acceptance=0.99,
    )
    TRAINER = Trainer(FLOW, FreeScalar(0.5, 1), PLAN, KEY)

    def test_at_the_wanted_acceptance(self):
        outcome, recorder = run(self.TRAINER)
        assert (outcome.status, int(outcome.state.step)) == ("acceptance", 10)
        assert outcome.evaluation.acceptance.value > 0.9999
        assert outcome.evaluation.log_z.value == pytest.approx(self.TRAINER.action.log_z(LATTICE), abs=1e-5)
        assert bits(recorder.saved[-1]) == bits(outcome.state)
        # It stays ended when it is continued, unless more is asked for.
        again, seen = run(self.TRAINER, outcome.state, acceptance=outcome.evaluation.acceptance)
        assert (again.status, seen.records) == ("acceptance", [])

    def test_minus_one_error(self):
        from trivmap.estimate import Estimate

        state = self.TRAINER.initial_state()
        assert self.TRAINER.status(state, acceptance=Estimate(0.995, 0.006)) is None
        assert self.TRAINER.status(state, acceptance=Estimate(0.997, 0.006)) == "acceptance"
        assert self.TRAINER.status(state, acceptance=Estimate(float("nan"), float("nan"))) is None

    def test_after_some_time(self):
        trainer = Trainer(
            self.FLOW,
            FreeScalar(0.5, 1),
            dataclasses.replace(self.PLAN, stop_acceptance=None, stop_seconds=1e-9),
            KEY,
        )
        trainer._chunks = dict(self.TRAINER._chunks)
        outcome, recorder = run(trainer)
        assert (outcome.status, int(outcome.state.step)) == ("seconds", 5)
        assert bits(recorder.saved[-1]) == bits(outcome.state)
        # The time before a resume counts.
        again, recorder = run(trainer, outcome.state, seconds_before=1.0)
        assert (again.status, int(again.state.step), recorder.records) == ("seconds", 5, [])

    def test_a_finished_training_is_left_alone(self):
        state = eqx.tree_at(lambda s: s.step, self.TRAINER.initial_state(), jnp.asarray(20, jnp.int32))
        outcome, recorder = run(self.TRAINER, state)
        assert outcome.status == "finished"
        assert recorder.records == recorder.saved == recorder.evaluations == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk": 0}, "training.chunk: must be at least 1, got 0"),
        ({"evaluate_every": 0}, "training.evaluate_every: must be at least 1"),
        ({"checkpoint_every": -1}, "training.checkpoint_every: must be at least 1"),
        ({"moving_average": 1.0}, r"training.ema: the decay must lie in \[0, 1\), got 1.0"),
        ({"moving_average": float("nan")}, r"training.ema: the decay must lie in \[0, 1\), got nan"),
        ({"phases": [Phase(10, 0)]}, "training.batch: every phase needs at least one configuration"),
        ({"phases": [Phase(-1, 8)]}, "training.batch: every phase needs at least one configuration"),
    ],
)
def test_plans_that_make_no_sense(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(PLAN, **change)


def test_configurations():
    assert [PLAN.configurations_until(step) for step in (0, 1, 10, 11, 24, 99)] == [0, 16, 160, 184, 496, 496]
    assert PLAN.steps == 24
