"""The tables of docs/performance.md, from what the benchmarks keep in benchmarks/results."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trivmap.reports.formats import parenthesis


def benchmark(name: str) -> dict[str, Any] | None:
    """What `benchmarks/results/NAME.json` holds, None if that benchmark has not been run."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def not_measured(name: str) -> str:
    """In place of the table of a benchmark that has not been run."""
    return f"Nothing is measured yet; `python -m benchmarks {name}` does it.\n"


def throughput() -> str:
    """Proposals per second, with one thread and with one per core."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("sampling")
    lines = ["| L | proposals/s, one thread | a thread per core | ratio | cores used |", "|---|---|---|---|---|"]
    for row in result["sizes"]:
        rate = [f"{row[key]:.0f}" for key in ("proposals_per_second", "proposals_per_second_threads")]
        lines.append(
            f"| {row['extent']} | {' | '.join(rate)} | {row['speedup_threads']:.2f} | {row['cores_used_threads']:.2f} |"
        )
    steps, cores = result["sizes"][0]["steps"], result["machine"]["processors"]
    lines += [
        "",
        f"{steps} integration steps of five evaluations each; {cores} cores; jax {result['versions']['jax']}.",
    ]
    return "\n".join(lines) + "\n"


def time_of_a_proposal() -> str:
    """Microseconds of processor time per proposal, part by part."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("sampling")
    sizes = result["sizes"]
    heads = " | ".join(f"L={row['extent']}" for row in sizes)
    lines = [f"| part | {heads} |", "|---|" + "---|" * len(sizes)]
    for name in sizes[0]["microseconds"]:
        if name in ("velocity", "whole"):
            continue
        cells = []
        for row in sizes:
            value, whole = row["microseconds"][name], row["microseconds"]["whole"]
            cells.append(f"{short(value)} ({100 * value / whole:.1f} %)")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    sums, wholes = [row["sum"] for row in sizes], [row["microseconds"]["whole"] for row in sizes]
    for name, values in (("sum of these", sums), ("the whole, as it runs", wholes)):
        lines.append(f"| {name} | {' | '.join(short(value) for value in values)} |")
    return "\n".join(lines) + "\n"


def short(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine_limits() -> str:
    """The rates of the hot loop beside the limits of a core."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("sampling")
    most = result["limits"]
    lines = ["| | GFLOP/s | GB/s | 10^9 tanh/s |", "|---|---|---|---|"]
    lines.append(
        f"| limit of a core | {most['matmul_gflops']:.0f} (matrix product) | {most['cache_gbs']:.0f} in cache, "
        f"{most['memory_gbs']:.0f} in memory | {most['gtanh']:.2f} |"
    )
    for row in result["sizes"]:
        for name, rate in row["rates"].items():
            cells = [f"{rate[key]:.2f}" if rate[key] else "" for key in ("gflops", "gbs", "gtanh")]
            lines.append(f"| L={row['extent']}, {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def kernels_table() -> str:
    """Ways to apply a kernel, by size and number of features."""
    result = benchmark("kernels")
    if result is None:
        return not_measured("kernels")
    names = ("matrix", "circulant", "axes", "fft", "slices")
    lines = [f"| L | features | {' | '.join(names)} | taken |", "|---|---|" + "---|" * (len(names) + 1)]
    for row in result["cases"]:
        cells = [f"{row['nanoseconds'][name]:.0f}" if name in row["nanoseconds"] else "" for name in names]
        lines.append(f"| {row['extent']} | {row['features']} | {' | '.join(cells)} | {row['chosen']} |")
    return "\n".join(lines) + "\n"


def solvers_table() -> str:
    """diffrax beside the plain scan."""
    result = benchmark("solvers")
    if result is None:
        return not_measured("solvers")
    lines = ["| L | solver | forward, ms | ratio | with gradient, ms | ratio |", "|---|---|---|---|---|---|"]
    for row in result["cases"]:
        for name, forward in row["forward"].items():
            cells = [f"{c['milliseconds']:.3g} | {c['ratio']:.2f}" for c in (forward, row["gradient"][name])]
            lines.append(f"| {row['extent']} | {name} | {' | '.join(cells)} |")
    lines += ["", f"diffrax {result['versions']['diffrax']}, jax {result['versions']['jax']}."]
    return "\n".join(lines) + "\n"


def hmc_table() -> str:
    """Trajectories of hybrid Monte Carlo beside those of blackjax."""
    result = benchmark("hmc")
    if result is None:
        return not_measured("hmc")
    lines = [
        "| L | step size | trajectories/s | blackjax | ratio, clock | ratio, processors | accepted | blackjax |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["cases"]:
        own, other = (row[name] for name in ("trivmap", "blackjax"))
        rates = [f"{each['trajectories_per_second']:.0f}" for each in (own, other)]
        accepted = [parenthesis(each["acceptance"], each["error"]) for each in (own, other)]
        ratios = [f"{row['ratio'][clock]:.2f}" for clock in ("wall", "processor")]
        cells = [str(row["extent"]), f"{row['step_size']:g}", *rates, *ratios, *accepted]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"blackjax {result['versions']['blackjax']}, jax {result['versions']['jax']}."]
    return "\n".join(lines) + "\n"


def cluster_table() -> str:
    """Independent |m| a second and core of the cluster algorithm."""
    result = benchmark("cluster")
    if result is None:
        return not_measured("cluster")
    lines = ["| L | beta | update | us a cycle | tau_int | independent a second |", "|---|---|---|---|---|---|"]
    for row in result["cases"]:
        for name in ("swendsen-wang", "wolff"):
            found = row[name]
            cells = [str(row["extent"]), f"{row['beta']:g}", name, f"{1e6 * found['seconds_per_cycle']:.0f}"]
            cells += [parenthesis(*found[key].values()) for key in ("tau_int", "independent_per_second")]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "throughput": throughput,
    "time-of-a-proposal": time_of_a_proposal,
    "machine-limits": machine_limits,
    "kernels": kernels_table,
    "hmc": hmc_table,
    "cluster": cluster_table,
    "solvers": solvers_table,
}
