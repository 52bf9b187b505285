"""The coupling at which the correlation length has a wanted value: the line of constant physics."""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from trivmap._types import Key
from trivmap.errors import InputError
from trivmap.estimate import Estimate, parenthesis
from trivmap.lattice import Lattice
from trivmap.observables.estimators import correlation_length
from trivmap.runs.progress import NoProgress, Progress, shown
from trivmap.samplers import ClusterCycle
from trivmap.simulation import ClusterChains
from trivmap.streams import distinct
from trivmap.studies.coupling_line import CouplingLine
from trivmap.studies.reweighting import Ensemble, MultiHistogram, joined
from trivmap.studies.tuned import Simulation, TooFewCycles, Tuning

_CHAINS, _BLOCKS = 4, 10
_PILOT = 400
"""Cycles per chain of a pilot simulation."""
_SHORTEST = 0.1
"""Correlation length, in sites, below which the estimator gives only noise."""
_CLOSE = 0.25
"""Largest |log(xi / wanted)| of a pilot at which the actual tuning starts."""
_OVERLAP = 3.0
"""Simulations enter the estimate within this many standard deviations of the energy, 1/sigma_E, in the coupling."""
_LEAST_SHARE = 0.3
_LEAST = 100
"""Cycles per chain of the shortest simulation that counts."""
_PART = 2000
_STEPS_OF_SEARCH = 40


def tune(
    lattice: Lattice,
    key: Key,
    *,
    quartic: float,
    notation: str = "bosetti2015",
    ratio: float = 4.0,
    accuracy: float = 0.005,
    bracket: tuple[float, float] | None = None,
    cycles: int = 4_000_000,
    threads: int | None = None,
    progress: Progress | None = None,
    found: Callable[[Tuning], object] = lambda tuning: None,
) -> Tuning:
    """The coupling of phi^4 at which L / xi = `ratio`, L the largest extent, xi `correlation_length`.

    Short cluster simulations locate the coupling from the starting `bracket`, which need not contain it. Longer ones
    then refine it, all joined by reweighting in the coupling (`MultiHistogram`), until its error corresponds to a
    relative error of xi of `accuracy` (one standard deviation, jackknife over 40 blocks).

    Args:
        lattice: the lattice.
        key: the key of all random numbers.
        quartic: the quartic coupling, which stays fixed.
        notation: the notation of the couplings; the first one is searched: beta, kappa or m^2.
        ratio: the wanted L / xi.
        accuracy: the wanted relative error of xi.
        bracket: where the search begins.
        cycles: most cluster cycles, in all chains and simulations together, not counting warm-up.
        threads: threads of the simulations (None: all).
        progress: where progress is shown.
        found: called with every estimate that has an error.

    Raises:
        InputError: for arguments out of range, and if no coupling within reach gives the ratio.
        TooFewCycles: if `cycles` do not suffice for the accuracy: it has the coupling that was found, with its error.
    """
    if cycles < _CHAINS * _PILOT:
        raise InputError(
            f"cycles: must be at least {_CHAINS * _PILOT}, the cycles of one pilot simulation ({_CHAINS} chains of "
            f"{_PILOT}), got {cycles}"
        )
    if threads is not None and threads < 1:
        raise InputError(f"threads: must be at least 1, got {threads}; leave it out for all processors")
    line = CouplingLine(notation, quartic, lattice.dimension)
    if not (0 < ratio < math.inf and 0 < accuracy < 0.5):
        raise InputError(f"ratio, accuracy: need ratio > 0 and 0 < accuracy < 0.5, got {ratio} and {accuracy}")
    wanted = max(lattice.shape) / ratio
    if wanted < _SHORTEST:
        raise InputError(
            f"ratio: {ratio:g} asks for a correlation length of {wanted:.2g} sites, too short to be measured; "
            f"choose at most {max(lattice.shape) / _SHORTEST:g}"
        )
    if bracket is not None:
        least = 0 if line.sign > 0 else -math.inf
        if not least < bracket[0] < bracket[1] < math.inf:
            wanted_form = "0 < low < high" if line.sign > 0 else "low < high"
            raise InputError(f"bracket: needs {wanted_form}, got {bracket[0]} and {bracket[1]}")
        low, high = sorted(line.sign * end for end in bracket)
        bracket = low, high
    search = _Search(lattice, key, line, ratio, cycles, threads, progress or NoProgress(), found)
    return search.refined(search.place(bracket), accuracy)


