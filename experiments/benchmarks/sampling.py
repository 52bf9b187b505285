"""Independent configurations per second of the presets' flow, and where the time goes.

Every part of a proposal is compiled and timed on its own, on the shapes of the driver, in turn with the whole; rates of
the hot loop stand beside what a core of this machine can do. Shares are of processor time.
"""

import os
from functools import partial

import jax

from experiments.benchmarks.clock import in_turn, medians, ratio
from experiments.benchmarks.limits import limits
from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from experiments.benchmarks.sampling_parts import STEPS, Model, Part, parts, preset_model
from trivmap.observables import measure
from trivmap.samplers import IndependenceMetropolis
from trivmap.simulation import ProposalChains, default_batch

PACKAGES = ("trivmap", "jax", "jaxlib", "numpy")
WHOLE, THREADED, VELOCITY = "whole", "whole, a thread per core", "velocity"
HOT = ("smearing", "features, divergence", "kernel")


def drivers(model: Model, batch: int, batches: int) -> dict[str, partial]:
    """The driver itself through so many batches, with one thread and with one per core."""
    kernel = IndependenceMetropolis(model.flow, model.action)
    options = {"chains": 1, "measure": partial(measure, model.action), "batch": batch}
    calls = {}
    for name, threads in ((WHOLE, 1), (THREADED, len(os.sched_getaffinity(0)))):
        driver = ProposalChains(kernel, jax.random.key(3), threads=threads, **options)
        calls[name] = partial(driver.part, driver.start(), 0, batches * batch)
    return calls


def table(model: Model, rounds: int, quick: bool) -> dict:
    """Microseconds per proposal of each part and of the whole, and the rates of the hot loop."""
    batch = default_batch(model.flow.lattice.volume)
    batch, batches = (max(64, batch // 16), 2) if quick else (batch, 2 * len(os.sched_getaffinity(0)))
    pieces = parts(model, batch)
    whole = drivers(model, batch, batches)
    turns = in_turn({name: part.call for name, part in pieces.items()} | whole, rounds=rounds)
    cost = {name: medians(values) for name, values in turns.items()}
    proposals = batch * batches
    micro = {name: 1e6 * cost[name].processor * p.times / p.configurations for name, p in pieces.items()}
    total = 1e6 * cost[WHOLE].processor / proposals
    return {
        "extent": model.extent,
        "steps": STEPS,
        "evaluations": model.evaluations,
        "micro_batch": model.micro_batch,
        "batch": batch,
        "proposals_per_second": proposals / cost[WHOLE].wall,
        "proposals_per_second_threads": proposals / cost[THREADED].wall,
        "speedup_threads": ratio(turns, WHOLE, THREADED),
        "processor_cost_threads": ratio(turns, THREADED, WHOLE, "processor"),
        "cores_used": cost[WHOLE].processor / cost[WHOLE].wall,
        "cores_used_threads": cost[THREADED].processor / cost[THREADED].wall,
        "microseconds": {**micro, "whole": total},
        "sum": sum(value for name, value in micro.items() if name != VELOCITY),
        "rates": {name: rates(pieces[name], cost[name].processor) for name in HOT} | {"hot loop": hot(pieces, cost)},
    }


def rates(part: Part, seconds: float) -> dict[str, float]:
    """GFLOP/s, GB/s and 10^9 tanh/s of a part, per processor second."""
    scale = part.configurations / seconds / 1e9
    return {"gflops": part.flops * scale, "gbs": part.traffic * scale, "gtanh": part.tanh * scale}


def hot(pieces: dict[str, Part], cost: dict) -> dict[str, float]:
    """The same of one evaluation of the velocity, as it runs: all parts in one program."""
    of_all = {key: sum(getattr(pieces[name], key) for name in HOT) for key in ("flops", "tanh", "traffic")}
    whole = pieces[VELOCITY]
    return rates(Part(whole.call, 1, whole.configurations, **of_all), cost[VELOCITY].processor)


def show(entry: dict, most: dict[str, float]) -> None:
    """The tables of one lattice."""
    print(
        f"\nL={entry['extent']}: {entry['steps']} steps of rk4, {entry['evaluations']} evaluations of the velocity, "
        f"{entry['micro_batch']} configurations at once\n"
        f"  one thread        {entry['proposals_per_second']:9.0f} proposals/s on {entry['cores_used']:.2f} cores\n"
        f"  a thread per core {entry['proposals_per_second_threads']:9.0f} proposals/s on "
        f"{entry['cores_used_threads']:.2f} cores, {entry['speedup_threads']:.2f} times as fast, "
        f"{entry['processor_cost_threads']:.2f} times the processor time"
    )
    total = entry["microseconds"]["whole"]
    for name, value in entry["microseconds"].items():
        rate = entry["rates"].get(name)
        line = f"  {name:20} {value:9.2f} us {100 * value / total:6.1f} %"
        if rate:
            line += f"   {rate['gflops']:6.2f} GFLOP/s  {rate['gbs']:6.2f} GB/s  {rate['gtanh']:5.2f} Gtanh/s"
        print(line)
    rate = entry["rates"]["hot loop"]
    print(
        f"  sum of the parts     {entry['sum']:9.2f} us {100 * entry['sum'] / total:6.1f} %  (without velocity, whole)"
    )
    print(
        f"  hot loop: {rate['gflops']:.2f} GFLOP/s ({100 * rate['gflops'] / most['matmul_gflops']:.0f} % of a matrix "
        f"product), {rate['gbs']:.2f} GB/s ({100 * rate['gbs'] / most['cache_gbs']:.0f} % of a triad in cache, "
        f"{100 * rate['gbs'] / most['memory_gbs']:.0f} % of one in memory), {rate['gtanh']:.2f} 10^9 tanh/s "
        f"({100 * rate['gtanh'] / most['gtanh']:.0f} % of tanh alone)",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    """Measure, print and keep."""
    parser = benchmark("sampling", __doc__)
    parser.add_argument("--quick", action="store_true", help="L=8 only, small batches, two rounds; nothing is kept")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which everything takes its turn")
    options = parser.parse_args(arguments)
    # As the command line of trivmap has it.
    jax.config.update("jax_enable_x64", True)
    rounds = 2 if options.quick else options.rounds
    most = limits(rounds)
    print(
        f"{len(os.sched_getaffinity(0))} cores; each at most {most['matmul_gflops']:.0f} GFLOP/s (matrix product), "
        f"{most['memory_gbs']:.1f} GB/s (triad in memory), {most['cache_gbs']:.0f} GB/s (in cache), "
        f"{most['gtanh']:.2f} 10^9 tanh/s"
    )
    entries = []
    for extent in (8,) if options.quick else (8, 16, 32):
        entries.append(table(preset_model(extent), rounds, options.quick))
        show(entries[-1], most)
    if not options.quick:
        keep("sampling", PACKAGES, {"limits": most, "sizes": entries})
