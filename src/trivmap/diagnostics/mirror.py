"""Check that a map found both mirror images, from its density at a configuration and at the reflected one."""

import math

import numpy as np
from numpy.typing import ArrayLike

SMALLEST_OVERLAP = 0.2
"""Overlap of the map with its mirror image below which a sector is missing."""


def mirror_overlap(log_density: ArrayLike, mirrored: ArrayLike) -> float:
    """Mean over proposals of 2 q(-phi) / (q(phi) + q(-phi)), in [0, 1].

    It is 1 for a map that is symmetric under phi -> -phi, and 0 for a map that never proposes the mirror images of its
    proposals.

    Args:
        log_density: log q(phi) of proposals, shape (n,).
        mirrored: log q(-phi), shape (n,).
    """
    gap = np.asarray(log_density, np.float64) - np.asarray(mirrored, np.float64)
    return float(np.mean(2 / (1 + np.exp(np.clip(gap, -700, 700)))))


def mirror_reason(overlap: float) -> str | None:
    """The reason why a map with this overlap has missed a sector of an even action; None if it has not."""
    if overlap >= SMALLEST_OVERLAP:
        return None
    share = "unknown" if math.isnan(overlap) else f"{overlap:.2g}"
    return (
        "a sector is missing: the action is even, but the map gives mirror images different densities (overlap "
        f"{share}, at least {SMALLEST_OVERLAP:g}); train a map with z2: true"
    )
