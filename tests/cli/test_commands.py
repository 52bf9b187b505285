"""What the commands do and print, each as a process of its own."""

import json
import re
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from tests.cli.conftest import CARD
from tests.oracles import ChainOracle
from tests.runs.support import contents, trivmap
from trivmap.actions import FreeScalar
from trivmap.cards.card import load_card
from trivmap.cards.presets import preset_names
from trivmap.cli.main import cli
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.reports.formats import count
from trivmap.store.samples import SampleReader
from trivmap.store.sealed import seal
from trivmap.studies.compare_card import PRESETS
from trivmap.studies.scaling.card import PRESETS as STUDIES

COMMANDS = [
    "run",
    "train",
    "sample",
    "measure",
    "report",
    "show",
    "list",
    "compare",
    "presets",
    "validate",
    "tune",
    "convert",
    "cite",
    "export",
    "forward-ess",
]


def answer(*arguments, folder):
    done = trivmap(*arguments, "--json", folder=folder)
    assert done.code == 0, done.err
    return json.loads(done.out)


class TestHelp:
    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_of_the_whole(self, tmp_path, option):
        done = trivmap(option, folder=tmp_path)
        assert done.code == 0
        assert all(f"\n  {command} " in done.out for command in COMMANDS)
        assert "Example:\n    trivmap run quickstart --out runs/first" in done.out

    @pytest.mark.parametrize("command", COMMANDS)
    def test_of_every_command_with_an_example(self, tmp_path, command):
        done = trivmap(command, "--help", folder=tmp_path)
        assert done.code == 0
        assert f"Usage: trivmap {command}" in done.out
        assert f"Example:\n    trivmap {command}" in done.out

    def test_version(self, tmp_path):
        done = trivmap("--version", folder=tmp_path)
        assert done.code == 0 and "0.1.0" in done.out

    def test_of_the_installed_command(self):
        """Through the interpreter, as the entry point of the package does it."""
        code = "import sys; from trivmap.cli import main; sys.argv = ['trivmap', 'presets', '--json']; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""
        named = {preset["name"]: preset["command"] for preset in json.loads(done.stdout)}
        assert {name for name, command in named.items() if command == "run"} == set(preset_names())
        assert {name for name, command in named.items() if command == "compare"} == set(preset_names(PRESETS))


class TestRun:
    def test_makes_everything_the_design_names(self, complete):
        run = complete / "run"
        files = {"config.yaml", "environment.json", "metrics.jsonl", "samples.h5", "observables.json", "summary.json"}
        assert files | {"stages.json", "report.html"} <= {path.name for path in run.iterdir() if path.is_file()}
        folders = {"checkpoints", "model", "figures", "samples"}
        assert folders <= {path.name for path in run.iterdir() if path.is_dir()}
        assert load_card(run / "config.yaml").training.steps == 40

    def test_answers_with_the_summary(self, complete):
        found = json.loads((complete / "answer.json").read_text())
        summary = json.loads((complete / "run" / "summary.json").read_text())
        assert {key: found[key] for key in summary} == summary
        assert found["run"] == "run"
        assert found["state"] == {
            "trained": True,
            "step": 40,
            "sampled": True,
            "measured": True,
            "report": True,
            "report_current": True,
            "metrics_damage": None,
        }

    def test_summary_has_every_name_of_the_design(self, complete):
        summary = json.loads((complete / "run" / "summary.json").read_text())
        assert summary["schema"] == 1
        assert summary["action"] == CARD["action"]
        assert (summary["lattice"], summary["seed"], summary["dtype"]) == ([4], 3, "float32")
        # Per coupling 2 -> 2 -> (2 + 2) units without biases where they would spoil Z2, and the width of the base.
        assert summary["model"]["kind"] == "flow" and summary["model"]["parameters"] > 10
        training = summary["training"]
        assert (training["steps"], training["configurations"]) == (40, 640)
        assert training["wall_seconds"] > training["compile_seconds"] > 0
        assert set(training["acceptance_milestones"]) == {"0.5", "0.7", "0.9"}
        sampling = summary["sampling"]
        assert (sampling["kind"], sampling["proposals"]) == ("flow", 4000)
        assert 0 < sampling["acceptance"]["value"] < 1 and 0 < sampling["ess"] < 1
        assert sampling["tau_int"]["value"] > 0.5 and sampling["wall_seconds"] > 0
        observables = {
            *("susceptibility", "connected_susceptibility", "abs_magnetization", "phi2", "phi4", "ising_energy"),
            *("binder", "action_density", "correlation_length", "schwinger_dyson"),
        }
        untrusted = set(summary.get("untrusted", {}))
        assert observables <= set(summary["observables"]) | untrusted
        for name in observables - untrusted:
            assert set(summary["observables"][name]) == {"value", "error", "tau_int", "tau_int_error", "source"}

    def test_results_are_those_of_the_transfer_matrix(self, complete):
        summary = json.loads((complete / "run" / "summary.json").read_text())
        exact = ChainOracle(4, -0.5, 0.0, 0.5)
        wanted = {
            "phi2": exact.phi2,
            "phi4": exact.phi4,
            "ising_energy": exact.two_point[1],
            "susceptibility": 4 * exact.magnetization_squared,
            "abs_magnetization": exact.abs_magnetization,
            "schwinger_dyson": 1.0,
        }
        pulls = []
        for name, value in wanted.items():
            found = summary["observables"][name]
            assert found["error"] < 0.1 * value + 0.02
            pulls.append((found["value"] - value) / found["error"])
        assert np.max(np.abs(pulls)) < 3.5
        log_z = summary["log_z"]
        assert abs(log_z["value"] - exact.log_z) < 3.5 * log_z["error"] < 0.1

    def test_says_what_it_does_on_stderr_alone(self, complete):
        said = (complete / "said.txt").read_text()
        first, *lines = said.splitlines()
        assert first.startswith("expected: at most 8832 configurations in training; 4000 proposals, ")
        assert lines[:2] == ["run directory: run", "train: 0 of 40  compiling"]
        assert "stages: 0 of 1  compiling" in lines
        for task in ("train", "sample", "measure", "stages"):
            assert f"{task}: done" in said

    def test_taken_up_again_it_changes_no_number(self, copy, monkeypatch):
        monkeypatch.chdir(copy)
        monkeypatch.setattr("trivmap.reports.write_report", lambda root, formats=(): root / "report.html")
        before, fixed = json.loads((copy / "answer.json").read_text()), contents(copy / "run")
        done = CliRunner().invoke(cli, ["run", "--resume", "run", "--json"])
        assert done.exit_code == 0
        again, after = json.loads(done.stdout), contents(copy / "run")
        for key in ("observables", "training", "log_z"):
            assert again[key] == before[key]
        for name in fixed:
            if name.startswith(("model", "samples/", "checkpoints", "metrics", "config")):
                assert after[name] == fixed[name]


