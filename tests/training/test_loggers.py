"""Loggers receive what metrics.jsonl gets, and cannot spoil a training."""

import json
import struct

import jax
import pytest

import trivmap
from tests.runs.small_run import CARD
from trivmap.actions import FreeScalar
from trivmap.bases import FreeField
from trivmap.bijections import Chain
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.training import TensorBoard, fit
from trivmap.training.loggers import Logger, Loggers, scalars

pytestmark = pytest.mark.usefixtures("optax_mixes_dtypes")
LATTICE, ACTION = Lattice([4]), FreeScalar(0.5, 1)


class Notes:
    """A logger that keeps everything; it fails at the third record if it is `broken`."""

    def __init__(self, broken=False):
        self.records, self.closed, self._broken = [], 0, broken

    def log(self, step, scalars):
        self.records.append((step, dict(scalars)))
        if self._broken and len(self.records) == 3:
            raise OSError("no space")

    def close(self):
        self.closed += 1


def events(folder):
    """(step, name, value) of every scalar in the event files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            # A length with its checksum, and as many bytes with theirs.
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            found += [(event.step, each.tag, each.simple_value) for each in event.summary.value]
    return found


def flow():
    return Flow(FreeField(LATTICE, mass=0.8, dtype="float64"), Chain(LATTICE, []))


def test_scalars_of_a_record():
    record = {"step": 3, "loss": 1.5, "name": "no number", "flag": True, "nothing": None}
    record["evaluation"] = {"ess": {"value": 0.5, "error": 0.1}, "proposals": 64}
    assert dict(scalars(record)) == {
        "step": 3.0, "loss": 1.5, "evaluation/ess": 0.5, "evaluation/ess_error": 0.1, "evaluation/proposals": 64.0,
    }  # fmt: skip


def test_fit(tmp_path):
    notes = Notes()
    assert isinstance(notes, Logger)
    fit(flow(), ACTION, jax.random.key(0), steps=4, batch=32, loggers=[notes, TensorBoard(tmp_path / "logs")])
    assert notes.closed == 1 and [step for step, _ in notes.records] == [1, 2, 3, 4, 4]
    assert {"loss", "ess", "batch"} <= notes.records[0][1].keys()
    assert 0 < notes.records[-1][1]["evaluation/acceptance"] <= 1
    written = events(tmp_path / "logs")
    assert [(step, value) for step, name, value in written if name == "loss"] == [
        (step, pytest.approx(values["loss"], rel=1e-6)) for step, values in notes.records[:4]
    ]


def test_a_run(tmp_path):
    notes = Notes()
    run = trivmap.run(CARD, tmp_path / "run", loggers=[notes])
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert notes.closed == 1 and len(notes.records) == len(records)
    for (step, values), record in zip(notes.records, records, strict=True):
        assert step == record["step"] and values.get("loss") == record.get("loss")
    assert run.summary["training"]["steps"] == 30


def test_one_that_fails_is_left_out():
    notes, broken, said = Notes(), Notes(broken=True), []
    loggers = Loggers([broken, notes], said.append)
    for step in range(5):
        loggers.log({"step": step, "loss": 1.0})
    loggers.close()
    assert len(broken.records) == 3 and len(notes.records) == 5 and (broken.closed, notes.closed) == (0, 1)
    assert said == ["Notes gets no more records, the training continues: OSError('no space')"]


def test_a_training_survives_it():
    with pytest.warns(UserWarning, match="Notes gets no more records, the training continues"):
        _, evaluation = fit(flow(), ACTION, jax.random.key(0), steps=4, batch=32, loggers=[Notes(broken=True)])
    assert evaluation.acceptance.value > 0


def test_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"TensorBoard: needs the package tensorboardx.*trivmap\[tensorboard\]"):
        TensorBoard(tmp_path)