class _Search:
    """The simulations so far, and the estimates from them; all couplings are positions on the line."""

    def __init__(
        self,
        lattice: Lattice,
        key: Key,
        line: CouplingLine,
        ratio: float,
        cycles: int,
        threads: int | None,
        progress: Progress,
        found: Callable[[Tuning], object],
    ):
        self.lattice, self.key, self.line, self.ratio = lattice, key, line, ratio
        self.cycles, self.threads, self.progress, self.found = cycles, threads, progress, found
        self.wanted = max(lattice.shape) / ratio
        self.ensembles: list[Ensemble] = []
        self.made: list[Simulation] = []

    def place(self, bracket: tuple[float, float] | None) -> float:
        """A coupling where xi is near the wanted value, by bisection on log xi."""
        lowest, highest = self.line.reach
        low, high = bracket or self.line.start
        low, high = float(np.clip(low, lowest, highest)), float(np.clip(high, lowest, highest))
        at_low = self.pilot(low)
        while at_low > 0:
            if low == lowest:
                raise self.out_of_reach(low, "longer")
            low, high = self.line.below(low, high), low
            at_low = self.pilot(low)
        at_high = self.pilot(high)
        while at_high < 0:
            if high == highest:
                raise self.out_of_reach(high, "shorter")
            low, at_low, high = high, at_high, self.line.above(low, high)
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

    def out_of_reach(self, t: float, how: str) -> InputError:
        xi, line = self.made[-1].correlation_length.value, self.line
        low, high = sorted(line.sign * end for end in line.reach)
        return InputError(
            f"ratio: no {line.name} between {low:.4g} and {high:.4g} gives L/xi = {self.ratio:g} at "
            f"{line.quartic_name} = {line.quartic:g}: at {line.name} = {line.sign * t:.4g} the correlation length "
            f"{xi:.4g} is still {how} than the wanted {self.wanted:.4g}; choose another ratio"
        )

    def refined(self, t: float, accuracy: float) -> Tuning:
        """Simulate at the present estimate, join and estimate again, until the error is small enough."""
        steps = 4 * _PILOT
        while True:
            if self.left >= _LEAST:
                self.simulate(t, min(steps, self.left))
            estimate, slope, share = self.estimate(t)
            relative = slope * estimate.error
            inside = share > _LEAST_SHARE and abs(estimate.value - t) * slope < _CLOSE
            xi, sign = Estimate(self.wanted, relative * self.wanted), self.line.sign
            coupling = Estimate(sign * estimate.value, estimate.error)
            found = Tuning(self.lattice.shape, self.line, self.ratio, coupling, xi, sign * slope, list(self.made))
            known = math.isfinite(estimate.error) and math.isfinite(relative)
            if known:
                self.found(found)
            if inside and relative <= accuracy:
                return found
            t = float(np.clip(estimate.value, *self.line.reach)) if math.isfinite(estimate.value) else t
            if self.left < _LEAST:
                raise TooFewCycles(self.short_of(coupling, relative, accuracy), found if known else None)
            if inside:
                # The missing cycles, if the error falls like the root of their number, and a few more.
                missing = self.near(t)[1] * ((1.05 * relative / accuracy) ** 2 - 1)
                steps = int(np.clip(missing, steps / 2, 8 * steps))

    @property
    def left(self) -> int:
        """Cycles of each chain that may still be spent."""
        return (self.cycles - sum(each.cycles for each in self.made)) // _CHAINS

    def short_of(self, estimate: Estimate, relative: float, accuracy: float) -> str:
        """The sentence about cycles that do not suffice, with the result so far."""
        used = sum(each.cycles for each in self.made)
        name = self.line.name
        found = f"{name} = {parenthesis(*estimate)}" if math.isfinite(estimate.error) else f"no {name}"
        return (
            f"cycles: {used} of {self.cycles} cluster cycles give {found} for L/xi = {self.ratio:g}, with an error of "
            f"{100 * relative:.2g}% on the correlation length, not the wanted {100 * accuracy:g}%; allow more cycles "
            "or a larger error"
        )

    def pilot(self, t: float) -> float:
        """log(xi / wanted) of a short simulation; -inf if it sees no correlation."""
        if self.left < _PILOT:
            tried = ", ".join(f"{each.coupling:.4g}" for each in self.made)
            raise InputError(
                f"cycles: {self.cycles} are spent before a {self.line.name} with L/xi near {self.ratio:g} is found "
                f"(tried: {tried}); allow more, or give a bracket near it"
            )
        xi = self.simulate(t, _PILOT).correlation_length.value
        return math.log(xi / self.wanted) if xi > 0 else -math.inf

    def simulate(self, t: float, steps: int) -> Simulation:
        """Run the chains at a coupling, `steps` cycles each after the warm-up."""
        action, coupling = self.line.action(t), self.line.sign * t
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
                energy = self.line.energy(part.observables, self.lattice.volume)
                parts.append((energy, part.observables["momentum_two_point"]))
                self.progress.update(stop, **{self.line.name: coupling})
        energy, modes = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
        values = {"zero": modes[..., 0], "lowest": modes[..., 1]}
        self.ensembles.append(Ensemble(t, energy, values))
        whole, jackknife = joined(self.ensembles[-1:], _BLOCKS)
        estimates = [self.xi(each, t) for each in jackknife]
        xi = Estimate(self.xi(whole, t), _jackknife_error(np.array(estimates)))
        self.made.append(Simulation(coupling, steps * _CHAINS, xi))
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
        lowest, highest = self.line.reach
        ends = max(lowest, beta - step), min(highest, beta + step)
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
