"""`trivmap` killed or interrupted at any moment, continued, and compared with a run that was left alone."""

import json
import random
import shutil
import signal
import time

import numpy as np
import pytest
import yaml

from tests.runs.support import Command, contents, trivmap
from trivmap.store.samples import SampleReader

CARD = {
    "seed": 5,
    "dtype": "float64",
    "lattice": [4],
    "action": {"kind": "free", "m_sq": 0.8},
    "model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "fourier"}]},
    "training": {
        "steps": 240,
        "batch": [{"steps": 150, "batch": 8}, {"steps": 90, "batch": 16}],
        "optimizer": {"kind": "adam", "learning_rate": {"schedule": "cosine", "peak": 0.01, "warmup": 20}},
        "ema": 0.9,
        "clip": 5.0,
        "temperature": {"start": 2.0},
        "evaluate": {"every": 60},
        "checkpoint": {"every": 20},
        "chunk": 3,
    },
    "sampling": {"chains": 2, "proposals": 24_000, "part": 500, "save_fields": True, "thin": 7, "batch": 250},
}
MARKS = sorted({*range(3, 241, 3), *range(60, 241, 60), *range(20, 241, 20), 150})


def weights(run):
    (path,) = (run / "model").glob("weights-*.eqx")
    return path.read_bytes()