class TestSteps:
    def test_train_sample_measure_one_by_one_is_run(self, complete, tmp_path):
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
        trained = answer("train", "card.yaml", "--out", "run", folder=tmp_path)
        assert trained["state"] == {
            "trained": True,
            "step": 40,
            "sampled": False,
            "measured": False,
            "report": False,
            "report_current": False,
            "metrics_damage": None,
        }
        sampled = answer("sample", "run", folder=tmp_path)
        assert sampled["state"]["sampled"] and not sampled["state"]["measured"]
        measured = answer("measure", "run", folder=tmp_path)
        whole = json.loads((complete / "answer.json").read_text())
        assert measured["observables"] == whole["observables"]
        assert measured["log_z"] == whole["log_z"]
        done = trivmap("show", "run", folder=tmp_path)
        assert "training: 40 of 40 steps, 640 configurations" in done.out

    def test_more_samples(self, complete, copy):
        found = answer("sample", "run", "--set", "sampling.proposals=6000", folder=copy)
        assert found["sampling"]["proposals"] == 6000
        assert load_card(copy / "run" / "config.yaml").sampling.proposals == 6000
        with SampleReader(complete / "run") as old, SampleReader(copy / "run") as new:
            assert new.n == 3000
            np.testing.assert_array_equal(new.read("log_weight", 1, 0, 2000), old.read("log_weight", 1, 0, 2000))

    def test_other_bins(self, copy):
        found = answer("measure", "run", "--set", "measure.bins=40", folder=copy)
        assert found["observables"]["phi2"]["error"] > 0
        assert load_card(copy / "run" / "config.yaml").measure.bins == 40

    @pytest.mark.parametrize(
        ("command", "override", "section"),
        [
            ("sample", "seed=4", "sampling"),
            ("sample", "action.lam=1", "sampling"),
            ("measure", "sampling.proposals=10", "measure"),
        ],
    )
    def test_a_step_changes_only_its_own_section(self, copy, command, override, section):
        before = contents(copy)
        done = trivmap(command, "run", "--set", override, folder=copy)
        assert done.code == 2
        sentence = f"--set {override}: this command can change only keys that begin with {section}."
        assert done.err == f"trivmap: {sentence}\n"
        assert contents(copy) == before

    def test_report(self, complete, monkeypatch):
        monkeypatch.chdir(complete)
        monkeypatch.setattr("trivmap.reports.write_report", lambda root, formats=(): root / "report.html")
        done = CliRunner().invoke(cli, ["report", "run"])
        assert (done.exit_code, done.output) == (0, "run/report.html\n")


