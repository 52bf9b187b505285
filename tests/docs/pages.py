"""The pages as a reader meets them: their code blocks, links and tables, and a way to do what they say."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
from click.testing import CliRunner

from trivmap.cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*/*.md"))
PAGES = [README, *DOCS]

# The preset with its own map, training and sampling would take minutes. These are appended, each with --set, to the
# commands that hold the word; everything else runs as it is written.
SHORTER = {
    "quickstart": [
        "model.maps=[{kind: continuous, features: {widths: [1.0], smeared: []}, kernel: {masses: [1.0]}, times: 1}]",
        "training.steps=8",
        "training.batch=16",
        "training.evaluate={every: 8, proposals: 4096}",
        "sampling.proposals=8000",
        "measure.stages.proposals=256",
    ],
    "sampling.proposals=1000000": ["sampling.proposals=12000"],
    "sampling.kind=hmc": ["sampling.proposals=6400"],
    "sampling.kind=cluster": ["sampling.proposals=10000"],
    "sampling.kind=trivialized-hmc": [
        "training.steps=2",
        "training.batch=32",
        "measure.stages.proposals=256",
        "sampling.proposals=1600",
    ],
    "sampling.kind=annealed": ["sampling.proposals=2000"],
}


class Block(NamedTuple):
    language: str
    text: str


class Row(NamedTuple):
    heading: str
    cells: list[str]


def blocks(page: Path) -> list[Block]:
    """The fenced code blocks."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    # What stands in braces is a directive of the site, such as the cell of a notebook, which its build runs.
    return [Block(language, text) for language, text in found if not language.startswith("{")]


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Every line of the shell blocks."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def rows(page: Path) -> list[Row]:
    """The rows of all tables, without their heads, each with the heading it stands under."""
    heading, result = "", []
    for line in prose(page).splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").strip()
        if re.fullmatch(r"\|[-|]+\|", line):
            result.pop()
        elif line.startswith("|"):
            cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            result.append(Row(heading, cells))
    return result


def code(text: str) -> list[str]:
    """The code spans in a piece of text."""
    return re.findall(r"`([^`]+)`", text)


@dataclass
class Reader:
    """Somebody who types what a page says, in an empty directory."""

    page: Path
    directory: Path
    printed: str = ""

    def write_files(self) -> None:
        """The blocks that say which file they are."""
        for block in blocks(self.page):
            if name := re.match(r"# file: (\S+)\n", block.text):
                (self.directory / name[1]).write_text(block.text)

    def type_commands(self, monkeypatch) -> None:
        """Shell blocks line by line: trivmap in this process, JAX as users have it; make only says what it would do."""
        monkeypatch.chdir(self.directory)
        monkeypatch.setattr(sys, "path", list(sys.path))
        targets = []
        for line in commands(self.page):
            program, *arguments = shlex.split(line, comments=True)
            if program == "make":
                targets += arguments
                continue
            if program == "python":
                done = subprocess.run([sys.executable, *arguments], cwd=self.directory, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
                continue
            assert program == "trivmap", line
            shorter = [key for name, keys in SHORTER.items() if name in arguments for key in keys]
            arguments += [part for key in shorter for part in ("--set", key)]
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                outcome = CliRunner().invoke(cli, arguments)
            assert outcome.exit_code == 0, f"{line}\n{outcome.output}{outcome.exception}"
            self.printed += outcome.output
        if targets:
            done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr

    def run_python(self) -> str:
        """The Python blocks that are no files, one after the other, in a fresh interpreter; what they print."""
        parts = [b.text for b in blocks(self.page) if b.language == "python" and not b.text.startswith("# file:")]
        script = self.directory / "blocks.py"
        script.write_text("\n".join(parts))
        done = subprocess.run([sys.executable, script.name], cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout
