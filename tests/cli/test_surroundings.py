"""What a machine may do to a command: environment variables, disks, folders, clocks, signals, memory."""

import errno
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import CARD
from tests.runs.support import trivmap
from trivmap.cli.process import making, one_sentence, require_possible
from trivmap.cli.signals import Stop, stoppable
from trivmap.errors import InputError

HMC = {
    "lattice": [4, 4],
    "action": {"kind": "free", "m_sq": 1.0},
    "sampling": {"kind": "hmc", "chains": 2, "proposals": 400},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
    (tmp_path / "hmc.yaml").write_text(yaml.safe_dump(HMC))
    return tmp_path


def outside(*arguments, folder, **environment):
    """A command as a process of its own, in an environment of its own."""
    command = [sys.executable, "-c", "import trivmap.cli; trivmap.cli.main()", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


class TestEnvironment:
    def test_a_platform_that_is_not_there(self, folder):
        done = outside("validate", "hmc.yaml", folder=folder, JAX_PLATFORMS="abacus")
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        assert done.stderr.startswith("trivmap: JAX_PLATFORMS: 'abacus' is not available here (")
        assert done.stderr.endswith("); unset it, or set it to cpu\n")

    def test_debugging_flags_do_not_stop_a_healthy_run(self, folder):
        done = outside("validate", "hmc.yaml", folder=folder, JAX_DEBUG_NANS="1", JAX_DEBUG_INFS="1")
        assert done.returncode == 0
        assert done.stderr == "".join(
            f"trivmap: {name} is switched off: weights of 0 make infinities in every run\n"
            for name in ("JAX_DEBUG_NANS", "JAX_DEBUG_INFS")
        )

    def test_warnings_as_errors(self, complete):
        done = outside("report", "run", folder=complete, PYTHONWARNINGS="error")
        assert (done.returncode, done.stdout) == (0, "run/report.html\n"), done.stderr

    def test_a_folder_that_is_gone(self, tmp_path):
        code = "import os, trivmap.cli; os.rmdir(os.getcwd()); trivmap.cli.main()"
        (tmp_path / "gone").mkdir()
        command = [sys.executable, "-c", code, "presets"]
        done = subprocess.run(command, cwd=tmp_path / "gone", capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr == "trivmap: the working directory is gone; change to one that exists\n"

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
    @pytest.mark.parametrize("arguments", [["presets"], ["--help"], ["presets", "--json"]])
    def test_standard_output_on_a_full_disk(self, arguments, tmp_path):
        command = [sys.executable, "-c", "import trivmap.cli; trivmap.cli.main()", *arguments]
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == "trivmap: standard output: No space left on device\n"


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "sentence"),
        [
            ("a" * 300, "a: the path is too long; give names of at most 220 bytes, 3000 in all"),
            ("a/" * 2000, "/a: the path is too long; give names of at most 220 bytes, 3000 in all"),
            ("ä" * 120, "ä: the path is too long; give names of at most 220 bytes, 3000 in all"),
            ("a\0b", "'a\\x00b': has a NUL character, which no path may have"),
        ],
    )
    def test_impossible_ones(self, path, sentence):
        with pytest.raises(InputError) as caught:
            require_possible(Path(path))
        assert str(caught.value).endswith(sentence) and len(str(caught.value)) < 300

    @pytest.mark.parametrize("command", ["run", "train"])
    def test_the_command_that_was_typed_is_advised(self, folder, command):
        (folder / "taken").mkdir()
        done = trivmap(command, "card.yaml", "--out", "taken", folder=folder)
        assert done.code == 2
        assert done.err.endswith(
            "trivmap: taken: exists already; give another --out, or continue it with "
            f"trivmap {command} --resume taken\n"
        )

    def test_where_nothing_can_be_made(self, tmp_path):
        with (
            pytest.raises(InputError, match=r"x: cannot be made there \(No such file or directory\); give"),
            making(tmp_path / "x", "go on"),
        ):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def test_names_as_long_as_a_card_may_have(self, folder):
        done = trivmap("validate", "hmc.yaml", "--set", f"name={'x' * 200}", folder=folder)
        assert done.code == 0, done.err


class TestOneSentence:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (MemoryError(), "there is not enough memory for this; take a machine with more, or a smaller lattice"),
            (OSError(errno.EACCES, "Permission denied", "x/metrics.jsonl"), "x/metrics.jsonl: Permission denied"),
            (OSError(errno.ENAMETOOLONG, "File name too long", "y" * 5000), f"{'y' * 100}...{'y' * 97}: File name too"),
            (KeyboardInterrupt(), "interrupted; finished steps are kept"),
        ],
    )
    def test_what_the_machine_refuses(self, error, sentence, capsys):
        with pytest.raises(SystemExit), one_sentence():
            raise error
        assert capsys.readouterr().err.startswith(f"trivmap: {sentence}")

    def test_defects_are_no_mistakes_of_the_user(self):
        with pytest.raises(FileNotFoundError), one_sentence():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_between_two_steps(self, number, capsys):
        before = signal.getsignal(number)

        def work():
            with one_sentence(), stoppable():
                os.kill(os.getpid(), number)
                time.sleep(5)

        with pytest.raises(SystemExit) as ended:
            work()
        assert ended.value.code == 128 + number
        assert capsys.readouterr().err == "trivmap: interrupted; finished steps are kept\n"
        assert signal.getsignal(number) is before

    def test_one_that_python_drops_comes_again(self):
        def callback(phase, info):
            if phase == "start" and not sent:
                sent.append(True)
                os.kill(os.getpid(), signal.SIGINT)
                # Delivered here, in a callback of the garbage collector.
                for _ in range(1000):
                    pass

        def work():
            with stoppable():
                # Not before: garbage may be collected at any time, and then the signal would arrive outside.
                gc.callbacks.append(callback)
                gc.collect()
                assert sent
                time.sleep(5)

        sent = []
        try:
            with pytest.raises(Stop):
                work()
        finally:
            gc.callbacks.remove(callback)

    def test_ignored_ones_stay_ignored(self):
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with stoppable():
                os.kill(os.getpid(), signal.SIGTERM)
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_other_threads_have_none(self):
        found = []

        def work():
            with stoppable():
                found.append(signal.getsignal(signal.SIGTERM))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert found == [signal.getsignal(signal.SIGTERM)]