def test_default_places(tmp_path, monkeypatch):
    """runs/NAME, then runs/NAME-2 and so on."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def create(card, out, accept):
        asked.append(str(out))
        out.mkdir(parents=True)
        raise InputError("enough is known")

    monkeypatch.setattr("trivmap.runs.pipeline.create", create)
    for card in ("free-L8", "free-L8", "free-L8", "quickstart"):
        assert CliRunner().invoke(cli, ["train", card]).exit_code == 2
    assert asked == ["runs/free-L8", "runs/free-L8-2", "runs/free-L8-3", "runs/quickstart"]


class TestShow:
    def test_numbers_and_where_the_report_is(self, complete):
        done = trivmap("show", "run", folder=complete)
        assert done.code == 0 and done.err == ""
        assert done.out.startswith("run  small\n")
        assert "training: 40 of 40 steps, 640 configurations" in done.out
        assert "sampling: 4000 proposals" in done.out
        assert "schwinger_dyson" in done.out
        assert "report: run/report.html" in done.out

    def test_json(self, complete):
        found = answer("show", "run", folder=complete)
        assert found == json.loads((complete / "answer.json").read_text())

    def test_names_with_brackets_are_printed_as_they_are(self, copy):
        (copy / "run").rename(copy / "[red]run")
        done = trivmap("show", "[red]run", folder=copy)
        assert done.out.startswith("[red]run  small\n")

    def test_numbers_that_are_unknown(self, copy):
        path = copy / "run" / "summary.json"
        summary = json.loads(path.read_text())
        nothing = {"value": None, "error": None}
        summary["sampling"] |= {"acceptance": nothing, "tau_int": nothing, "ess": None}
        summary["training"]["evaluation"] |= {"acceptance": nothing, "ess": nothing}
        summary |= {"log_z": None, "observables": {}}
        del summary["sha256"]
        path.write_text(seal(json.dumps(summary)))
        done = trivmap("show", "run", folder=copy)
        assert done.code == 0
        assert "acceptance unknown, ESS unknown" in done.out and "acceptance unknown, tau_int unknown" in done.out


class TestPresets:
    def test_table(self, tmp_path):
        done = trivmap("presets", folder=tmp_path)
        assert done.code == 0
        kinds = {"Run": preset_names(), "Compare": preset_names(PRESETS), "Study": preset_names(STUDIES)}
        *blocks, last = done.out.split("\n\n")
        for block, (kind, names) in zip(blocks, kinds.items(), strict=True):
            title, header, *lines = block.splitlines()
            assert title == f"{kind} cards, for trivmap {kind.lower()}:"
            assert header.split() == ["name", "lattice", "action", "method", "training", "proposals"]
            assert [line.split()[0] for line in lines] == names
            assert max(map(len, lines)) <= 125
        assert "trivmap presets NAME prints a card" in last
        affine = next(line for line in done.out.splitlines() if line.startswith("albergo-2019-L6"))
        expected = ["6x6", "phi4 m_sq=-4 lam=6.975", "flow: affine, rescale", count(32_000_000), count(100_000)]
        assert re.split(r" {2,}", affine)[1:] == expected

    def test_json(self, tmp_path):
        listed = {each["name"]: each for each in answer("presets", folder=tmp_path)}
        found = listed["quick-study"]
        assert found["lattices"] == [[4, 4], [6, 6], [8, 8]] and found["runs"] == 12
        assert len(found["actions"]) == 3 and found["command"] == "study"
        card = load_card("free-L8")
        assert listed["free-L8"]["configurations"] == card.training.steps * card.training.batch
        assert all(each["description"] and each["reference"] and each["deviations"] for each in listed.values())

    def test_one_of_them_is_a_card(self, tmp_path):
        done = trivmap("presets", "free-L8", folder=tmp_path)
        (tmp_path / "mine.yaml").write_text(done.out)
        assert load_card(tmp_path / "mine.yaml") == load_card("free-L8")


class TestValidate:
    def test_prints_the_whole_card(self, tmp_path):
        done = trivmap("validate", "free-L8", "--set", "lattice=[4, 4]", folder=tmp_path)
        assert done.code == 0 and done.err == ""
        (tmp_path / "whole.yaml").write_text(done.out)
        assert load_card(tmp_path / "whole.yaml") == load_card("free-L8", ["lattice=[4, 4]"])
        # 6 orbits of momenta on 4x4 and the factor of the rescaling.
        assert "# valid; the model has 7 parameters" in done.out
        assert f"# training: {count(51_200)} configurations, evaluations not counted\n" in done.out
        assert list(tmp_path.iterdir()) == [tmp_path / "whole.yaml"]

    def test_json(self, tmp_path):
        found = answer("validate", "free-L8", "--set", "lattice=[4, 4]", folder=tmp_path)
        assert (found["valid"], found["parameters"]) == (True, 7)
        assert found["expected"]["training_configurations"] == 51_200 < found["expected"]["configurations"]
        assert found["card"]["lattice"] == [4, 4]


OWN = '''
import os
import jax.numpy as jnp
from trivmap.actions import FreeScalar
from trivmap.bijections import AbstractBijection
from trivmap.lattice import Lattice
from trivmap.reports.formats import count

with open("processors.txt", "w") as file:
    file.write(str(len(os.sched_getaffinity(0))))

class Sextic(FreeScalar):
    """The free field with g phi^6."""

    g: float

    def __init__(self, g, dimension):
        super().__init__(1.0, dimension)
        self.g = g

    def __call__(self, field):
        return super().__call__(field) + self.g * jnp.sum(field**6)

    def force(self, field):
        return super().force(field) - 6 * self.g * field**5

class Scale(AbstractBijection):
    """y = e^a x."""

    a: jnp.ndarray
    lattice: Lattice

    def __init__(self, lattice, dtype):
        self.lattice, self.a = lattice, jnp.zeros((), dtype)

    def forward(self, x):
        return x * jnp.exp(self.a), self.lattice.volume * self.a

    def inverse(self, y):
        return y * jnp.exp(-self.a), -self.lattice.volume * self.a
'''


class TestOwnParts:
    CARD: ClassVar = {
        **CARD,
        "action": {"kind": "my_parts:Sextic", "g": 0.0},
        "model": {"base": {"kind": "gaussian", "learnable": False}, "maps": [{"kind": "my_parts:Scale"}]},
        "threads": 1,
        "device": "cpu",
    }

    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "my_parts.py").write_text(OWN)
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(self.CARD))
        return tmp_path

    def test_an_action_and_a_map_of_the_working_directory(self, folder):
        """With g = 0 its integral is known."""
        answer(
            "train",
            "card.yaml",
            "--out",
            "run",
            "--set",
            "training.steps=10",
            "--set",
            "sampling.proposals=40000",
            folder=folder,
        )
        found = answer("sample", "run", "--trust", folder=folder)
        assert found["model"]["parameters"] == 1
        assert found["action"] == self.CARD["action"]
        exact = FreeScalar(1.0, 1).log_z(Lattice((4,)))
        assert abs(found["log_z"]["value"] - exact) < 3.5 * found["log_z"]["error"] < 0.1

    def test_threads_bound_the_processors(self, folder):
        assert trivmap("validate", "card.yaml", "--trust", folder=folder).code == 0
        assert (folder / "processors.txt").read_text() == "1"


class TestReportsFollowTheResults:
    """A page that shows the results of before is worse than none."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        from trivmap.cards.card import RunCard
        from trivmap.reports import write_report
        from trivmap.runs import pipeline
        from trivmap.runs.sampling import sample

        monkeypatch.chdir(tmp_path)
        data = {
            "description": "a ring",
            "lattice": [4],
            "action": {"kind": "free", "m_sq": 1.0},
            "model": {"base": {"kind": "free-field"}, "maps": []},
            "sampling": {"kind": "flow", "chains": 2, "proposals": 400},
            "measure": {"stages": {"proposals": 64}},
        }
        run = pipeline.create(RunCard.from_data(data), tmp_path / "ring")
        sample(run)
        pipeline.measure(run)
        write_report(run.root)
        return run

    def test_measure_writes_a_report_again_and_show_tells_an_older_one(self, run):
        def said(*arguments):
            done = CliRunner().invoke(cli, list(arguments))
            assert done.exit_code == 0, done.stderr
            return done.stdout

        assert "report: ring/report.html\n" in said("show", "ring")
        older = "report: ring/report.html, older than the results; run trivmap report ring\n"
        assert older in said("sample", "ring", "--set", "sampling.proposals=800")
        assert older in said("show", "ring")
        assert json.loads(said("show", "ring", "--json"))["state"]["report_current"] is False
        assert "report: ring/report.html\n" in said("measure", "ring")
        assert "800" in run.report_path.read_text()
        run.report_path.unlink()
        said("measure", "ring")
        assert not run.report_path.exists()

    def test_the_page_is_called_after_the_directory(self, run):
        assert "<title>ring</title>" in run.report_path.read_text()
