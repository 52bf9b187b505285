"""A study of seconds: the free field on rings of 4 and 6 sites, the second from the trained map of the first."""

import time
from copy import deepcopy
from typing import Any

_DATA: dict[str, Any] = {
    "name": "small",
    "dimension": 1,
    "action": {"kind": "free"},
    "couplings": {4: {"m_sq": 0.8}, 6: {"m_sq": 0.6}},
    "extents": [4, 6],
    "seeds": [0],
    "targets": [0.5, 0.9999],
    "retries": 0,
    "series": {
        "fourier": {
            "transfer": True,
            "model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "fourier"}]},
            "training": {
                "steps": 60,
                "batch": 32,
                "optimizer": {"kind": "adam", "learning_rate": 0.03},
                "evaluate": {"every": 15, "proposals": 4096},
                "chunk": 3,
            },
            "sampling": {"kind": "flow", "chains": 2, "proposals": 800, "probe": False},
            "measure": {"stages": {"proposals": 64}},
        }
    },
}


def small(**changes: Any) -> dict[str, Any]:
    """The data of the card with changes of its first level."""
    return deepcopy(_DATA) | changes


def series(**changes: Any) -> dict[str, Any]:
    """Its one series with changes, under the name it has."""
    return {"fourier": deepcopy(_DATA["series"]["fourier"]) | changes}


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.1)
