"""`trivmap` with several devices in one process, and in several processes on this machine."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from tests.devices.measured import XLA_FLAGS
from trivmap.cards.card import RunCard
from trivmap.cli.process import prepare
from trivmap.errors import InputError
from trivmap.runs import pipeline, sampling
from trivmap.store.samples import SampleReader

CARD = {
    "seed": 5,
    "dtype": "float64",
    "lattice": [4, 4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "model": {
        "base": {"kind": "free-field"},
        "maps": [{"kind": "affine", "couplings": 1, "network": {"kind": "dense", "hidden": [3]}}],
    },
    "training": {
        "steps": 12,
        "batch": 30,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "evaluate": {"every": 12},
        "checkpoint": {"every": 4},
        "chunk": 2,
    },
    "sampling": {"chains": 2, "proposals": 800, "part": 200, "save_fields": True, "thin": 10, "batch": 90},
    "measure": {"stages": {"proposals": 64}},
}
ROUNDING = {"rtol": 1e-9, "atol": 1e-10}
"""Of the twelve steps of a training in float64."""


class Joined:
    """The same command in `processes` processes of `devices` devices each."""

    def __init__(self, *arguments, folder, devices=1, processes=1, own=lambda index: ()):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        self.processes = []
        for index in range(processes):
            environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices), "XLA_FLAGS": XLA_FLAGS}
            if processes > 1:
                environment |= {
                    "JAX_COORDINATOR_ADDRESS": address,
                    "JAX_NUM_PROCESSES": str(processes),
                    "JAX_PROCESS_ID": str(index),
                }
                environment.pop("JAX_COMPILATION_CACHE_DIR", None)
            command = [sys.executable, "-m", "trivmap", *map(str, arguments), *own(index)]
            self.processes.append(
                subprocess.Popen(
                    command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            )

    @property
    def running(self):
        return all(process.poll() is None for process in self.processes)

    def results(self, timeout=1200):
        """(exit code, stdout, stderr) of each."""
        try:
            texts = [process.communicate(timeout=timeout) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [(process.returncode, *text) for process, text in zip(self.processes, texts, strict=True)]

    def done(self):
        """The outputs of all, which must have succeeded."""
        results = self.results()
        assert [code for code, *_ in results] == [0] * len(results), "\n".join(err for *_, err in results)
        return results


def summary(run):
    return json.loads((run / "summary.json").read_text())


def workers(run, part):
    return [summary(run)[part][key] for key in ("devices", "processes")]


def assert_trained_alike(run, other):
    ours, theirs = (summary(each)["training"] for each in (run, other))
    assert (ours["steps"], ours["status"]) == (theirs["steps"], theirs["status"])
    for name in ("acceptance", "ess", "log_z", "loss"):
        mine, wanted = (list(each["evaluation"][name].values()) for each in (ours, theirs))
        np.testing.assert_allclose(mine, wanted, **ROUNDING, err_msg=name)


def assert_same(run, other):
    assert_trained_alike(run, other)
    with SampleReader(run) as ours, SampleReader(other) as theirs:
        assert np.array_equal(ours["accepted"], theirs["accepted"])
        for name in ("log_weight", "fields", *theirs.names):
            mine, wanted = ours[name], theirs[name]
            # What is stored as float32 has been rounded to it.
            tolerance = ROUNDING if wanted.dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-6}
            np.testing.assert_allclose(mine, wanted, **tolerance, err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    return folder


@pytest.fixture(scope="module")
def one(folder):
    """What one device gives."""
    Joined("run", "card.yaml", "--out", "one", folder=folder).done()
    assert workers(folder / "one", "training") == workers(folder / "one", "sampling") == [1, 1]
    return folder / "one"


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_of_one_process(folder, one, devices):
    run = folder / f"devices-{devices}"
    Joined("run", "card.yaml", "--out", run.name, folder=folder, devices=devices).done()
    assert_same(run, one)
    assert summary(run)["observables"].keys() == summary(one)["observables"].keys()
    assert workers(run, "training") == workers(run, "sampling") == [devices, 1]
    assert len(json.loads((run / "environment.json").read_text())["devices"]) == devices


@pytest.mark.slow
def test_a_checkpoint_moves_between_numbers_of_devices(folder, one):
    shorter = ("--set", "training.steps=4")
    Joined("train", "card.yaml", "--out", "two", *shorter, folder=folder, devices=2).done()
    config = folder / "two" / "config.yaml"
    config.write_text(config.read_text().replace("steps: 4\n", "steps: 12\n"))
    for devices in (1, 4):
        run = folder / f"two-then-{devices}"
        shutil.copytree(folder / "two", run)
        Joined("train", "--resume", run.name, folder=folder, devices=devices).done()
        assert_trained_alike(run, one)
        assert workers(run, "training") == [devices, 1]


@pytest.mark.slow
def test_two_processes_are_one_run(folder, one):
    first, second = Joined(
        "run", "card.yaml", "--out", "joined", "--json", folder=folder, devices=2, processes=2
    ).done()
    run = folder / "joined"
    assert_same(run, one)
    assert workers(run, "training") == workers(run, "sampling") == [4, 2]
    # The first speaks and writes, alone.
    assert json.loads(first[1])["sampling"]["proposals"] == 800 and "train: done" in first[2]
    assert second[1] == "" and "train" not in second[2]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "evaluation" not in record] == [2, 4, 6, 8, 10, 12]
    assert (run / "report.html").exists() and not list(folder.glob(".joined*"))


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on_as_one(folder):
    run = folder / "stopped"
    joined = Joined(
        "train", "card.yaml", "--out", run.name, "--set", "training.steps=100000", folder=folder, processes=2
    )
    deadline = time.monotonic() + 1200
    while not (run / "metrics.jsonl").exists():
        assert joined.running and time.monotonic() < deadline, joined.results(0)
        time.sleep(0.01)
    # Only the one that does not write is told.
    joined.processes[1].send_signal(signal.SIGTERM)
    results = joined.results()
    assert [code for code, *_ in results] == [128 + signal.SIGTERM] * 2, results
    (step,) = map(int, re.findall(r"interrupted at step (\d+) of 100000; continue with", results[0][2]))
    assert (run / "checkpoints" / f"step-{step:08d}" / "manifest.json").exists()
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("steps: 100000", f"steps: {step + 2}"))
    Joined("train", "--resume", run.name, folder=folder).done()
    assert summary(run)["training"]["steps"] == step + 2 and workers(run, "training") == [1, 1]


class TestRefusals:
    @pytest.mark.slow
    def test_an_address_alone(self, folder, monkeypatch):
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
        ((code, _, err),) = Joined("train", "card.yaml", "--out", "refused", folder=folder).results()
        assert code == 2 and err.startswith("trivmap: JAX_COORDINATOR_ADDRESS: the processes cannot be joined (")
        assert err.endswith(
            "set it to HOST:PORT of the first process, and JAX_NUM_PROCESSES and JAX_PROCESS_ID, or unset it\n"
        )
        assert not (folder / "refused").exists()

    @pytest.mark.slow
    def test_different_commands(self, folder):
        seeds = [("--set", f"seed={seed}") for seed in (0, 1)]
        arguments = ("train", "card.yaml", "--out", "refused")
        results = Joined(*arguments, folder=folder, processes=2, own=lambda index: seeds[index]).results()
        assert [code for code, *_ in results] == [2, 2], results
        assert "the processes of one run need the same command" in results[0][2]
        assert not (folder / "refused").exists()

    @pytest.mark.slow
    def test_what_the_first_finds_ends_all(self, folder):
        (folder / "taken").mkdir(exist_ok=True)
        results = Joined("train", "card.yaml", "--out", "taken", folder=folder, processes=2).results()
        assert [code for code, *_ in results] == [2, 2], results
        assert "trivmap: taken: exists already" in results[0][2] and "exists already" not in results[1][2]

    def test_a_number_that_is_none(self, monkeypatch):
        monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
        monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
        with pytest.raises(InputError, match="JAX_NUM_PROCESSES: must be a whole number, got 'two'"):
            prepare(RunCard.from_data(CARD), joining=True)

    def test_clusters(self, tmp_path, monkeypatch):
        card = {"lattice": [4, 4], "action": CARD["action"], "sampling": {"kind": "cluster", "proposals": 400}}
        run = pipeline.create(RunCard.from_data(card), tmp_path / "run")
        monkeypatch.setattr(sampling, "is_distributed", lambda: True)
        with pytest.raises(InputError, match="cluster works in one process"):
            sampling.sample(run)
