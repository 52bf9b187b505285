"""The same numbers from 1, 2 and 4 devices, up to rounding."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.devices.measured import COUNTS, GAUSS_NEWTON, XLA_FLAGS

TOLERANCE = 1e-12
"""Of float64, relative to the largest entry."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """By number of devices, what `measured` has found, in one process that has as many as the most of them."""
    path = tmp_path_factory.mktemp("devices") / "found.npz"
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(max(COUNTS)), "XLA_FLAGS": XLA_FLAGS}
    command = [sys.executable, "-m", "tests.devices.measured", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(path) as file:
        everything = dict(file)
    return {
        count: {name.partition("/")[2]: value for name, value in everything.items() if name.startswith(f"{count}/")}
        for count in COUNTS
    }


def same(found, begins):
    """What is named so from one device, after a comparison with what the other numbers of devices give."""
    named = {name: value for name, value in found[1].items() if name.startswith(begins)}
    assert named
    for name, one in named.items():
        for count in COUNTS[1:]:
            other = found[count][name]
            assert other.shape == one.shape and other.dtype == one.dtype
            if one.dtype.kind == "f":
                tolerance = TOLERANCE * np.nanmax(np.abs(one))
                np.testing.assert_allclose(other, one, rtol=TOLERANCE, atol=tolerance, err_msg=f"{count}/{name}")
            else:
                assert np.array_equal(other, one), f"{count}/{name}"
    return named


@pytest.mark.parametrize("objective", ["path-gradient", "reverse-kl"])
def test_a_step_of_first_order(found, objective):
    """Its gradient, and what it notes, with a batch of 10 configurations."""
    moved = same(found, f"{objective}/")[f"{objective}/moved"]
    assert np.all(moved != 0)


@pytest.mark.parametrize("name", [name for name, _ in GAUSS_NEWTON])
def test_two_steps_of_gauss_newton(found, name):
    """Parameters, and what the steps note of their residuals, with a batch of 30."""
    assert np.any(same(found, f"{name}/")[f"{name}/moved"])


def test_log_weights_of_an_evaluation(found):
    log_weights = same(found, "log_weights")["log_weights"]
    assert log_weights.shape == (2, 30) and len(np.unique(log_weights)) == 60


def test_proposals(found):
    """Log-weights, decisions, observables and fields of proposals in batches of 18."""
    assert len(np.unique(same(found, "proposals/")["proposals/log_weight"])) == 80


def test_chains(found):
    """Six chains with a step size adapted in their warm-up."""
    assert len(np.unique(same(found, "chains/")["chains/energy"])) == 6


def test_every_entry_has_its_own_key(found):
    draws = same(found, "shares")["shares"]
    assert len(np.unique(draws)) == 7
