"""Studies run for real: by the command, with processes killed, on a cluster of its own and on another one."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.studies.scaling.small_study import small, wait_until
from trivmap.cli.main import cli
from trivmap.studies.scaling.card import load_study_card
from trivmap.studies.scaling.directory import StudyDirectory
from trivmap.studies.scaling.pinning import Share
from trivmap.studies.scaling.run import finish
from trivmap.studies.scaling.status import status_of, statuses

pytestmark = pytest.mark.slow
FIRST, SECOND = "fourier_L4_seed0", "fourier_L6_seed0"
TIMED = {"seconds", "wall_seconds", "compile_seconds", "load", "processors", "exclusive", "host", "sessions"}
"""What a clock or the machine says."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study that nothing interrupted, and what the command said."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "card.yaml").write_text(yaml.safe_dump(small()))
    done = trivmap("study", "card.yaml", "--out", "whole", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def result(root):
    """The content of study.json without timings."""

    def timeless(data):
        if isinstance(data, dict):
            return {key: timeless(value) for key, value in data.items() if key not in TIMED}
        return [timeless(each) for each in data] if isinstance(data, list) else data

    found = json.loads((root / "study.json").read_text())
    found["fits"] = [fit for fit in found["fits"] if fit["cost"] != "seconds"]
    del found["origin"], found["sha256"]  # of the timings, too
    return timeless(found)


def trivmap(*arguments, folder):
    """The command run to its end."""
    command = [sys.executable, "-m", "trivmap", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)


def start(folder, *arguments):
    """The command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "trivmap", "study", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


class TestWhole:
    def test_every_run_is_complete_and_its_costs_include_what_it_started_from(self, study):
        first, second = json.loads((study[0] / "whole" / "study.json").read_text())["runs"]
        assert (first["state"], second["state"], second["after"]) == ("complete", "complete", FIRST)
        assert first["spent"]["configurations"] == 60 * 32 and second["spent"]["configurations"] == 2 * 60 * 32
        assert second["curve"][0]["configurations"] == (60 + 15) * 32
        done = json.loads((study[0] / "whole" / "done" / f"{FIRST}.json").read_text())
        (stretch,) = done["operations"]
        assert first["spent"]["operations"] == 60 * stretch["operations"] > 0
        reached = first["reached"]["0.5"]
        assert reached["operations"] == reached["configurations"] / 32 * stretch["operations"]
        before = [point for point in first["curve"] if point["configurations"] < reached["configurations"]]
        assert reached["above"]["configurations"] == (before[-1]["configurations"] if before else 32)
        assert 0 < reached["above"]["seconds"] < reached["seconds"]
        at_once = second["reached"]["0.5"]
        assert at_once["configurations"] == second["curve"][0]["configurations"]
        assert at_once["above"]["configurations"] == 60 * 32 + 32
        assert second["reached"]["0.9999"] is None

    def test_the_free_field_is_what_it_is(self, study):
        for run in json.loads((study[0] / "whole" / "study.json").read_text())["runs"]:
            assert len(run["pulls"]) >= 3 and max(map(abs, run["pulls"].values())) < 4
            assert run["acceptance"]["value"] + 3 * run["acceptance"]["error"] > 0.98

    def test_transfer_begins_where_the_smaller_lattice_ended(self, study):
        """The masses differ a little: the map carried over is better at once than the one from scratch became late."""
        first, second = json.loads((study[0] / "whole" / "study.json").read_text())["runs"]
        assert second["curve"][0]["acceptance"] > first["curve"][0]["acceptance"] + 0.1

    def test_the_page_holds_the_tables_and_the_figures(self, study):
        page = (study[0] / "whole" / "study.html").read_text()
        assert FIRST in page.replace("<wbr>", "") and "not reached" in page and page.count("data:image/png;base64") == 4
        assert (study[0] / "whole" / "runs.csv").read_text().count("\n") == 3
        assert len((study[0] / "whole" / "fits.csv").read_text().splitlines()) == 1 + 2 * 3

    def test_once_more_nothing_is_done_again(self, study, monkeypatch):
        monkeypatch.chdir(study[0])
        before = {path: path.stat().st_mtime_ns for path in (study[0] / "whole" / "runs").rglob("*")}
        assert CliRunner().invoke(cli, ["study", "--resume", "whole"]).exit_code == 0
        assert {path: path.stat().st_mtime_ns for path in (study[0] / "whole" / "runs").rglob("*")} == before

    def test_watching_shows_every_run(self, study, monkeypatch):
        monkeypatch.chdir(study[0])
        lines = CliRunner().invoke(cli, ["study", "--watch", "whole"]).stdout.splitlines()
        assert len(lines) == 2 and all("complete" in line and "60/60" in line for line in lines)
        directory = StudyDirectory.open(study[0] / "whole")
        assert {status.state for status in statuses(directory)} == {"complete"}
        status = status_of(directory, directory.found(FIRST))
        assert status.acceptance > 0.98 and status.seconds_left is None


def test_the_runs_of_a_study_use_no_altered_file_unless_it_is_trusted(study, tmp_path):
    root = tmp_path / "whole"
    shutil.copytree(study[0] / "whole", root)
    (root / "done" / f"{SECOND}.json").unlink()
    path = root / "runs" / SECOND / "summary.json"
    summary = json.loads(path.read_text())
    summary["sampling"]["ess"] = 0.123456
    path.write_text(json.dumps(summary))
    done = trivmap("study", "--resume", "whole", folder=tmp_path)
    assert done.returncode == 1 and "summary.json: was altered" in done.stderr + done.stdout
    done = trivmap("study", "--resume", "whole", "--trust", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_complete_run_that_is_gone_is_named(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(study[0] / "whole", tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "runs" / SECOND)
    found = CliRunner().invoke(cli, ["study", "--resume", "whole"])
    assert found.exit_code == 2 and f"delete whole/done/{SECOND}.json" in found.stderr


def test_a_run_started_twice_is_done_once(study, tmp_path):
    directory = StudyDirectory.create(tmp_path / "twice", load_study_card(study[0] / "card.yaml"))
    both = [start(tmp_path, "--resume", "twice", "--run", FIRST) for _ in range(2)]
    said = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("train:" in text for text in said) == 1
    assert finish(directory, FIRST, Share([])) == directory.done(FIRST)


class Cluster:
    """A scheduler and a worker as processes of their own."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "scheduler.json"
        self.scheduler = self._begin("scheduler", "--scheduler-file", str(self.file), "--no-dashboard", "--port", "0")
        wait_until(self.file.exists)
        self.workers = []

    def _begin(self, what, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + what, *arguments],
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def add_worker(self):
        arguments = ("--scheduler-file", str(self.file), "--nthreads", "1", "--no-dashboard", "--no-nanny")
        self.workers.append(self._begin("worker", *arguments))

    def close(self):
        for process in [*self.workers, self.scheduler]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def test_killing_a_worker_the_scheduler_and_the_command_loses_nothing(study, tmp_path, cluster):
    (tmp_path / "card.yaml").write_text((study[0] / "card.yaml").read_text())
    root, generator = tmp_path / "away", random.Random(11)
    cluster.add_worker()
    driver = start(tmp_path, "card.yaml", "--out", "away", "--scheduler", str(cluster.file))
    wait_until((root / "runs" / FIRST / "metrics.jsonl").exists)
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    cluster.add_worker()
    wait_until((root / "done" / f"{FIRST}.json").exists)
    os.killpg(cluster.scheduler.pid, signal.SIGKILL)
    said, _ = driver.communicate(timeout=100)
    assert driver.returncode == 2, said
    assert said.strip().splitlines()[-1].startswith("trivmap: away: the scheduler has")
    assert "asks for no certificate: anyone who reaches its port can run programs as its user" in said
    assert "continue with trivmap study --resume away" in said
    for _ in range(3):
        process = start(tmp_path, "--resume", "away")
        time.sleep(generator.uniform(2.0, 6.0))
        assert process.poll() is None
        kill_group(process)
    done = trivmap("study", "--resume", "away", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert result(root) == result(study[0] / "whole")
    sessions = [
        json.loads((base / "study.json").read_text())["runs"][0]["sessions"] for base in (root, study[0] / "whole")
    ]
    assert sessions[0] >= 2 and sessions[1] == 1
    for name in (FIRST, SECOND):
        weights = [next((base / "runs" / name / "model").glob("weights-*")) for base in (root, study[0] / "whole")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_that_fails_is_tried_again_and_then_told(tmp_path):
    data = small(retries=1, extents=[4, 6])
    data["series"]["fourier"]["training"]["optimizer"]["learning_rate"] = 1e30
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(data))
    done = trivmap("study", "card.yaml", "--out", "bad", folder=tmp_path)
    assert done.returncode == 1
    noted = json.loads((tmp_path / "bad" / "failed" / f"{FIRST}.json").read_text())
    assert noted["attempts"] == 2
    runs = json.loads((tmp_path / "bad" / "study.json").read_text())["runs"]
    assert [run["state"] for run in runs] == ["failed", "failed"]
    assert runs[1]["reason"] == f"{FIRST} is not complete"
    fits = json.loads((tmp_path / "bad" / "study.json").read_text())["fits"]
    assert all(fit["censored"] == [4, 6] and "exponent" not in fit for fit in fits)
    directory = StudyDirectory.open(tmp_path / "bad")
    assert [status.state for status in statuses(directory)] == ["failed", "failed"]
    assert f"failed: {SECOND}: {FIRST} is not complete" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("card.yaml", "--scheduler", "tcp://127.0.0.1:9"), "no scheduler answers there within 10 s"),
        ((), "give either a study card"),
        (("--resume", "nothing"), "nothing: is not a study, it has no study.yaml"),
        (("card.yaml", "--resources", "GPU=1"), "--resources needs --scheduler"),
        (("card.yaml", "--workers", "1", "--scheduler", "x"), "--workers is for runs on this machine"),
        (("card.yaml", "--watch", "x"), "--watch only shows a study"),
        (("--run", "x"), "--run needs --resume DIR"),
        (("card.yaml", "--scheduler", "x", "--resources", "GPU"), "--resources GPU: write NAME=NUMBER"),
        (("card.yaml", "--set", "series.fourier.model.maps.0.kind=fouler"), "did you mean fourier?"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(small()))
    done = CliRunner().invoke(cli, ["study", *arguments])
    assert done.exit_code == 2
    assert sentence in done.stderr.strip().splitlines()[-1], done.stderr


def listening(pid):
    """The ports on which a process and those below it take connections."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                sockets.add(f"socket:[{fields[9]}]")
    found, family = [], [pid]
    for each in family:
        with contextlib.suppress(OSError):
            family += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
            with os.scandir(f"/proc/{each}/fd") as entries:
                found += [name for name in map(os.readlink, entries) if name in sockets]
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_a_study_on_this_machine_listens_to_no_network(tmp_path, monkeypatch):
    """Whoever reaches the port of a scheduler runs programs in the name of its user."""
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "True")
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(small(extents=[4])))
    process = start(tmp_path, "card.yaml", "--out", "quiet")
    seen = []
    while process.poll() is None:
        seen += listening(process.pid)
        time.sleep(0.05)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert seen == []


def test_a_scheduler_without_certificates_is_refused_where_the_configuration_asks_for_them(tmp_path, cluster):
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(small()))
    environment = {**os.environ, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    command = [sys.executable, "-m", "trivmap", "study", "card.yaml", "--out", "x", "--scheduler", str(cluster.file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=100)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "require-encryption allows no other" in done.stderr.strip().splitlines()[-1]
