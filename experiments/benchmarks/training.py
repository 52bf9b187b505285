"""Training throughput of trivmap beside flowjax and bijx: `python -m experiments.benchmarks training [--quick]`.

Prints, for each network, size and batch, the median configurations per second of every contender and the ratio of
trivmap's plain reverse-KL step to the fastest peer's, paired round by round; keeps it all in
results/benchmarks/training.json.
"""

import os
import statistics

from experiments.benchmarks import with_bijx, with_flowjax, with_trivmap
from experiments.benchmarks.cases import Build, Case
from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from experiments.benchmarks.timing import race, ratios

PACKAGES = ("trivmap", "flowjax", "bijx", "jax", "jaxlib", "equinox", "flax", "optax")
OURS, LIKE_THE_PEERS = "trivmap", "trivmap: reverse KL"


def contenders(network: str, quick: bool) -> dict[str, Build]:
    """Every way to write the network, by a name that begins with its library's."""
    table = {}
    for library, module in ((OURS, with_trivmap), ("flowjax", with_flowjax), ("bijx", with_bijx)):
        for name, build in {"dense": module.DENSE, "conv": module.CONV}[network].items():
            if not (quick and library == OURS and f"{library}: {name}" != LIKE_THE_PEERS):
                table[f"{library}: {name}"] = build
    return table


def main(arguments: list[str]) -> None:
    parser = benchmark("training", __doc__)
    parser.add_argument("--quick", action="store_true", help="L=8 and batch 64 only, trivmap's reverse KL only")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which all contenders take their turn")
    options = parser.parse_args(arguments)
    sizes = [(8, 64)] if options.quick else [(8, 64), (8, 1024), (16, 64), (16, 1024)]
    entries = []
    print(f"{len(os.sched_getaffinity(0))} processors, float32, one optimizer step of Adam in a compiled loop")
    for network in ("dense", "conv"):
        for extent, batch in sizes:
            case = Case(network, extent, batch)
            # About a tenth of a second to a second a turn, whatever the case.
            steps = max(2, (8192 if network == "dense" else 512) * 64 // (batch * case.volume))
            timings = race(case, contenders(network, options.quick), steps, options.rounds)
            peers = [name for name in timings if not name.startswith(OURS)]
            paired = ratios(timings, LIKE_THE_PEERS, peers)
            print(f"\n{case}")
            for name, timing in timings.items():
                print(f"  {name:26} {timing.throughput(case):12.0f} /s   compiled in {timing.compile_seconds:5.1f} s")
            print(
                f"  ratio to the fastest peer  {statistics.median(paired):12.2f}     "
                f"({min(paired):.2f} ... {max(paired):.2f})",
                flush=True,
            )
            entries.append(
                {
                    "network": network,
                    "extent": extent,
                    "batch": batch,
                    "configurations_per_second": {n: t.throughput(case) for n, t in timings.items()},
                    "compile_seconds": {name: timing.compile_seconds for name, timing in timings.items()},
                    "ratio": {"median": statistics.median(paired), "min": min(paired), "max": max(paired)},
                }
            )
    if not options.quick:
        keep("training", PACKAGES, {"cases": entries})
