"""Code of the user's own: nothing is imported before it is trusted, nothing called that is not known to be right."""

import json
import shutil
import sys
from pathlib import Path

import optax
import pytest
from click.testing import CliRunner

import trivmap
from trivmap.actions import AbstractAction, FreeScalar
from trivmap.bijections import AbstractBijection
from trivmap.cards import yaml_text
from trivmap.cards.card import RunCard
from trivmap.cards.own import own_code, require_trust
from trivmap.cards.references import resolve
from trivmap.cli.main import cli
from trivmap.errors import InputError
from trivmap.runs import pipeline
from trivmap.runs.sampling import sample
from trivmap.trust import trusting

CARD = {
    "lattice": [4],
    "action": {"kind": "free", "m_sq": 1.0},
    "model": {"base": {"kind": "free-field"}, "maps": []},
    "sampling": {"kind": "flow", "chains": 2, "proposals": 400},
    "measure": {"stages": {"proposals": 64}},
}
TRAP = 'from pathlib import Path\nPath(__file__).with_name("RUN").touch()\n'
OWN = """
import jax.numpy as jnp
from trivmap.actions import AbstractAction, FreeScalar
from trivmap.bijections import AbstractBijection, Rescale


class Shifted(FreeScalar):
    def __init__(self, m_sq):
        super().__init__(m_sq, 1)


class Wide(Rescale):
    pass


def annotated(m_sq: float) -> AbstractAction:
    return FreeScalar(m_sq, 1)


def in_text(m_sq: float) -> "Shifted":
    return Shifted(m_sq)


def bare(m_sq):
    Path(__file__).with_name("CALLED").touch()


def other(m_sq: float) -> AbstractBijection:
    Path(__file__).with_name("CALLED").touch()


def nonsense(m_sq: float) -> "there is nothing of that name":
    Path(__file__).with_name("CALLED").touch()


def liar(m_sq: float) -> AbstractAction:
    return "no action"


shifted = Shifted(1.0)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of somebody's own that leaves a trace when it is imported, and one when it calls what it must not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("trapped.py").write_text(TRAP + OWN)
    yield tmp_path
    sys.modules.pop("trapped", None)


def action(name):
    return CARD | {"action": {"kind": f"trapped:{name}", "m_sq": 1.0}, "model": None, "sampling": {"kind": "hmc"}}


def test_the_names_of_a_card():
    named = {
        **CARD,
        "action": {"kind": "a.b:C"},
        "model": {"base": {"kind": "d:E"}, "maps": [{"kind": "rescale"}, {"kind": "f:G"}]},
        "training": {
            "steps": 4,
            "batch": 4,
            "optimizer": {"kind": "h:i", "learning_rate": 0.1},
            "ladder": [{"lattice": [2], "optimizer": {"kind": "j:k", "learning_rate": 0.1}}],
        },
    }
    assert own_code(RunCard.from_data(named)) == ["a.b:C", "d:E", "f:G", "h:i", "j:k"]
    assert own_code(RunCard.from_data(CARD), RunCard.from_data(CARD)) == []


def test_code_must_be_trusted():
    card = RunCard.from_data(action("Shifted"))
    sentence = (
        "x: names code that would run in this process, trapped:Shifted; if you trust it, add --trust "
        r"\(in Python trust=True\)"
    )
    with pytest.raises(InputError, match=sentence):
        require_trust("x", card)
    with trusting():
        require_trust("x", card)
    require_trust("x", RunCard.from_data(CARD))


@pytest.mark.parametrize("name", ["Shifted", "annotated", "in_text"])
def test_what_is_known_to_make_an_action_is_taken(module, name):
    assert isinstance(resolve(f"trapped:{name}", AbstractAction, "action.kind")(1.0), FreeScalar)


@pytest.mark.parametrize("name", ["bare", "other", "nonsense", "shifted", "Wide", "Path", "__name__"])
def test_nothing_else_is_called(module, name):
    sentence = f"action.kind: trapped:{name} is not called; it must be a subclass of trivmap's AbstractAction or a func"
    with pytest.raises(InputError, match=sentence):
        resolve(f"trapped:{name}", AbstractAction, "action.kind")
    done = (
        CliRunner().invoke(cli, ["run", "card.yaml"])
        if Path("card.yaml").write_text(json.dumps(action(name)))
        else None
    )
    assert done is not None and done.exit_code == 2 and sentence in done.stderr
    assert not Path("CALLED").exists()


@pytest.mark.parametrize("reference", ["os:system", "subprocess:getoutput", "builtins:exec", "shutil:rmtree"])
@pytest.mark.parametrize("kind", [AbstractAction, AbstractBijection, optax.GradientTransformation])
def test_functions_of_the_standard_library_are_not_called(reference, kind):
    with pytest.raises(InputError, match=f"{reference} is not called"):
        resolve(reference, kind, "x")


@pytest.mark.parametrize("name", ["adam", "sgd", "adamw", "lion", "noisy_sgd"])
def test_factories_of_optax_are_known_to_make_optimizers(name):
    assert resolve(f"optax:{name}", optax.GradientTransformation, "x") is getattr(optax, name)


def test_a_function_that_makes_something_else_than_it_says_is_refused(module):
    Path("card.yaml").write_text(json.dumps(action("liar")))
    done = CliRunner().invoke(cli, ["run", "card.yaml"])
    assert done.exit_code == 2
    assert "action.kind: trapped:liar must make a trivmap AbstractAction, got str" in done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of built-in parts."""
    folder = tmp_path_factory.mktemp("finished")
    run = pipeline.create(RunCard.from_data(CARD), folder / "run")
    sample(run)
    pipeline.measure(run)
    return run.root


