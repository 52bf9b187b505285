"""Whatever a file or an argument says is shown in the terminal, and nothing in it is obeyed there."""

import ast
import io
import json
import os
import subprocess
import sys

import pytest
import yaml
from rich.live import Live
from rich.table import Table
from rich.text import Text

import trivmap.cli
from tests.cli.conftest import CARD
from tests.runs.support import trivmap as run_trivmap
from trivmap.cli import process
from trivmap.cli.display import console
from trivmap.cli.terminal import one_line, printable
from trivmap.errors import InputError
from trivmap.store.sealed import seal

TITLE = "\x1b]0;title\x07"
CLEAR = "\x1b[2J"
HOSTILE = f"a{TITLE}{CLEAR}\x9b31m\u202eb"
OBEYED = ("\x1b", "\x07", "\x9b", "\u202e")


def harmless(text):
    return not any(character in text for character in OBEYED)


class TestPrintable:
    @pytest.mark.parametrize(
        "text", ["χ ⟨φ⟩ Δ [σ] ±", "Übergröße naïve", "格子场论\u3000二", "a\u00a0b", "a\n\tb", "", "🜁"]
    )
    def test_leaves_every_script(self, text):
        assert printable(text) == text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (CLEAR, r"\x1b[2J"),
            (TITLE, r"\x1b]0;title\x07"),
            ("\x9bm\x85\x7f\r\b\0", r"\x9bm\x85\x7f\r\x08\x00"),
            ("\u202e\u2066\u200b\u2028", r"\u202e\u2066\u200b\u2028"),
            ("\ud800\udcff", r"\ud800\udcff"),
        ],
    )
    def test_escapes_what_is_obeyed(self, text, shown):
        assert printable(text) == shown
        assert printable(shown) == shown


def test_one_line():
    path = "/".join(["ä" * 255] * 3)
    assert one_line(f"a\n b {path}: {'7' * 775}") == f"a b {path}: {'7' * 100}...{'7' * 97}"


class TestConsole:
    """No renderable gets around it."""

    def printed(self, renderable, monkeypatch, **options):
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        console(width=120).print(renderable, **options)
        return sys.stdout.getvalue()

    def test_texts(self, monkeypatch):
        for renderable in (HOSTILE, Text(HOSTILE)):
            text = self.printed(renderable, monkeypatch, markup=False, soft_wrap=True)
            assert harmless(text) and r"\x1b[2J\x9b31m\u202eb" in text

    def test_tables(self, monkeypatch):
        table = Table(title=HOSTILE)
        table.add_column(Text(HOSTILE))
        table.add_row(Text(f"{CLEAR} χ"))
        text = self.printed(table, monkeypatch)
        assert harmless(text) and "χ" in text and r"\x1b[2J" in text

    def test_live_displays_and_styles_still_work(self, monkeypatch):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setenv("FORCE_COLOR", "1")
        made = console(width=60)
        with Live(console=made, auto_refresh=False) as live:
            live.update(Text(f"{TITLE}one", style="yellow"), refresh=True)
        assert "\x1b[33m" in stream.getvalue() and "\x1b[?25h" in stream.getvalue()
        assert TITLE not in stream.getvalue() and "one" in stream.getvalue()


def test_the_command_prints_in_one_place():
    """`say` and `console`: nothing else writes to the terminal."""
    folder = os.path.dirname(trivmap.cli.__file__)
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".py"):
            continue
        with open(f"{folder}/{name}") as file:
            calls = [ast.unparse(node.func) for node in ast.walk(ast.parse(file.read())) if isinstance(node, ast.Call)]
        assert not {"print", "Console", "sys.stdout.write", "sys.stderr.write", "click.echo"} & set(calls), name
        assert name == "terminal.py" or "click.secho" not in calls, name


class TestCommands:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["presets", TITLE],
            ["validate", f"{TITLE}.yaml"],
            ["validate", "card.yaml", "--set", f"{HOSTILE}=1"],
            ["validate", "own.yaml"],
            ["show", HOSTILE],
            ["report", "a", HOSTILE],
            [f"--{HOSTILE}"],
            [f"{HOSTILE}"],
            ["study", "quick-study", "--resources", HOSTILE],
        ],
    )
    def test_arguments_and_keys_are_repeated_as_they_can_be_shown(self, arguments, tmp_path):
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(CARD | {HOSTILE: 1}))
        done = run_trivmap(*arguments, folder=tmp_path)
        assert done.code == 2 and "Traceback" not in done.err
        assert harmless(done.out + done.err) and r"\x1b" in done.err

    def test_what_the_files_of_a_run_say(self, copy):
        path = copy / "run" / "summary.json"
        summary = json.loads(path.read_text())
        del summary["sha256"]
        summary |= {"untrusted": {"phi2": HOSTILE, HOSTILE: f"{CLEAR}"}, "chain_withheld": HOSTILE}
        path.write_text(seal(json.dumps(summary)))
        card = copy / "run" / "config.yaml"
        data = yaml.safe_load(card.read_text()) | {"description": f"changed from {HOSTILE}\ud800"}
        card.write_text(yaml.safe_dump(data))
        done = run_trivmap("show", "run", folder=copy)
        assert done.code == 0, done.err
        assert harmless(done.out + done.err) and done.out.count(r"\x1b[2J") >= 2 and r"\ud800" in done.out
        done = run_trivmap("report", "run", folder=copy)
        assert done.code == 0, done.err

    def test_an_encoding_without_the_letters(self, copy):
        card = copy / "run" / "config.yaml"
        card.write_text(yaml.safe_dump(yaml.safe_load(card.read_text()) | {"description": "changed from χ"}))
        command = [sys.executable, "-c", "import trivmap.cli; trivmap.cli.main()", "show", "run"]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert rb"changed from \u03c7" in done.stdout


def test_a_count_that_no_machine_reads(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "9" * 5000)
    with pytest.raises(InputError, match=r"^SLURM_STEP_NUM_TASKS: must be a whole number, got '99[9.]{,70}'$"):
        process._join()
