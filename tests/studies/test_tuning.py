"""Couplings found by simulation, against closed forms and the line of constant physics."""

import re

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from tests.oracles import ChainOracle
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.runs.progress import NoProgress
from trivmap.studies import tuning
from trivmap.studies.coupling_line import CouplingLine
from trivmap.studies.tuning import tune


class Listening(NoProgress):
    def __init__(self):
        self.heard = []

    def begin(self, task, total, done=0):
        self.heard.append((task, total))

    def update(self, done, **figures):
        self.heard.append(done)


def free_beta(xi, dimension):
    """lam = 0: S has c1 = -beta, c2 = 1, so that xi^2 = beta / (2 - 2 d beta)."""
    return 2 * xi**2 / (1 + 2 * dimension * xi**2)


class TestTune:
    @pytest.mark.parametrize(("shape", "ratio"), [((8,), 4.0), ((6, 6), 5.0), ((4, 6, 2), 6.0)], ids=str)
    def test_free_field(self, shape, ratio):
        found = tune(Lattice(shape), jax.random.key(1), quartic=0.0, ratio=ratio, accuracy=0.02)
        exact = free_beta(max(shape) / ratio, len(shape))
        assert abs(found.coupling.value - exact) < 3.5 * found.coupling.error
        xi = np.sqrt(found.coupling.value / (2 - 2 * len(shape) * found.coupling.value))
        assert abs(xi / (max(shape) / ratio) - 1) < 3.5 * 0.02
        # d log xi / d beta in closed form.
        slope = 0.5 / (exact * (1 - len(shape) * exact))
        assert found.slope == pytest.approx(slope, rel=0.1)
        assert found.correlation_length.error == pytest.approx(found.slope * found.coupling.error * max(shape) / ratio)

    def test_ring_is_the_transfer_matrix(self):
        def xi(beta):
            two_point = ChainOracle(8, -beta, 0.0, 0.5, points=120).two_point
            zero, lowest = two_point.sum(), two_point @ np.cos(2 * np.pi * np.arange(8) / 8)
            return np.sqrt((zero / lowest - 1) / (4 * np.sin(np.pi / 8) ** 2))

        exact = brentq(lambda beta: xi(beta) - 2, 0.2, 2.0, xtol=1e-5)
        found = tune(Lattice((8,)), jax.random.key(2), quartic=0.5, accuracy=0.01)
        assert abs(found.coupling.value - exact) < 3.5 * found.coupling.error
        assert found.slope * found.coupling.error <= 0.01

    @pytest.mark.parametrize(
        ("notation", "quartic", "between"),
        [("standard", 2.4, (-3, 3)), ("albergo2019", 1.0, (-3, 3)), ("nicoli2020", 0.3, (0.1, 1))],
    )
    def test_every_notation_on_the_ring(self, notation, quartic, between):
        line = CouplingLine(notation, quartic, 1)

        def xi(coupling):
            two_point = ChainOracle(8, *line.action(line.sign * coupling).coefficients, points=120).two_point
            zero, lowest = two_point.sum(), two_point @ np.cos(2 * np.pi * np.arange(8) / 8)
            return np.sqrt((zero / lowest - 1) / (4 * np.sin(np.pi / 8) ** 2))

        exact = brentq(lambda coupling: xi(coupling) - 2, *between, xtol=1e-5)
        found = tune(Lattice((8,)), jax.random.key(2), quartic=quartic, notation=notation, accuracy=0.01)
        assert abs(found.coupling.value - exact) < 3.5 * found.coupling.error
        assert found.action == {
            "kind": "phi4",
            "notation": notation,
            **line.couplings(line.sign * found.coupling.value),
        }
        steps = xi(exact + 1e-3), xi(exact - 1e-3)
        assert found.slope == pytest.approx(np.log(steps[0] / steps[1]) / 2e-3, rel=0.15)

    @pytest.mark.parametrize("notation", ["standard", "albergo2019"])
    def test_mass_of_the_free_field(self, notation):
        # xi of the estimator is 1/m, in both notations.
        found = tune(Lattice((6, 6)), jax.random.key(5), quartic=0.0, notation=notation, ratio=5.0, accuracy=0.02)
        assert abs(found.coupling.value - (5 / 6) ** 2) < 3.5 * found.coupling.error

    def test_the_same_line_in_two_notations(self):
        """kappa is beta / 2: every random number is the same, up to the fingerprint of the action."""
        found = {
            name: tune(Lattice((4, 4)), jax.random.key(6), quartic=0.5, notation=name, accuracy=0.02).coupling
            for name in ("bosetti2015", "nicoli2020")
        }
        beta, kappa = found["bosetti2015"], found["nicoli2020"]
        assert abs(beta.value - 2 * kappa.value) < 3.5 * np.hypot(beta.error, 2 * kappa.error)

    @pytest.mark.parametrize("bracket", [(0.01, 0.02), (0.5, 0.6), (2.0, 5.0)], ids=str)
    def test_line_of_constant_physics_from_any_bracket(self, bracket):
        """L = 8: beta = 0.576 within the error and the band of 1% on xi within which the line was confirmed."""
        found = tune(Lattice((8, 8)), jax.random.key(3), quartic=0.5, accuracy=0.01, bracket=bracket)
        assert abs(found.coupling.value - 0.576) < 3 * found.coupling.error + 0.01 / found.slope

    def test_tells_its_progress_and_repeats_itself(self):
        listening = Listening()
        first = tune(Lattice((4, 4)), jax.random.key(4), quartic=0.5, accuracy=0.03, progress=listening)
        second = tune(Lattice((4, 4)), jax.random.key(4), quartic=0.5, accuracy=0.03, threads=1)
        assert first == second
        assert first.cycles == sum(each.cycles for each in first.simulations)
        assert ("tune", 400) in listening.heard and 400 in listening.heard


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ratio": 0.0}, "ratio, accuracy: need"),
            ({"accuracy": 1.0}, "ratio, accuracy: need"),
            ({"quartic": -0.5}, "lam: must not be negative"),
            ({"quartic": -0.5, "notation": "standard"}, "g: must not be negative"),
            ({"quartic": np.nan}, "lam: must be a finite number"),
            ({"notation": "mine"}, "notation: 'mine' is unknown"),
            ({"bracket": (0.6, 0.5), "notation": "standard"}, "bracket: needs low < high, got 0.6 and 0.5"),
            ({"ratio": 1000.0}, "ratio: 1000 asks for a correlation length of 0.004 sites, .*; choose at most 40"),
            ({"bracket": (0.6, 0.5)}, "bracket: needs 0 < low < high, got 0.6 and 0.5"),
            (
                {"ratio": 1e-3, "quartic": 0.0},
                "ratio: no beta between .* is still shorter than the wanted 4000; choose",
            ),
            (
                {"ratio": 1e-4, "quartic": 0.0, "notation": "standard"},
                "ratio: no m_sq between 0.0001 and 1e[+]05 .* is still shorter than the wanted",
            ),
            (
                {"accuracy": 0.001, "cycles": 20_000},
                r"cycles: (19[6-9]..|20000) of 20000 cluster cycles give beta = 0\.4\d+\(\d+\) for L/xi = 4, with",
            ),
        ],
    )
    def test_one_sentence(self, options, message):
        with pytest.raises(InputError, match=message):
            tune(Lattice((4, 4)), jax.random.key(0), **{"quartic": 0.5} | options)


@pytest.mark.parametrize("cycles", [4000, 5000, 7000])
def test_no_more_cycles_are_spent_than_are_given(cycles, monkeypatch):
    spent = []
    simulate = tuning._Search.simulate
    monkeypatch.setattr(
        tuning._Search, "simulate", lambda self, beta, steps: [spent.append(4 * steps), simulate(self, beta, steps)][1]
    )
    with pytest.raises(InputError) as caught:
        tuning.tune(Lattice([8, 8]), jax.random.key(0), quartic=0.5, accuracy=0.002, cycles=cycles)
    assert cycles - 400 < sum(spent) <= cycles
    assert re.match(
        rf"cycles: {sum(spent)} of {cycles} cluster cycles give beta = 0\.5\d*\(\d+\) for L/xi = 4, with an error of "
        r"[\d.]+% on the correlation length, not the wanted 0\.2%; allow more cycles or a larger error",
        str(caught.value),
    )


def test_cycles_that_end_before_the_place_is_found():
    with pytest.raises(InputError, match=r"^cycles: 1600 are spent before a beta with L/xi near 4 is found"):
        tuning.tune(Lattice([8, 8]), jax.random.key(0), quartic=0.5, cycles=1600)