class TestADirectoryOfSomebodyElse:
    @pytest.fixture
    def foreign(self, module, finished):
        shutil.copytree(finished, "run")
        path = Path("run/config.yaml")
        data = yaml_text.parse(path.read_text(), "config.yaml")
        data["model"]["maps"] = [{"kind": "trapped:Wide"}]
        path.write_text(yaml_text.dump(data))
        return module

    @pytest.mark.parametrize(
        "command",
        [["measure", "run"], ["sample", "run"], ["run", "--resume", "run"], ["train", "--resume", "run"],
         ["validate", "run/config.yaml"]],
    )  # fmt: skip
    def test_commands_that_would_run_its_code_ask(self, foreign, command):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 2 and "trapped:Wide; if you trust it, add --trust" in done.stderr
        assert not Path("RUN").exists()

    @pytest.mark.parametrize("command", [["show", "run"], ["report", "run"]])
    def test_others_do_without(self, foreign, command):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.stderr
        assert not Path("RUN").exists()

    def test_the_report_says_what_it_has_left_out(self, foreign):
        CliRunner().invoke(cli, ["report", "run"])
        assert "the run names code that would run in this process, trapped:Wide" in Path("run/report.html").read_text()

    def test_trusted_it_runs(self, foreign):
        done = CliRunner().invoke(cli, ["validate", "run/config.yaml", "--trust"])
        assert Path("RUN").exists(), done.stderr

    def test_what_is_loaded_in_python_runs_nothing_either(self, foreign):
        run = trivmap.load("run")
        assert run.results["phi2"] and run.summary["seed"] == 0 and run.samples.chains == 2
        for name in ("flow", "action"):
            with pytest.raises(
                InputError, match=r"trapped:Wide; if you trust it, add --trust \(in Python trust=True\)"
            ):
                getattr(run, name)
        assert not Path("RUN").exists()
        with pytest.raises(InputError, match="lattice, dtype, action or model differ"):
            _ = trivmap.load("run", trust=True).flow

    def test_a_model_whose_header_names_other_code_than_the_card_runs_nothing(self, module, finished):
        shutil.copytree(finished, "run")
        header = json.loads(Path("run/model/header.json").read_text())
        header["model"]["maps"] = [{"kind": "trapped:Wide"}]
        header.pop("sha256", None)
        Path("run/model/header.json").write_text(json.dumps(header))
        for command in (["measure", "run"], ["report", "run"], ["sample", "run"]):
            CliRunner().invoke(cli, command)
        assert not Path("RUN").exists()
