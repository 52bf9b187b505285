"""The overlap of a density with its mirror image."""

import numpy as np
import pytest

from trivmap.diagnostics.mirror import mirror_overlap, mirror_reason


def normal(x, mean):
    return -0.5 * (x - mean) ** 2


@pytest.mark.parametrize(("mean", "low", "high"), [(0.0, 1.0, 1.0), (0.5, 0.7, 0.9), (3.0, 0.0, 0.02)])
def test_overlap_of_shifted_normal_distributions(mean, low, high):
    x = mean + np.random.default_rng(0).normal(size=20_000)
    overlap = mirror_overlap(normal(x, mean), normal(-x, mean))
    # E_q [2 q(-x) / (q(x) + q(-x))] by quadrature.
    grid = np.linspace(-12, 12, 4801)
    q, mirrored = np.exp(normal(grid, mean)), np.exp(normal(-grid, mean))
    exact = np.sum(q * 2 * mirrored / (q + mirrored)) / q.sum()
    assert overlap == pytest.approx(exact, abs=0.01)
    assert low - 1e-12 <= overlap <= high + 1e-12
    assert (mirror_reason(overlap) is None) == (overlap >= 0.2)


def test_far_apart_densities_do_not_overflow():
    assert mirror_overlap([1e6], [-1e6]) == pytest.approx(0, abs=1e-300)
    assert mirror_overlap([-1e6], [1e6]) == 2
    assert "overlap unknown" in (mirror_reason(float("nan")) or "")
