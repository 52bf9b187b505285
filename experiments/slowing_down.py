"""Critical slowing down along the line xi = L/4: `python -m experiments.slowing_down [--only hmc/64] [--flow-64 DIR]`.

Autocorrelation times of |m| and m^2, in steps of each sampler, and the exponents z of tau ~ xi^z. Writes
slowing-down.json and slowing-down.png in results/; the JSON is written after every entry, and entries that it
holds are kept: `--only SAMPLER` or `--only SAMPLER/L` (repeatable) measures those alone, again.

The flows at L = 8, 16 and 32 are those of the presets phi4-L8, phi4-L16 and phi4-L32: run here, unless `--flow-8 DIR`
and so on names a finished run directory. The flow at L = 64 is left out without `--flow-64`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from scipy.stats import chi2

from experiments.keeping import RESULTS, kept, store

jax.config.update("jax_enable_x64", True)

from experiments.power_law import LINE, power_law  # noqa: E402
from trivmap.actions import Phi4  # noqa: E402
from trivmap.diagnostics.autocorrelation import autocorrelation_time  # noqa: E402
from trivmap.diagnostics.convergence import r_hat  # noqa: E402
from trivmap.estimate import Estimate  # noqa: E402
from trivmap.lattice import Lattice  # noqa: E402
from trivmap.loading import load  # noqa: E402
from trivmap.observables.history import chain_series  # noqa: E402
from trivmap.observables.measure import measure_order  # noqa: E402
from trivmap.reports.figures.style import SERIES, new_figure, picture, styled  # noqa: E402
from trivmap.samplers import HMC, OMELYAN, ActionPotential, ClusterCycle, FlowPotential, FourierMass  # noqa: E402
from trivmap.simulation import AbstractDriver, ClusterChains, MarkovChains  # noqa: E402
from trivmap.store.directory import RunDirectory  # noqa: E402
from trivmap.store.samples import SampleReader  # noqa: E402

NAME = "slowing-down"
SAMPLERS = ("hmc", "hmc-fourier", "cluster", "flow", "trivialized-hmc")
CHAINS = {"hmc": 16, "hmc-fourier": 16, "cluster": 2, "trivialized-hmc": 8}
FOURIER_MASS = 0.25
NO_POWER_LAW = 1e-3
"""Chance of so large a chi^2, below which the exponent of a fit means nothing and is not shown."""
# Steps of each chain: some 1000 tau_int in all, for errors of about a tenth.
STEPS = {
    "hmc": {8: 3000, 16: 6000, 32: 16000, 64: 40000},
    "hmc-fourier": {8: 1000, 16: 2000, 32: 16000, 64: 16000},
    "cluster": {8: 20000, 16: 20000, 32: 10000, 64: 5000},
    "trivialized-hmc": {8: 500, 16: 300, 32: 150, 64: 150},
}
WARMUP = {
    "hmc": {8: 300, 16: 300, 32: 1500, 64: 5000},
    "hmc-fourier": {8: 300, 16: 300, 32: 500, 64: 1500},
    "cluster": 300,
    "trivialized-hmc": 60,
}


def theory(extent: int) -> tuple[Lattice, Phi4]:
    """The lattice and the action on the line."""
    return Lattice([extent, extent]), Phi4.from_couplings("bosetti2015", 2, beta=LINE[extent], lam=0.5)


def driver(sampler: str, extent: int, flow_run: RunDirectory | None) -> AbstractDriver:
    """The chains of an entry, measuring m alone."""
    lattice, action = theory(extent)
    warmup = WARMUP[sampler]
    warmup = warmup if isinstance(warmup, int) else warmup[extent]
    common: dict[str, Any] = {
        "chains": CHAINS[sampler],
        "warmup": warmup,
        "measure": eqx.Partial(measure_order, action),
    }
    key = jax.random.key(extent)
    if sampler == "cluster":
        return ClusterChains(ClusterCycle(action, lattice), key, **common)
    kinetic, length, start = None, 1.0, "mixed"
    if sampler == "trivialized-hmc":
        assert flow_run is not None
        trained = load(flow_run.root)
        potential, length, start = FlowPotential(trained.flow, trained.action), 1.5, "hot"
    else:
        potential = ActionPotential(action, lattice, "float32")
        if sampler == "hmc-fourier":
            kinetic = FourierMass(lattice, m_sq=FOURIER_MASS, dtype="float32")
    kernel = HMC(potential, step_size=0.1, trajectory_length=length, integrator=OMELYAN, kinetic=kinetic)
    return MarkovChains(kernel, key, start=start, **common)


def times(series: np.ndarray) -> dict[str, Any]:
    """tau_int of |m| and m^2 from m, shape (chains, n)."""
    found = {"abs_magnetization": np.abs(series), "susceptibility": series**2}
    return {name: autocorrelation_time(values)._asdict() for name, values in found.items()}


def measured(sampler: str, extent: int, flow_run: RunDirectory | None) -> dict[str, Any]:
    """One entry."""
    began, processor = time.perf_counter(), time.process_time()
    entry: dict[str, Any]
    if sampler == "flow":
        assert flow_run is not None
        with SampleReader(flow_run.root) as reader:
            series = chain_series(reader, "magnetization")
        entry = {"acceptance": flow_run.summary()["sampling"]["acceptance"]["value"], "diagnostics": None}
    else:
        chains = driver(sampler, extent, flow_run)
        state = chains.start()
        part, state = chains.part(state, 0, STEPS[sampler][extent])
        series = part.observables["magnetization"]
        entry = {"acceptance": float(part.accepted.mean()), "diagnostics": chains.diagnostics(state)}
    if sampler == "hmc-fourier":
        entry["fourier_mass"] = FOURIER_MASS
    return {
        **times(series),
        "chains": len(series),
        "steps": series.shape[1],
        "r_hat": r_hat(series),
        **entry,
        "wall_seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - processor,
        "load": os.getloadavg()[0],
    }


def fits(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The exponents, from whatever lengths there are."""
    found: dict[str, Any] = {}
    for sampler in SAMPLERS:
        known = {int(extent): entry for extent, entry in entries.get(sampler, {}).items() if entry["r_hat"] < 1.1}
        for name in ("abs_magnetization", "susceptibility"):
            points = {extent: entry[name] for extent, entry in known.items() if np.isfinite(entry[name]["value"])}
            if len(points) > 1:
                law = power_law([extent / 4 for extent in points], [Estimate(**tau) for tau in points.values()])
                found.setdefault(sampler, {})[name] = {
                    "exponent": law.exponent._asdict(),
                    "amplitude": law.amplitude._asdict(),
                    "chi_squared": law.chi_squared,
                    "degrees": law.degrees,
                    "supported": bool(law.degrees == 0 or chi2.sf(law.chi_squared, law.degrees) > NO_POWER_LAW),
                }
    return found