def metrics(run, only=lambda record: True):
    """The records without what a clock says."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("seconds", None)
        record.get("evaluation", {}).pop("seconds", None)
    return [record for record in records if only(record)]


def last_step(run):
    """The step of the last whole line of metrics, 0 before there is one."""
    path = run / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def wait_for(condition, process, seconds=100):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.running, process.result()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder):
    done = trivmap("train", "card.yaml", "--out", "undisturbed", folder=folder)
    assert done.code == 0, done.err
    return folder / "undisturbed"


def assert_trained_alike(run, undisturbed):
    assert weights(run) == weights(undisturbed)
    assert metrics(run) == metrics(undisturbed)
    ours, theirs = (json.loads((path / "summary.json").read_text()) for path in (run, undisturbed))
    for key in ("steps", "configurations", "status", "evaluation"):
        assert ours["training"][key] == theirs["training"][key]
    milestones = [
        {target: value and (value["steps"], value["configurations"]) for target, value in each.items()}
        for each in (ours["training"]["acceptance_milestones"], theirs["training"]["acceptance_milestones"])
    ]
    assert milestones[0] == milestones[1]
    assert milestones[0]["0.9"] is not None


def test_metrics_have_every_step_once(undisturbed):
    assert [record["step"] for record in metrics(undisturbed, lambda r: "evaluation" not in r)] == MARKS
    assert [record["step"] for record in metrics(undisturbed, lambda r: "evaluation" in r)] == [60, 120, 180, 240]
    assert metrics(undisturbed)[-1]["configurations"] == 150 * 8 + 90 * 16


def test_training_killed_again_and_again_ends_bit_identical(folder, undisturbed):
    run, rng = folder / "killed", random.Random(3)
    process = Command("train", "card.yaml", "--out", "killed", folder=folder)
    killed_at = []
    for _ in range(3):
        reached = last_step(run)
        wait_for(lambda reached=reached: last_step(run) > reached, process)
        time.sleep(rng.uniform(0, 0.4))
        process.signal(signal.SIGKILL)
        assert process.result().code == -signal.SIGKILL
        killed_at.append(last_step(run))
        process = Command("train", "--resume", "killed", folder=folder)
    done = process.result()
    assert done.code == 0, done.err
    assert 0 < min(killed_at) < 240 and len(set(killed_at)) > 1
    assert_trained_alike(run, undisturbed)


def test_training_interrupted_ends_cleanly_and_goes_on_bit_identical(folder, undisturbed):
    run = folder / "interrupted"
    arguments = ("train", "card.yaml", "--out", "interrupted")
    for number, beyond in ((signal.SIGINT, 60), (signal.SIGTERM, 150)):
        process = Command(*arguments, folder=folder)
        wait_for(lambda beyond=beyond: last_step(run) > beyond, process)
        process.signal(number)
        stopped = process.result()
        assert stopped.code == 128 + number
        step = last_step(run)
        assert stopped.err.splitlines()[-1] == (
            f"trivmap: interrupted at step {step} of 240; continue with trivmap train --resume interrupted"
        )
        assert "Traceback" not in stopped.err
        assert beyond < step < 240
        assert (run / "checkpoints" / f"step-{step:08d}" / "manifest.json").exists()
        arguments = ("train", "--resume", "interrupted")
    done = trivmap(*arguments, folder=folder)
    assert done.code == 0, done.err
    assert_trained_alike(run, undisturbed)


def test_a_complete_training_is_left_as_it_is(folder, undisturbed):
    before = contents(undisturbed)
    done = trivmap("train", "--resume", undisturbed.name, folder=folder)
    assert done.code == 0
    assert "training is complete (240 steps)" in done.err
    assert contents(undisturbed) == before | {".lock": contents(undisturbed)[".lock"]}


def samples(run):
    with SampleReader(run) as reader:
        return {
            name: np.stack([reader.read(name, chain, 0, 10**9) for chain in range(reader.chains)])
            for name in ("log_weight", "accepted", "fields", *reader.names)
        }


def test_sampling_and_measuring_killed_end_bit_identical(folder, undisturbed):
    """The first part of the samples, then kills between and within parts, then one while measuring."""
    run = folder / "sampled"
    shutil.copytree(undisturbed, run)
    rng = random.Random(4)
    kills = []
    for _ in range(3):
        before = len(list((run / "samples").glob("part-*"))) if (run / "samples").exists() else 0
        process = Command("sample", "sampled", folder=folder)
        wait_for(lambda before=before: len(list((run / "samples").glob("part-*"))) > before, process)
        time.sleep(rng.uniform(0, 0.05))
        process.signal(signal.SIGKILL)
        process.result()
        kills.append(len(list((run / "samples").glob("part-*"))))
    assert kills[0] < 24
    assert trivmap("sample", "sampled", folder=folder).code == 0
    assert trivmap("sample", undisturbed.name, folder=folder).code == 0
    ours, theirs = samples(run), samples(undisturbed)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert values.shape == ours[name].shape
        assert values.tobytes() == ours[name].tobytes()
    assert theirs["fields"].shape == (2, -(-12_000 // 7), 4)
    assert np.all(np.any(theirs["fields"] != 0, axis=-1))

    process = Command("measure", "sampled", folder=folder)
    wait_for(lambda: (run / "observables.json").exists(), process)
    process.signal(signal.SIGKILL)
    process.result()
    results = [trivmap("measure", name, "--json", folder=folder) for name in ("sampled", undisturbed.name)]
    assert [done.code for done in results] == [0, 0]
    ours, theirs = (json.loads(done.out) for done in results)
    assert ours["observables"] == theirs["observables"]
    assert ours["log_z"] == theirs["log_z"]
    assert (run / "stages.json").read_bytes() == (undisturbed / "stages.json").read_bytes()


def test_sampling_interrupted_ends_cleanly(folder, undisturbed):
    run = folder / "terminated"
    shutil.copytree(undisturbed, run)
    shutil.rmtree(run / "samples", ignore_errors=True)
    (run / "samples.h5").unlink(missing_ok=True)
    process = Command("sample", run.name, folder=folder)
    wait_for(lambda: list((run / "samples").glob("part-*")), process)
    process.signal(signal.SIGTERM)
    stopped = process.result()
    assert stopped.code == 128 + signal.SIGTERM
    message = stopped.err.splitlines()[-1]
    assert message.startswith("trivmap: interrupted after ")
    assert message.endswith(f"of 12000 proposals per chain; continue with trivmap sample {run.name}")
    parts = len(list((run / "samples").glob("part-*")))
    assert f"after {500 * parts} of" in message
