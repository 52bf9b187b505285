"""The coupling at which the correlation length has a wanted value: the line of constant physics."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from trivmap._types import Key
from trivmap.actions import Phi4
from trivmap.errors import InputError
from trivmap.estimate import Estimate, parenthesis
from trivmap.lattice import Lattice
from trivmap.observables.estimators import correlation_length
from trivmap.runs.progress import NoProgress, Progress, shown
from trivmap.samplers import ClusterCycle
from trivmap.simulation import ClusterChains
from trivmap.streams import distinct
from trivmap.studies.reweighting import Ensemble, MultiHistogram, joined

_CHAINS, _BLOCKS = 4, 10
_PILOT = 400
"""Cycles per chain of a pilot simulation."""
_SHORTEST = 0.1
"""Correlation length, in sites, below which the estimator gives only noise."""
_CLOSE = 0.25
"""Largest |log(xi / wanted)| of a pilot at which the actual tuning starts."""
_OVERLAP = 3.0
"""Simulations enter the estimate within this many standard deviations of the energy, 1/sigma_E, in beta."""
_LEAST_SHARE = 0.3
_LEAST = 100
"""Cycles per chain of the shortest simulation that counts."""
_PART = 2000
_STEPS_OF_SEARCH = 40


class Simulation(NamedTuple):
    """One simulation: its coupling, its cycles in all chains, and its own xi."""

    beta: float
    cycles: int
    correlation_length: Estimate


@dataclass(frozen=True)
class Tuning:
    """The outcome: `beta` with its standard error, and xi at that beta (the wanted value) with the error of xi there.

    error(beta) = error(xi) / (d xi / d beta). `slope`: d log xi / d beta.
    """

    lattice: tuple[int, ...]
    lam: float
    ratio: float
    beta: Estimate
    correlation_length: Estimate
    slope: float
    simulations: list[Simulation] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return sum(each.cycles for each in self.simulations)


class TooFewCycles(InputError):
    """The allowed cycles do not suffice for the wanted error; `found` is the outcome so far, if it has an error.

    Args:
        message: the sentence.
        found: the outcome with its error.
    """

    def __init__(self, message: str, found: Tuning | None):
        super().__init__(message)
        self.found = found


def tune(
    lattice: Lattice,
    key: Key,
    *,
    lam: float,
    ratio: float = 4.0,
    accuracy: float = 0.005,
    bracket: tuple[float, float] | None = None,
    cycles: int = 4_000_000,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Tuning:
    """beta (arXiv:1506.08587) at which L / xi = `ratio` for a given lam, L the largest extent, xi `correlation_length`.

    Short cluster simulations locate beta from the starting `bracket`, which need not contain it. Longer ones then
    refine it, all joined by reweighting in beta (`MultiHistogram`), until the error of beta corresponds to a relative
    error of xi of `accuracy` (one standard deviation, jackknife over 40 blocks). `threads`: None for all.

    At most `cycles` are spent, in all chains and simulations together, not counting warm-up.

    Raises `InputError` for arguments out of range, and if no beta within reach gives the ratio. Raises `TooFewCycles`
    if `cycles` do not suffice for the accuracy: it has the beta that was found, with its error.
    """
    if cycles < _CHAINS * _PILOT:
        raise InputError(
            f"cycles: must be at least {_CHAINS * _PILOT}, the cycles of one pilot simulation ({_CHAINS} chains of "
            f"{_PILOT}), got {cycles}"
        )
    if threads is not None and threads < 1:
        raise InputError(f"threads: must be at least 1, got {threads}; leave it out for all processors")
    if not (0 < ratio < math.inf and 0 < accuracy < 0.5 and 0 <= lam < math.inf):
        raise InputError(
            f"ratio, accuracy, lam: need ratio > 0, 0 < accuracy < 0.5 and lam >= 0, got {ratio}, {accuracy} and {lam}"
        )
    wanted = max(lattice.shape) / ratio
    if wanted < _SHORTEST:
        raise InputError(
            f"ratio: {ratio:g} asks for a correlation length of {wanted:.2g} sites, too short to be measured; "
            f"choose at most {max(lattice.shape) / _SHORTEST:g}"
        )
    if bracket is not None and not 0 < bracket[0] < bracket[1] < math.inf:
        raise InputError(f"bracket: needs 0 < low < high, got {bracket[0]} and {bracket[1]}")
    search = _Search(lattice, key, lam, ratio, cycles, threads, progress or NoProgress())
    return search.refined(search.place(bracket), accuracy)


class _Search:
    """The simulations so far, and the estimates from them."""

    def __init__(
        self,
        lattice: Lattice,
        key: Key,
        lam: float,
        ratio: float,
        cycles: int,
        threads: int | None,
        progress: Progress,
    ):
        self.lattice, self.key, self.lam, self.ratio = lattice, key, lam, ratio
        self.cycles, self.threads, self.progress = cycles, threads, progress
        self.wanted = max(lattice.shape) / ratio
        self.ensembles: list[Ensemble] = []
        self.made: list[Simulation] = []
        unit = 1 / lattice.dimension
        # Without a quartic term the integral exists only for beta < 1/d.
        self.reach = (0.002 * unit, 20 * unit if lam > 0 else unit * (1 - 1e-4))

    def place(self, bracket: tuple[float, float] | None) -> float:
        """A beta where xi is near the wanted value, by bisection on log xi."""
        lowest, highest = self.reach
        low, high = bracket or (0.5 / self.lattice.dimension, 1.2 / self.lattice.dimension)
        low, high = float(np.clip(low, lowest, highest)), float(np.clip(high, lowest, highest))
        at_low = self.pilot(low)
        while at_low > 0:
            if low == lowest:
                raise self.out_of_reach(low, "longer")
            high, low = low, max(lowest, low / 2)
            at_low = self.pilot(low)
        at_high = self.pilot(high)
        while at_high < 0:
            if high == highest:
                raise self.out_of_reach(high, "shorter")
            low, at_low, high = high, at_high, min(highest, 1.5 * high)
            at_high = self.pilot(high)
        for _ in range(_STEPS_OF_SEARCH):
            if min(abs(at_low), abs(at_high)) < _CLOSE:
                break
            middle = (low + high) / 2
            at_middle = self.pilot(middle)
            if at_middle < 0:
                low, at_low = middle, at_middle
            else:
                high, at_high = middle, at_middle
        return low if abs(at_low) < abs(at_high) else high

    def out_of_reach(self, beta: float, how: str) -> InputError:
        xi = self.made[-1].correlation_length.value
        return InputError(
            f"ratio: no beta between {self.reach[0]:.4g} and {self.reach[1]:.4g} gives L/xi = {self.ratio:g} at "
            f"lam = {self.lam:g}: at beta = {beta:.4g} the correlation length {xi:.4g} is still {how} than the wanted "
            f"{self.wanted:.4g}; choose another ratio"
        )

    def refined(self, beta: float, accuracy: float) -> Tuning:
        """Simulate at the present estimate, join and estimate again, until the error is small enough."""
        steps = 4 * _PILOT
        while True:
            if self.left >= _LEAST:
                self.simulate(beta, min(steps, self.left))
            estimate, slope, share = self.estimate(beta)
            relative = slope * estimate.error
            inside = share > _LEAST_SHARE and abs(estimate.value - beta) * slope < _CLOSE
            xi = Estimate(self.wanted, relative * self.wanted)
            found = Tuning(self.lattice.shape, self.lam, self.ratio, estimate, xi, slope, self.made)
            if inside and relative <= accuracy:
                return found
            beta = float(np.clip(estimate.value, *self.reach)) if math.isfinite(estimate.value) else beta
            if self.left < _LEAST:
                known = math.isfinite(estimate.error) and math.isfinite(relative)
                raise TooFewCycles(self.short_of(estimate, relative, accuracy), found if known else None)
            if inside:
                # The missing cycles, if the error falls like the root of their number, and a few more.
                missing = self.near(beta)[1] * ((1.05 * relative / accuracy) ** 2 - 1)
                steps = int(np.clip(missing, steps / 2, 8 * steps))

    @property
    def left(self) -> int:
        """Cycles of each chain that may still be spent."""
        return (self.cycles - sum(each.cycles for each in self.made)) // _CHAINS

    def short_of(self, estimate: Estimate, relative: float, accuracy: float) -> str:
        """The sentence about cycles that do not suffice, with the result so far."""
        used = sum(each.cycles for each in self.made)
        found = f"beta = {parenthesis(*estimate)}" if math.isfinite(estimate.error) else "no beta"
        return (
            f"cycles: {used} of {self.cycles} cluster cycles give {found} for L/xi = {self.ratio:g}, with an error of "
            f"{100 * relative:.2g}% on the correlation length, not the wanted {100 * accuracy:g}%; allow more cycles "
            "or a larger error"
        )

    def pilot(self, beta: float) -> float:
        """log(xi / wanted) of a short simulation; -inf if it sees no correlation."""
        if self.left < _PILOT:
            tried = ", ".join(f"{each.beta:.4g}" for each in self.made)
            raise InputError(
                f"cycles: {self.cycles} are spent before a beta with L/xi near {self.ratio:g} is found (tried: "
                f"{tried}); allow more, or give a bracket near it"
            )
        xi = self.simulate(beta, _PILOT).correlation_length.value
        return math.log(xi / self.wanted) if xi > 0 else -math.inf

    def simulate(self, beta: float, steps: int) -> Simulation:
        """Run the chains at a coupling, `steps` cycles each after the warm-up."""
        action = Phi4.from_couplings("bosetti2015", self.lattice.dimension, beta=beta, lam=self.lam)
        driver = ClusterChains(
            ClusterCycle(action, self.lattice),
            distinct(self.key, len(self.ensembles), self.lattice, action),
            chains=_CHAINS,
            warmup=100,
            two_point=False,
            threads=self.threads,
        )
        state, parts = driver.start(), []
        with shown(self.progress, "tune", steps):
            for start in range(0, steps, _PART):
                stop = min(start + _PART, steps)
                part, state = driver.part(state, start, stop)
                parts.append({name: part.observables[name] for name in ("ising_energy", "momentum_two_point")})
                self.progress.update(stop, beta=beta)
        links, modes = (np.concatenate([part[name] for part in parts], axis=1) for name in parts[0])
        values = {"zero": modes[..., 0], "lowest": modes[..., 1]}
        self.ensembles.append(Ensemble(beta, links * (self.lattice.dimension * self.lattice.volume), values))
        whole, jackknife = joined(self.ensembles[-1:], _BLOCKS)
        estimates = [self.xi(each, beta) for each in jackknife]
        xi = Estimate(self.xi(whole, beta), _jackknife_error(np.array(estimates)))
        self.made.append(Simulation(beta, steps * _CHAINS, xi))
        return self.made[-1]

    def near(self, beta: float) -> tuple[list[Ensemble], int]:
        """The simulations whose energies overlap with those at `beta`, and their cycles per chain."""
        nearest = min(self.ensembles, key=lambda each: abs(each.beta - beta))
        width = _OVERLAP / float(nearest.energy.std())
        found = [each for each in self.ensembles if abs(each.beta - beta) <= max(width, abs(nearest.beta - beta))]
        return found, sum(each.energy.shape[1] for each in found)

    def estimate(self, beta: float) -> tuple[Estimate, float, float]:
        """The beta sought with its error, d log xi / d beta, and the effective share of samples there."""
        whole, jackknife = joined(self.near(beta)[0], _BLOCKS)
        step = _OVERLAP / float(self.ensembles[-1].energy.std())
        value = self.root(whole, beta, step)
        slope = (self.log_xi(whole, value + step / 20) - self.log_xi(whole, value - step / 20)) / (step / 10)
        samples = np.full(len(jackknife), value)
        for _ in range(3):
            samples -= [
                self.log_xi(each, each_value) / slope for each, each_value in zip(jackknife, samples, strict=True)
            ]
        return Estimate(value, _jackknife_error(samples)), slope, whole.effective_share(value)

    def root(self, histogram: MultiHistogram, beta: float, step: float) -> float:
        """The zero of the reweighted log(xi / wanted), or the end of the range that reweighting reaches."""
        ends = max(self.reach[0], beta - step), min(self.reach[1], beta + step)
        values = [self.log_xi(histogram, end) for end in ends]
        if values[0] < 0 < values[1]:
            return float(brentq(lambda x: self.log_xi(histogram, x), *ends, xtol=1e-9))
        return ends[0] if values[0] >= 0 else ends[1]

    def log_xi(self, histogram: MultiHistogram, beta: float) -> float:
        xi = self.xi(histogram, beta)
        return math.log(xi / self.wanted) if xi > 0 else -50.0

    def xi(self, histogram: MultiHistogram, beta: float) -> float:
        means = histogram.means(beta)
        modes = np.array([means["zero"], means["lowest"]])
        return float(np.nan_to_num(correlation_length({"momentum_two_point": modes}, self.lattice)))


def _jackknife_error(samples: np.ndarray) -> float:
    return float(np.sqrt((len(samples) - 1) * np.var(samples)))
