"""Exact answers for phi^4 on a ring, by the transfer matrix of the tests."""

import math

import numpy as np

from tests.oracles import ChainOracle
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard


def exact(card: RunCard) -> dict[str, float]:
    """Everything that the transfer matrix gives."""
    (extent,) = card.lattice
    c1, c2, c4 = build_action(card).coefficients
    ring = ChainOracle(extent, c1, c2, c4)
    correlator, absolute = ring.two_point, ring.abs_magnetization
    susceptibility = extent * ring.magnetization_squared
    distance = np.minimum(np.arange(extent), extent - np.arange(extent))
    at_k1 = float(correlator @ np.cos(2 * np.pi * distance / extent))
    return {
        "log_z": ring.log_z,
        "phi2": ring.phi2,
        "phi4": ring.phi4,
        "ising_energy": float(correlator[1]),
        "action_density": float(c1 * correlator[1] + c2 * ring.phi2 + c4 * ring.phi4),
        "magnetization": 0.0,
        "abs_magnetization": absolute,
        "susceptibility": susceptibility,
        "connected_susceptibility": susceptibility - extent * absolute**2,
        "binder": ring.binder,
        "correlation_length": math.sqrt(correlator.sum() / at_k1 - 1) / (2 * math.sin(math.pi / extent)),
        "correlation_length_second_moment": math.sqrt(correlator @ distance**2 / (2 * correlator.sum())),
        "schwinger_dyson": 1.0,
        "delta_h_symmetry": 1.0,
    }
