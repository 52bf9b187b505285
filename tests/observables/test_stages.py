"""Along the map: a free-field flow whose every stage is a known Gaussian."""

import json

import jax
import numpy as np
import pytest

from tests.oracles import FreeFieldOracle
from trivmap.bases import Gaussian
from trivmap.bijections import Chain, FourierDiagonal, Rescale
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.observables import FlowStages, along_the_map

M_SQ, LATTICE = 0.5, Lattice((6, 4))


@pytest.fixture(scope="module")
def summary():
    maps = [FourierDiagonal(LATTICE, mass_squared=M_SQ, dtype="float32"), Rescale(LATTICE, dtype="float32")]
    flow = Flow(Gaussian(LATTICE, dtype="float32"), Chain(LATTICE, maps))
    return along_the_map(flow, jax.random.key(0), proposals=16384)


def test_two_point_function_and_correlation_length_of_each_stage(summary):
    assert [stage.name for stage in summary.stages] == ["base", "1 FourierDiagonal", "2 Rescale"]
    assert summary.proposals == 16384
    propagator = FreeFieldOracle((6, 4), -1.0, 2 + M_SQ / 2).propagator
    free = np.array([propagator[LATTICE.orbits == orbit].mean() for orbit in range(len(LATTICE.orbit_sizes))])
    white = np.eye(len(free))[0]
    for stage, exact in zip(summary.stages, [white, free, free], strict=True):
        pulls = (np.array(stage.two_point) - exact) / np.array(stage.two_point_error)
        assert np.max(np.abs(pulls)) < 4.5
        assert max(stage.two_point_error) < 0.02
    for stage in summary.stages[1:]:
        assert abs(stage.correlation_length - M_SQ**-0.5) < 4 * stage.correlation_length_error
        assert stage.correlation_length_error < 0.05
        exact = [1 / M_SQ, 1 / (M_SQ + 4 * np.sin(np.pi / 6) ** 2)]
        pulls = np.subtract(stage.momentum_two_point, exact) / stage.momentum_two_point_error
        assert np.max(np.abs(pulls)) < 4
        assert stage.untrusted is None


def test_histograms_are_the_gaussian_densities(summary):
    propagator = FreeFieldOracle((6, 4), -1.0, 2 + M_SQ / 2).propagator
    widths = [(1.0, 1 / 24), (propagator[0, 0], 1 / (24 * M_SQ)), (propagator[0, 0], 1 / (24 * M_SQ))]
    for stage, variances in zip(summary.stages, widths, strict=True):
        for histogram, variance in zip((stage.field, stage.magnetization), variances, strict=True):
            edges, density, error = map(np.array, (histogram.edges, histogram.density, histogram.error))
            assert len(edges) == len(density) + 1 == len(error) + 1 == 61
            assert 0.99 < np.sum(density) * (edges[1] - edges[0]) <= 1 + 1e-12
            fine = (edges[:-1, None] + (edges[1] - edges[0]) * (np.arange(20) + 0.5) / 20) / np.sqrt(variance)
            exact = np.mean(np.exp(-(fine**2) / 2), axis=1) / np.sqrt(2 * np.pi * variance)
            central = exact > 0.05 * exact.max()
            pulls = (density - exact)[central] / error[central]
            assert np.mean(pulls**2) == pytest.approx(1, abs=0.8)  # errors from 16 batches are known to 18%
            assert np.max(np.abs(pulls)) < 5


def test_white_noise_has_no_correlation_length_to_speak_of(summary):
    base = summary.stages[0]
    assert (base.correlation_length is None) == (base.untrusted is not None)
    assert base.correlation_length is None or base.correlation_length < 3 * base.correlation_length_error + 0.2


def test_round_trip_through_json(summary):
    assert FlowStages.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary


def test_too_few_batches_are_refused():
    flow = Flow(Gaussian(LATTICE, dtype="float32"), Chain(LATTICE, []))
    with pytest.raises(InputError, match="at least 8 batches"):
        along_the_map(flow, jax.random.key(0), proposals=70, batch=10)
