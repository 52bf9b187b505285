"""A run that costs seconds: a free field whose base is nearly right. Fixtures of it are in conftest.py."""

import json
import os
import shutil

from trivmap.cards.card import RunCard
from trivmap.runs import pipeline
from trivmap.runs.progress import NoProgress
from trivmap.store.directory import RunDirectory

CARD = {
    "seed": 2,
    "lattice": [4],
    "action": {"kind": "free", "m_sq": 0.5},
    "model": {"base": {"kind": "free-field", "mass_squared": 0.6}, "maps": []},
    "training": {
        "steps": 30,
        "batch": 16,
        "optimizer": {"kind": "sgd", "learning_rate": 1e-3},
        "evaluate": {"every": 10},
        "chunk": 5,
    },
    "sampling": {
        "chains": 2,
        "proposals": 2400,
        "part": 400,
        "save_fields": True,
        "thin": 3,
        "batch": 200,
        "probe": False,
    },
    "measure": {"stages": {"proposals": 64}},
}


def card(**changes) -> RunCard:
    data = json.loads(json.dumps(CARD))
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (data[section] if section else data)[key] = value
    return RunCard.from_data(data)


def created(folder, **changes) -> RunDirectory:
    return pipeline.create(card(**changes), folder)


def copied(run, folder) -> RunDirectory:
    shutil.copytree(run.root, folder)
    return RunDirectory.open(folder)


class Signaling(NoProgress):
    """Sends a signal to this process at a given update."""

    def __init__(self, at, number=15):
        self.at, self.number, self.seen = at, number, []

    def update(self, done, **figures):
        self.seen.append(done)
        if len(self.seen) == self.at:
            os.kill(os.getpid(), self.number)
