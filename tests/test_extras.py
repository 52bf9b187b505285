"""The core without the packages of the extras: in a process that cannot import them."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trivmap import extras
from trivmap.errors import InputError

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys
for name in {modules!r}:
    sys.modules[name] = None
"""
CORE = """
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import trivmap
from trivmap import Flow, Lattice, analyze, draw, fit
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Continuous
from trivmap.objectives import Variance
from trivmap.observables.gamma import Series
from trivmap.optimizers import GaussNewton
from trivmap.samplers import HMC, ActionPotential, ClusterCycle
from trivmap.simulation import simulate
from trivmap.training import Phase, Trainer, TrainingPlan

lattice = Lattice([4])
action = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
base = FreeField.hartree(lattice, action, dtype=jnp.float64)
flow = Flow(base, Chain(lattice, [Continuous(lattice, steps=4, dtype=jnp.float64)]))
flow, _ = fit(flow, action, jax.random.key(0), steps=5, batch=32)
phases = [Phase(3, 64)]
plan = TrainingPlan(objective=Variance(), optimizer=GaussNewton(), temperature=lambda step: 1.0, phases=phases)
trainer = Trainer(flow, action, plan, jax.random.key(0))
flow = trainer.flow(trainer.run(trainer.initial_state()).state)
results = analyze(draw(flow, action, jax.random.key(1), proposals=8000))
kernel = HMC(ActionPotential(action, lattice, float), step_size=0.4)
chain = analyze(simulate(kernel, action, jax.random.key(2), steps=2000))
for found in (results, chain):
    assert isinstance(found["phi2"], Series)
    print(found.chain.value("phi2"), found.chain.error("phi2"), found.chain.value("schwinger_dyson"))
print(results.difference["phi2"].dvalue)
run, load = (lambda: trivmap.run), (lambda: trivmap.load("somewhere"))
for refused in (results.to_text, results.to_xarray, lambda: ClusterCycle(action, lattice), run, load):
    try:
        refused()
    except ImportError as error:
        assert isinstance(error, trivmap.InputError)
        print(error)
    else:
        raise AssertionError(refused)
"""


# pyerrors itself brings matplotlib.
NOT_OF_RUNS = ("jinja2", *extras.EXTRAS["studies"])
EVERY = tuple(module for modules in extras.EXTRAS.values() for module in modules)


def python(source: str, modules: tuple[str, ...], *arguments: str, where: Path) -> subprocess.CompletedProcess[str]:
    script = where / "script.py"
    script.write_text(WITHOUT.format(modules=modules) + source)
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, cwd=where, check=False)


COMMAND = "from trivmap.__main__ import main\nmain()\n"


@pytest.mark.slow
def test_the_core_trains_samples_and_analyzes_by_itself(tmp_path):
    done = python(CORE, EVERY, where=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, difference, *refusals = done.stdout.splitlines()
    (one, error, identity), (other, its_error, _) = (map(float, line.split()) for line in (first, second))
    assert abs(one - other) < 4 * (error**2 + its_error**2) ** 0.5 and 0 < error < 0.02
    assert abs(identity - 1) < 0.05 and 0 < float(difference) < error
    assert len(refusals) == 5
    for line in refusals:
        assert re.fullmatch(r"[\w. ]+: needs the package \w+, which is not installed; install trivmap\[runs\]", line)


def test_the_command_without_its_packages_says_one_sentence(tmp_path):
    done = python(COMMAND, extras.EXTRAS["runs"], "show", "nothing", where=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"trivmap: the command: needs the package \w+, .*; install trivmap\[runs\]\n", done.stderr)


@pytest.mark.slow
def test_a_run_without_the_packages_of_reports_has_its_results(tmp_path):
    settings = ["sampling.proposals=2000", "training.steps=1", "measure.stages.proposals=256", "lattice=[4, 4]"]
    options = [word for setting in settings for word in ("--set", setting)]
    done = python(COMMAND, NOT_OF_RUNS, "run", "free-L8", *options, "--out", "run", where=tmp_path)
    assert done.returncode == 0, done.stderr
    reason = "a report: needs the package jinja2, which is not installed; install trivmap[reports]"
    assert f"no report is written; {reason}" in done.stderr
    assert (tmp_path / "run" / "observables.json").exists() and not (tmp_path / "run" / "report.html").exists()
    refused = python(COMMAND, NOT_OF_RUNS, "report", "run", where=tmp_path)
    assert refused.returncode == 2 and "install trivmap[reports]" in refused.stderr
    for command, extra in (("compare", "reports"), ("study", "studies")):
        refused = python(COMMAND, NOT_OF_RUNS, command, "anything", where=tmp_path)
        assert refused.returncode == 2 and f"trivmap {command}: needs the package" in refused.stderr
        assert f"install trivmap[{extra}]" in refused.stderr


def test_the_package_declares_what_the_extras_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, modules in extras.EXTRAS.items():
        declared = {re.split(r"[<>=\[ ]", each)[0] for each in project["optional-dependencies"][extra]}
        wanted = {extras.PACKAGES.get(module, module) for module in modules}
        assert wanted == declared - {"trivmap", "scipy"}
    assert project["optional-dependencies"]["all"] == ["trivmap[studies,programs,tensorboard]"]


def test_what_is_installed_is_not_asked_for(monkeypatch):
    assert all(extras.missing(extra, "this") is None for extra in extras.EXTRAS)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match=r"this: needs the package jinja2, which is not installed; install trivmap"):
        extras.require("reports", "this")
    assert importlib.import_module("trivmap.extras") is extras
