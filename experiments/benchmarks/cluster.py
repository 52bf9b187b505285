"""Independent |m| a second of the cluster algorithm, one chain on one core: `python -m experiments.benchmarks cluster`.

Embedded clusters and two Metropolis sweeps of 2D phi^4 on the line xi = L/4, only m measured. Seconds of a cycle are
those of the processor, tau_int is that of the same cycles; prints independent |m| = 1 / (2 tau_int seconds) and keeps
it in results/benchmarks/cluster.json. `--quick` looks at L=32 with a tenth of the cycles, and keeps nothing.
"""

import time
from typing import Any

import equinox as eqx
import jax
import numpy as np

from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from trivmap.actions import Phi4
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.estimate import Estimate
from trivmap.lattice import Lattice
from trivmap.observables.measure import measure_order
from trivmap.samplers import ClusterCycle, SwendsenWang, Wolff
from trivmap.simulation import ClusterChains
from trivmap.studies.comparison_result import independent_per_second

PACKAGES = ("trivmap", "numba", "jax", "jaxlib")
LAM = 0.5
# (L, beta, cycles).
SIZES = ((32, 0.6614, 40_000), (64, 0.6743, 20_000), (128, 0.6807, 8_000))
UPDATES = {"swendsen-wang": SwendsenWang(), "wolff": Wolff()}


def measured(extent: int, beta: float, cycles: int, update: SwendsenWang | Wolff) -> dict[str, Any]:
    """Processor seconds of a cycle, tau_int of |m| in cycles, and what follows."""
    action, lattice = Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=LAM), Lattice((extent, extent))
    kernel = ClusterCycle(action, lattice, update=update)
    chains = ClusterChains(
        kernel, jax.random.key(extent), chains=1, warmup=300, measure=eqx.Partial(measure_order, action)
    )
    state = chains.start()
    # Compiles what measures.
    _, state = chains.part(state, 0, chains.stride)
    begun = time.process_time()
    part, _ = chains.part(state, chains.stride, chains.stride + cycles)
    seconds = (time.process_time() - begun) / cycles
    tau_int = autocorrelation_time(np.abs(part.observables["magnetization"]))
    rate = independent_per_second(tau_int, Estimate(seconds, 0.0))
    return {"seconds_per_cycle": seconds, "tau_int": tau_int._asdict(), "independent_per_second": rate._asdict()}


def main(arguments: list[str]) -> None:
    parser = benchmark("cluster", __doc__)
    parser.add_argument("--quick", action="store_true", help="L=32 only, a tenth of the cycles, and keep nothing")
    options = parser.parse_args(arguments)
    entries = []
    for extent, beta, cycles in SIZES[: 1 if options.quick else None]:
        entry: dict[str, Any] = {"extent": extent, "beta": beta, "cycles": cycles}
        for name, update in UPDATES.items():
            found = measured(extent, beta, cycles // (10 if options.quick else 1), update)
            rate, tau_int = found["independent_per_second"], found["tau_int"]
            print(
                f"L={extent:4} {name:14} {1e6 * found['seconds_per_cycle']:7.1f} us a cycle, "
                f"tau_int {tau_int['value']:.2f} +- {tau_int['error']:.2f}, "
                f"{rate['value']:.0f} +- {rate['error']:.0f} independent |m| a second and core",
                flush=True,
            )
            entry[name] = found
        entries.append(entry)
    if not options.quick:
        keep("cluster", PACKAGES, {"lam": LAM, "cases": entries})
