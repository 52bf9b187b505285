"""Creating, training and measuring through the Python interface: what cannot be provoked from a terminal."""

import jax.numpy as jnp
import numpy as np
import pytest

import trivmap
from tests.runs.small_run import Signaling, card, copied, created
from tests.runs.support import contents
from trivmap.actions import FreeScalar
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.runs import checking, pipeline
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Interrupted
from trivmap.runs.train import train

pytestmark = pytest.mark.usefixtures("optax_mixes_dtypes")


class TestCreate:
    def test_everything_is_there_at_once(self, tmp_path):
        run = created(tmp_path / "run")
        assert sorted(contents(run.root)) == ["config.yaml", "environment.json", "summary.json"]
        summary = run.summary()
        assert summary["schema"] == 1
        assert summary["action"] == {"kind": "free", "m_sq": 0.5}
        assert (summary["lattice"], summary["seed"], summary["dtype"]) == ([4], 2, "float32")
        assert summary["model"] == {"kind": "flow", "parameters": 3}
        assert [summary[key] for key in ("training", "sampling", "log_z", "observables")] == [None, None, None, {}]
        assert run.card() == card()

    def test_a_card_that_does_not_build_leaves_nothing(self, tmp_path):
        with pytest.raises(InputError, match="starts at the best Gaussian"):
            created(
                tmp_path / "run", action={"kind": "tests.runs.test_pipeline:Odd"}, model__base={"kind": "free-field"}
            )
        optimizer = {"kind": "adam", "learning_rate": 0.1, "b1": "x"}
        with pytest.raises(InputError, match="adam refused its keywords"):
            created(tmp_path / "run", training__optimizer=optimizer)
        with pytest.raises(InputError, match="sm3 cannot train this model"):
            created(
                tmp_path / "run",
                training__optimizer={"kind": "sm3", "learning_rate": 0.1},
                model__base={"kind": "gaussian"},
            )
        assert list(tmp_path.iterdir()) == []

    def test_an_action_without_the_symmetries_it_declares_leaves_nothing(self, tmp_path):
        """Nor one that has not those of the flow, which would have to be trained in vain."""
        lying, honest = ({"kind": "tests.runs.test_pipeline:Tilted", "declared": names} for names in (["z2"], []))
        with pytest.raises(InputError, match=r"action\.kind: Tilted declares the symmetry 'z2', but"):
            created(tmp_path / "run", action=lying, model__base={"kind": "gaussian"})
        with pytest.raises(InputError, match=r"flow: has the symmetry .*, and Tilted lacks it"):
            created(tmp_path / "run", action=honest, model__base={"kind": "gaussian"})
        assert list(tmp_path.iterdir()) == []

    def test_a_force_that_is_wrong_is_found_without_a_run(self, tmp_path):
        data = {
            "lattice": [4],
            "action": {"kind": "tests.runs.test_pipeline:WrongForce"},
            "sampling": {"kind": "hmc", "proposals": 4000},
        }
        with pytest.raises(InputError, match=r"the force of tests\.runs\.test_pipeline:WrongForce is not -dS/dphi"):
            checking.check(Plan(RunCard.from_data(data)), tmp_path / "run")

    def test_without_training_the_flow_is_sampled_as_it_starts(self, tmp_path):
        run = created(tmp_path / "run", training=None)
        flow = pipeline.load_flow(run, Plan(run.card()))
        assert flow.base.mass == 0.6
        with pytest.raises(InputError, match="has no section training; there is nothing to train"):
            train(run)


class Tilted(FreeScalar):
    """A free field in an external one at site 0."""

    declared: list[str]

    def __init__(self, declared):
        super().__init__(1.0, 1)
        self.declared = declared

    def __call__(self, field):
        return super().__call__(field) - field[0].astype(float)

    def force(self, field):
        return super().force(field).at[0].add(1)

    @property
    def symmetries(self):
        return frozenset(self.declared)


class Odd(FreeScalar):
    """An action that does not say its coefficients."""

    def __init__(self):
        super().__init__(1.0, 1)

    @property
    def coefficients(self):
        return None


class WrongForce(FreeScalar):
    """An action whose force is that of another."""

    def __init__(self):
        super().__init__(1.0, 1)

    def force(self, field):
        return -field


