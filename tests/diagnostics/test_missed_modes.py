"""Configurations of the target under a map that covers it, and under one that misses a part."""

import numpy as np
import pytest

from trivmap.diagnostics.missed_modes import missed_modes


def drawn(rng, s, proposals, share=0.0, shape=(8, 128)):
    """log w of proposals and of the target, normal of width s; a `share` of the target at weights e^12 larger."""
    configurations = s * rng.normal(size=shape) + s * s
    missed = rng.random(shape) < share
    return s * rng.normal(size=proposals), np.where(missed, 12.0, configurations)


@pytest.mark.parametrize("in_equilibrium", [True, False])
@pytest.mark.parametrize("proposals", [2000, 100_000])
@pytest.mark.parametrize("s", [0.05, 1.0, 1.6, 2.2])
def test_a_map_that_covers_the_target_is_never_accused(s, proposals, in_equilibrium):
    rng = np.random.default_rng(int(100 * s) + proposals)
    for _ in range(30):
        found = missed_modes(*drawn(rng, s, proposals), in_equilibrium=in_equilibrium)
        assert not found.missed


@pytest.mark.parametrize("s", [0.1, 0.5, 1.0])
def test_a_missing_part_is_seen(s):
    rng = np.random.default_rng(3)
    for _ in range(20):
        found = missed_modes(*drawn(rng, s, 100_000, 0.03, (8, 512)))
        assert found.missed
        assert found.found > found.expected + 0.02


def test_chains_out_of_equilibrium_speak_only_as_a_whole():
    rng = np.random.default_rng(4)
    proposals, configurations = drawn(rng, 0.5, 20_000)
    configurations[:1] = 12.0
    assert not missed_modes(proposals, configurations, in_equilibrium=False).missed
    configurations[:2] = 12.0
    assert missed_modes(proposals, configurations, in_equilibrium=False).missed


def test_unusable_weights_say_nothing():
    assert not missed_modes(np.full(100, -np.inf), np.zeros((2, 10))).missed
    assert not missed_modes(np.zeros(5), np.zeros((2, 10))).missed


def test_weights_that_overflow_are_larger_than_any():
    proposals, configurations = drawn(np.random.default_rng(5), 0.5, 20_000)
    configurations[:, ::4] = np.nan
    found = missed_modes(proposals, configurations)
    assert found.missed and found.found > 0.2