def with_fits(entries: dict[str, Any]) -> dict[str, Any]:
    """What is kept: the entries, and the exponents that follow."""
    return {"entries": entries, "fits": fits(entries)}


@styled
def figure(content: dict[str, Any]) -> Any:
    """tau_int of |m| against xi with the fits."""
    drawn = new_figure(6.4, 4.4)
    axes = drawn.subplots()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for number, sampler in enumerate(SAMPLERS):
        entries = content["entries"].get(sampler, {})
        if not entries:
            continue
        xi = np.array([int(extent) / 4 for extent in entries])
        tau = np.array([list(entry["abs_magnetization"].values()) for entry in entries.values()])
        label, law = sampler, content["fits"].get(sampler, {}).get("abs_magnetization")
        if law and law["supported"]:
            label += rf", $z={law['exponent']['value']:.2f}\pm{law['exponent']['error']:.2f}$"
            axes.plot(xi, law["amplitude"]["value"] * xi ** law["exponent"]["value"], color=SERIES[number])
        style = {"marker": "osD^v"[number], "color": SERIES[number], "linestyle": ""}
        axes.errorbar(xi, tau[:, 0], yerr=tau[:, 1], label=label, markersize=5, **style)
    axes.set_xticks([2, 4, 8, 16], ["2", "4", "8", "16"])
    axes.set_xlabel(r"correlation length $\xi = L/4$")
    axes.set_ylabel(r"$\tau_\mathrm{int}$ of $|m|$ in steps")
    axes.legend(loc="upper left")
    return drawn


def wanted(only: list[str], kept: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The entries to measure: those named, or all that are not kept; the cheap ones first."""
    for extent in LINE:
        for sampler in SAMPLERS:
            named = sampler in only or f"{sampler}/{extent}" in only
            if named or (not only and str(extent) not in kept.get(sampler, {})):
                yield sampler, extent


def flow_runs(arguments: argparse.Namespace) -> Callable[[int], RunDirectory | None]:
    """The run of the flow at an extent: given, or made by running the preset; None at 64 unless given."""
    folder = Path(tempfile.mkdtemp())

    def at(extent: int) -> RunDirectory | None:
        given = getattr(arguments, f"flow_{extent}")
        if given is None and extent < 64:
            given = folder / f"phi4-L{extent}"
            if not given.exists():
                code = "from trivmap.cli import main; main()"
                command = [sys.executable, "-c", code, "run", given.name, "--out", str(given)]
                subprocess.run(command, check=True)
        return None if given is None else RunDirectory.open(given)

    return at


def main() -> None:
    """Measure what is wanted and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="SAMPLER[/L]")
    for extent in LINE:
        parser.add_argument(f"--flow-{extent}", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    content = kept(NAME) or {"entries": {}}
    run_at = flow_runs(arguments)
    for sampler, extent in wanted(arguments.only, content["entries"]):
        run = run_at(extent) if sampler in ("flow", "trivialized-hmc") else None
        if run is None and sampler in ("flow", "trivialized-hmc"):
            continue
        entry = measured(sampler, extent, run)
        entries = content["entries"].get(sampler, {}) | {str(extent): entry}
        content["entries"][sampler] = {str(e): entries[str(e)] for e in LINE if str(e) in entries}
        store(NAME, with_fits(content["entries"]))
        sys.stderr.write(f"{sampler}/{extent}: {entry['abs_magnetization']}, {entry['wall_seconds']:.0f} s\n")
    content = with_fits(content["entries"])
    store(NAME, content)
    (RESULTS / f"{NAME}.png").write_bytes(picture(figure(content)))


if __name__ == "__main__":
    main()