class TestTrain:
    def test_summary(self, trained):
        training = trained.summary()["training"]
        assert (training["steps"], training["configurations"], training["status"]) == (30, 480, "finished")
        assert training["acceptance_milestones"]["0.9"]["steps"] == 10
        assert training["acceptance_milestones"]["0.9"]["configurations"] == 160
        assert training["wall_seconds"] > training["compile_seconds"] > 0
        assert training["evaluation"]["step"] == 30
        assert training["evaluation"]["proposals"] == 4096

    def test_metrics(self, trained):
        records = trained.metrics()
        assert [r["step"] for r in records if "loss" in r] == [5, 10, 15, 20, 25, 30]
        assert [r["step"] for r in records if "evaluation" in r] == [10, 20, 30]

    def test_killed_between_the_last_checkpoint_and_the_model(self, trained, tmp_path):
        """The model of an earlier stop must not pass for the finished one."""
        run = copied(trained, tmp_path / "run")
        for path in run.model_path.iterdir():
            path.unlink()
        run.update_summary(training={**trained.summary()["training"], "steps": 15, "status": "interrupted"})
        train(run)
        assert contents(run.model_path) == contents(trained.model_path)
        assert run.metrics() == trained.metrics()
        again, before = run.summary()["training"], trained.summary()["training"]
        for key in ("steps", "status", "evaluation", "acceptance_milestones"):
            assert again[key] == before[key]

    def test_an_end_by_acceptance_lasts(self, tmp_path):
        run = created(tmp_path / "run", training__stop={"acceptance": 0.9})
        assert train(run)["training"]["status"] == "acceptance"
        assert run.summary()["training"]["steps"] == 10
        before = contents(run.root)
        assert train(run)["training"]["steps"] == 10
        assert contents(run.root) == before
        # Until the card asks for more.
        run.write_card(card(training__stop={"acceptance": 0.9999}))
        train(run)
        assert run.summary()["training"]["steps"] > 10

    def test_interrupted_it_can_be_sampled_and_goes_on(self, trained, tmp_path):
        run = created(tmp_path / "run")
        with pytest.raises(Interrupted, match=r"interrupted at step 15 of 30; continue with trivmap train --resume"):
            # Updates come after each chunk and each evaluation: 5, 10, 10, 15.
            train(run, Signaling(at=4))
        assert run.summary()["training"]["status"] == "interrupted"
        assert [r["step"] for r in run.metrics() if "evaluation" in r] == [10]
        flow = pipeline.load_flow(run, Plan(run.card()))
        assert jnp.isfinite(flow.base.log_factor).all()
        train(run)
        assert contents(run.model_path) == contents(trained.model_path)

    def test_divergence_keeps_the_last_good_state_and_says_what_to_try(self, tmp_path):
        optimizer = {"kind": "sgd", "learning_rate": {"schedule": "constant", "peak": 1e6, "warmup": 2}}
        run = created(tmp_path / "run", training__optimizer=optimizer)
        with pytest.raises(InputError) as caught:
            train(run)
        message = str(caught.value)
        assert message.startswith(f"{run.root}: training ")
        assert "the good state of step 0 is kept; lower the learning rate, clip the gradient" in message
        assert "\n" not in message
        summary = run.summary()
        assert (summary["training"]["status"], summary["training"]["steps"]) == ("failed", 0)
        flow = pipeline.load_flow(run, Plan(run.card()))
        np.testing.assert_array_equal(flow.base.log_factor, 0)
        # With the card fixed, the same run continues.
        run.write_card(card())
        assert train(run)["training"]["status"] == "finished"

    def test_an_evaluation_without_a_number_stops_nothing(self, tmp_path):
        """One proposal in many has an infinite action; training never meets it."""
        run = created(
            tmp_path / "run",
            seed=4,
            action={"kind": "tests.runs.test_pipeline:Rarely"},
            training__evaluate={"every": 10, "proposals": 60_000, "batch": 10_000},
        )
        training = train(run)["training"]
        assert (training["status"], training["steps"]) == ("finished", 30)
        assert training["evaluation"]["acceptance"] == {"value": None, "error": None}
        assert training["acceptance_milestones"] == {"0.5": None, "0.7": None, "0.9": None}


class Rarely(FreeScalar):
    """A free field whose action is not a number where a site is beyond what a few hundred draws reach."""

    def __init__(self):
        super().__init__(0.5, 1)

    def __call__(self, field):
        return jnp.where(jnp.max(field) > 3.4, jnp.nan, super().__call__(field))


class TestMeasure:
    def test_results_are_exact_numbers_within_errors(self, sampled, tmp_path):
        run = copied(sampled, tmp_path / "run")
        summary = pipeline.measure(run)
        check = summary["observables"]["schwinger_dyson"]
        assert abs(check["value"] - 1) < 4 * check["error"] < 0.2
        phi2 = summary["observables"]["phi2"]
        exact = float(np.mean(1 / (Lattice((4,)).momentum_squared + 0.5)))
        assert abs(phi2["value"] - exact) < 4 * phi2["error"] < 0.2
        again = pipeline.measure(run)
        assert again["observables"] == summary["observables"]
        # For notebooks the same as objects.
        loaded = trivmap.load(run.root)
        assert loaded.summary["observables"] == summary["observables"]
        assert loaded.results["phi2"].value == pytest.approx(phi2["value"], rel=1e-12)
        assert loaded.flow.lattice == Lattice((4,)) and isinstance(loaded.action, FreeScalar)
        assert loaded.stages.stages[0].name == "base"
        assert float(loaded.results.to_xarray()["phi2"].sel(source="chain", quantity="value")) == phi2["value"]
        with loaded.samples as reader:
            assert (reader.chains, reader.n) == (2, 1200)

    def test_its_section_of_the_card_may_change(self, sampled, tmp_path):
        run = copied(sampled, tmp_path / "run")
        fewer = run.card().with_overrides(["measure.bins=20", "measure.stages.proposals=32"])
        pipeline.measure(run, card=fewer)
        assert run.card() == fewer
        before = contents(run.root)
        with pytest.raises(InputError, match=r"measure.bins: 4 bins over 2 chains are too few"):
            pipeline.measure(run, card=run.card().with_overrides(["measure.bins=4"]))
        assert contents(run.root) == before

    def test_without_samples(self, trained, tmp_path):
        with pytest.raises(InputError, match="has no samples yet; run trivmap sample"):
            pipeline.measure(copied(trained, tmp_path / "run"))


@pytest.mark.parametrize(
    ("observables", "untrusted", "measured"),
    [
        ({}, {}, False),
        ({}, {"log_z": "the map misses a mode", "chains": "they disagree"}, False),
        ({"phi2": {}}, {}, True),
        ({}, {"phi2": "the weights vary too much", "log_z": "the map misses a mode"}, True),
        ({}, None, False),
    ],
)
def test_a_run_is_measured_even_if_no_number_is_trusted(observables, untrusted, measured):
    assert pipeline.is_measured({"observables": observables, "untrusted": untrusted}) is measured