class TestRoom:
    @pytest.mark.parametrize(
        ("override", "key"),
        [
            ("training.batch=2000000000", "training.batch"),
            ("training.evaluate.batch=2000000000", "training.evaluate.batch"),
            ("sampling.batch=2000000000", "sampling.batch"),
            ("sampling.proposals=4000000000", "sampling.proposals"),
            ("model.maps.0.network.hidden=[16000000, 16000000]", "model"),
        ],
    )
    @pytest.mark.parametrize("command", [("validate",), ("run", "--out", "run")])
    def test_what_does_not_fit_is_refused(self, folder, command, override, key, monkeypatch):
        monkeypatch.setattr("trivmap.runs.budget.memory_limit", lambda: 10**9)
        first, *options = command
        done = trivmap(first, "card.yaml", *options, "--set", override, folder=folder)
        assert done.code == 2 and "Traceback" not in done.err
        last = done.err.splitlines()[-1]
        assert last.startswith(f"trivmap: {key}: needs at least ")
        assert last.endswith("; lower it, or give --force to try")
        assert not (folder / "run").exists()

    def test_force(self, folder):
        done = trivmap("validate", "card.yaml", "--force", "--set", "training.batch=2000000000", folder=folder)
        assert done.code == 0 and done.err == ""
        assert done.out.splitlines()[-1].startswith("# --force: training.batch: needs at least ")

    def test_validate_says_what_is_expected(self, folder):
        done = trivmap("validate", "card.yaml", folder=folder)
        assert done.code == 0, done.err
        assert yaml.safe_load(done.out)["name"] == "small"
        assert done.out.splitlines()[-1].startswith(
            "# expected: at most 8832 configurations in training; 4000 proposals, "
        )
        content = json.loads(trivmap("validate", "card.yaml", "--json", folder=folder).out)
        assert content["expected"]["configurations"] == 40 * 16 + 2 * 4096
        assert content["expected"]["proposals"] == 4000


class TestValidate:
    @pytest.mark.parametrize(
        "sampling",
        [
            {"kind": "hmc"},
            {"kind": "cluster"},
            {"kind": "annealed"},
            {"kind": "annealed", "moves": "langevin"},
            {"kind": "annealed", "moves": "heat-bath"},
        ],
        ids=lambda each: "-".join(each.values()),
    )
    def test_cards_without_a_map(self, folder, sampling):
        action = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5}
        data = {**HMC, "action": action, "sampling": {**sampling, "proposals": 4000}}
        (folder / "card.yaml").write_text(yaml.safe_dump(data))
        done = trivmap("validate", "card.yaml", folder=folder)
        assert done.code == 0, done.err
        assert "# valid; without a map" in done.out.splitlines()
        assert yaml.safe_load(done.out)["sampling"]["kind"] == sampling["kind"]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            (
                {"training": {**CARD["training"], "optimizer": {"kind": "sm3", "learning_rate": 0.1}}},
                "training.optimizer: sm3 cannot train this model",
            ),
            (
                {"training": {**CARD["training"], "start": "elsewhere"}},
                "training.start: ",
            ),
            (
                {
                    "model": None,
                    "training": None,
                    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": -0.5, "lam": 0.5},
                    "sampling": {"kind": "cluster", "proposals": 4000},
                },
                "action: cluster updates need",
            ),
        ],
        ids=["optimizer", "start", "sampler"],
    )
    def test_refuses_what_run_refuses(self, folder, changes, sentence):
        (folder / "card.yaml").write_text(yaml.safe_dump({**CARD, **changes}))
        commands = [("validate", "card.yaml"), ("run", "card.yaml", "--out", "runs/r")]
        said = [trivmap(*command, folder=folder) for command in commands]
        assert [done.code for done in said] == [2, 2]
        assert said[0].err == said[1].err and said[0].err.startswith(f"trivmap: {sentence}")
        assert not (folder / "runs").exists()
