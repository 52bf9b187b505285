"""The batch script of the examples, with stand-ins for Slurm and for trivmap."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "examples" / "slurm" / "job.sh"
PAGE = ROOT / "docs" / "how-to" / "slurm.md"

TRIVMAP = """#!/bin/sh
echo "trivmap $*" >>calls
echo "$OMP_NUM_THREADS $NPROC" >threads
case $MODE in
finish) mkdir -p runs/a ;;
fail) exit 2 ;;
killed) exit 137 ;;
work)
    trap 'echo saved >>calls; exit 143' TERM
    mkdir -p runs/a
    touch started
    while :; do sleep 0.02; done ;;
esac
"""
SCONTROL = """#!/bin/sh
case $1 in
show) echo "   JobState=$STATE Reason=None Dependency=(null)" ;;
*) echo "scontrol $*" >>calls; exit $REQUEUE ;;
esac
"""
SBATCH = """#!/bin/sh
echo "sbatch $*" >>calls
"""


class Cluster:
    """A folder in which jobs run, with the commands they find there."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name, text in {"venv/bin/trivmap": TRIVMAP, "slurm/scontrol": SCONTROL, "slurm/sbatch": SBATCH}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def job(self, mode, *arguments, state="RUNNING", requeue=0) -> subprocess.Popen:
        environment = os.environ | {
            "PATH": f"{self.folder / 'slurm'}:{os.environ['PATH']}",
            "VENV": str(self.folder / "venv"),
            "SLURM_JOB_ID": "17",
            "SLURM_CPUS_PER_TASK": "3",
            "MODE": mode,
            "STATE": state,
            "REQUEUE": str(requeue),
        }
        command = ["bash", str(JOB), *(arguments or ("card.yaml", "runs/a"))]
        return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True)

    def finished(self, *arguments, **options) -> int:
        job = self.job(*arguments, **options)
        job.communicate(timeout=60)
        return job.returncode

    def interrupted(self, **options) -> int:
        """The exit code of a job that gets SIGTERM, alone, while trivmap works."""
        started = self.folder / "started"
        started.unlink(missing_ok=True)
        job = self.job("work", **options)
        deadline = time.monotonic() + 60
        while not started.exists():
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        job.send_signal(signal.SIGTERM)
        job.communicate(timeout=60)
        return job.returncode

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)


START = "trivmap run card.yaml --out runs/a --set threads=3"
RESUME = "trivmap run --resume runs/a"


def test_a_run_that_finishes_is_not_submitted_again(cluster):
    assert cluster.finished("finish") == 0
    assert cluster.calls == [START]
    assert (cluster.folder / "threads").read_text() == "3 3\n"


def test_sigterm_is_passed_on_and_the_next_job_resumes(cluster):
    assert cluster.interrupted() == 0
    assert cluster.calls == [START, "saved", "scontrol requeue 17"]
    assert cluster.interrupted() == 0
    assert cluster.calls[3:] == [RESUME, "saved", "scontrol requeue 17"]
    assert cluster.finished("finish") == 0
    assert cluster.calls[6:] == [RESUME]


def test_a_cluster_that_requeues_nothing_gets_a_new_job(cluster):
    assert cluster.interrupted(requeue=1) == 0
    assert cluster.calls == [START, "saved", "scontrol requeue 17", f"sbatch {JOB} card.yaml runs/a"]


def test_a_job_that_somebody_cancelled_stays_cancelled(cluster):
    assert cluster.interrupted(state="COMPLETING") == 143
    assert cluster.calls == [START, "saved"]


@pytest.mark.parametrize(("mode", "code"), [("fail", 2), ("killed", 137)])
def test_a_run_that_fails_is_not_submitted_again(cluster, mode, code):
    assert cluster.finished(mode) == code
    assert cluster.calls == [START]


def test_a_call_without_a_directory_is_refused(cluster):
    assert cluster.finished("finish", "card.yaml") == 2
    assert cluster.calls == []


def test_the_script_asks_slurm_for_the_signal_before_the_end():
    text = JOB.read_text()
    options = re.findall(r"^#SBATCH (--\S+)$", text, flags=re.MULTILINE)
    assert {"--signal=B:TERM@120", "--requeue", "--open-mode=append"} <= set(options)
    assert "--time=04:00:00" in options
    # Slurm reads the options up to the first command.
    assert text.rindex("#SBATCH") < text.index("\nset -u")
    assert os.access(JOB, os.X_OK)


def test_the_page_shows_the_script_and_names_its_options():
    page = PAGE.read_text()
    assert ":::{literalinclude} ../../examples/slurm/job.sh" in page
    assert "sbatch job.sh" in page
