"""What the Tab key offers, asked as the shells ask."""

import os
import shutil
import subprocess
import sys

import pytest

from trivmap.cards.keys import key_lines
from trivmap.cards.presets import preset_names
from trivmap.cli import completion

HEAVY = ("jax", "numpy", "pydantic", "yaml", "rich", "equinox")
ENTRY = """
import atexit, sys
from trivmap.__main__ import main
atexit.register(lambda: sys.stderr.write(" ".join(sys.modules)))
sys.argv = ["trivmap"]
main()
"""


@pytest.fixture
def folder(tmp_path):
    for name, mark in (("runs/first", "config.yaml"), ("runs/both", "comparison.yaml"), ("cards/old", "mine.yaml")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / mark).touch()
    (tmp_path / "quick.yaml").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").mkdir()
    return tmp_path


@pytest.fixture
def offered(folder):
    """What is offered after some words, the last of which is being typed."""

    def ask(*words, shell="bash"):
        asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
        environment = {**os.environ, **asked, "_TRIVMAP_COMPLETE": f"{shell}_complete"}
        command = [sys.executable, "-c", ENTRY]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
        loaded = set(done.stderr.split())
        assert "trivmap.cli.completion" in loaded and not loaded & set(HEAVY)
        return [line.partition(",")[2] if shell == "bash" else line for line in done.stdout.split()]

    return ask


def test_list_of_keys_is_that_of_the_schema():
    """Else `python -m trivmap.cards.keys > src/trivmap/cards/keys.txt` writes it again."""
    text = (completion._PACKAGE / "cards" / "keys.txt").read_text()
    assert text.splitlines() == key_lines()


def test_commands_and_options(offered):
    assert offered("trivmap", "val") == ["validate"]
    assert offered("trivmap", "run", "--re") == ["--resume"]


def test_cards_are_presets_files_and_the_folders_on_the_way(offered):
    assert offered("trivmap", "run", "qui") == ["quickstart", "quick.yaml"]
    assert sorted(offered("trivmap", "train", "")) == sorted([*preset_names(), "cards/", "runs/", "quick.yaml"])
    assert offered("trivmap", "validate", "cards/old/") == ["cards/old/mine.yaml"]
    assert offered("trivmap", "compare", "compare-L8") == ["compare-L8"]
    assert offered("trivmap", "study", "quick-st") == ["quick-study"]
    assert offered("trivmap", "presets", "compare-c") == ["compare-critical-L32"]
    assert offered("trivmap", "run", "nowhere/") == []


def test_keys_of_the_card(offered):
    assert offered("trivmap", "run", "--set", "training.st") == [
        "training.steps=",
        "training.stop=",
        "training.stop.acceptance=",
        "training.stop.seconds=",
        "training.start=",
    ]
    assert offered("trivmap", "run", "x", "--set", "model.maps.12.net")[:2] == [
        "model.maps.12.network=",
        "model.maps.12.network.kind=",
    ]
    assert offered("trivmap", "measure", "run", "--set", "")[0] == "measure.bins="
    assert offered("trivmap", "sample", "run", "--set", "training") == []
    assert "lattice=" in offered("trivmap", "compare", "--set", "") and offered("trivmap", "study", "--set", "m") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dtype", "=", ""], ["float32", "float64"]),
        (["dtype", "="], ["float32", "float64"]),
        (["dtype=float3"], ["dtype=float32"]),
        (["seed", "=", "1", "--set", "training.optimizer.kind", "=", "gau"], ["gauss-newton"]),
        (["model.maps.3.kind", "=", "sp"], ["spline"]),
        (["training.objective", "=", "log"], ["log-variance"]),
        (["sampling.integrator", "=", "om"], ["omelyan"]),
        (["model.maps.0.scheme", "=", ""], ["rk3", "rk4"]),
        (["model.maps.0.network.activation", "=", "as"], ["asinh"]),
        (["seed", "=", ""], []),
    ],
)
def test_words_of_a_key_where_bash_takes_it_apart(offered, words, expected):
    assert offered("trivmap", "run", "quickstart", "--set", *words) == expected


def test_whole_words_in_other_shells(offered):
    assert offered("trivmap", "run", "--set", "dtype=", shell="zsh") == [
        line for word in ("float32", "float64") for line in ("plain", f"dtype={word}", "_")
    ]


def test_directories_of_runs(offered):
    assert offered("trivmap", "show", "runs/") == ["runs/both/", "runs/first"]
    assert offered("trivmap", "run", "--resume", "") == ["runs/both/", "runs/first", "cards/", "runs/"]
    assert offered("trivmap", "compare", "--resume", "runs/") == ["runs/both", "runs/first/"]
    assert offered("trivmap", "show", ".h") == [".hidden/"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_the_line_for_the_start_file_of_bash(folder):
    """The function that bash calls fills COMPREPLY."""
    program = folder / "bin" / "trivmap"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom trivmap.__main__ import main\nmain()\n")
    program.chmod(0o755)
    script = """
    eval "$(_TRIVMAP_COMPLETE=bash_source trivmap)"
    compopt() { spaced="$2"; }
    COMP_WORDS=(trivmap run --set training.optimizer.kind = adamw); COMP_CWORD=5
    _trivmap_completion trivmap; echo "${COMPREPLY[*]} $spaced"
    COMPREPLY=(); COMP_WORDS=(trivmap run --set training.steps); COMP_CWORD=3
    _trivmap_completion trivmap; echo "${COMPREPLY[*]} $spaced"
    """
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, cwd=folder, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["adamw ", "training.steps= nospace"], done.stderr
