"""The tables of docs/explanation/performance.md, from what the benchmarks keep in results/benchmarks."""

from collections.abc import Callable, Mapping
from typing import Any

from experiments.keeping import RESULTS, kept, markdown, not_measured
from trivmap.reports.formats import parenthesis


def benchmark(name: str) -> dict[str, Any] | None:
    """What `results/benchmarks/NAME.json` holds, None if that benchmark has not been run."""
    return kept(name, RESULTS / "benchmarks")


def measured_with(result: Mapping[str, Any], package: str) -> str:
    """The versions of another package and of JAX."""
    return f"{package} {result['versions'][package]}, jax {result['versions']['jax']}."


def throughput() -> str:
    """Proposals per second, with one thread and with one per core."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("benchmarks sampling")
    rows = []
    for row in result["sizes"]:
        cells = [f"{row[key]:.0f}" for key in ("extent", "proposals_per_second", "proposals_per_second_threads")]
        rows.append(cells + [f"{row[key]:.2f}" for key in ("speedup_threads", "cores_used_threads")])
    table = markdown(["L", "proposals/s, one thread", "a thread per core", "ratio", "cores used"], rows)
    steps, cores = result["sizes"][0]["steps"], result["machine"]["processors"]
    how = f"{steps} integration steps of five evaluations each; {cores} cores; jax {result['versions']['jax']}."
    return f"{table}\n\n{how}\n"


def time_of_a_proposal() -> str:
    """Microseconds of processor time per proposal, part by part."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("benchmarks sampling")
    sizes = result["sizes"]
    rows = []
    for name in sizes[0]["microseconds"]:
        if name in ("velocity", "whole"):
            continue
        cells = []
        for row in sizes:
            value, whole = row["microseconds"][name], row["microseconds"]["whole"]
            cells.append(f"{short(value)} ({100 * value / whole:.1f} %)")
        rows.append([name, *cells])
    sums, wholes = [row["sum"] for row in sizes], [row["microseconds"]["whole"] for row in sizes]
    for name, values in (("sum of these", sums), ("the whole, as it runs", wholes)):
        rows.append([name, *map(short, values)])
    return markdown(["part", *(f"L={row['extent']}" for row in sizes)], rows) + "\n"


def short(value: float) -> str:
    """Three digits, and no powers of ten."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine_limits() -> str:
    """The rates of the hot loop beside the limits of a core."""
    result = benchmark("sampling")
    if result is None:
        return not_measured("benchmarks sampling")
    most = result["limits"]
    memory = f"{most['cache_gbs']:.0f} in cache, {most['memory_gbs']:.0f} in memory"
    rows = [["limit of a core", f"{most['matmul_gflops']:.0f} (matrix product)", memory, f"{most['gtanh']:.2f}"]]
    for row in result["sizes"]:
        for name, rate in row["rates"].items():
            cells = [f"{rate[key]:.2f}" if rate[key] else "" for key in ("gflops", "gbs", "gtanh")]
            rows.append([f"L={row['extent']}, {name}", *cells])
    return markdown(["part of the map", "GFLOP/s", "GB/s", "10^9 tanh/s"], rows) + "\n"


def kernels_table() -> str:
    """Ways to apply a kernel, by size and number of features."""
    result = benchmark("kernels")
    if result is None:
        return not_measured("benchmarks kernels")
    names = ("matrix", "circulant", "axes", "fft", "slices")
    rows = []
    for row in result["cases"]:
        cells = [f"{row['nanoseconds'][name]:.0f}" if name in row["nanoseconds"] else "" for name in names]
        rows.append([str(row["extent"]), str(row["features"]), *cells, row["chosen"]])
    return markdown(["L", "features", *names, "taken"], rows) + "\n"


def solvers_table() -> str:
    """diffrax beside the plain scan."""
    result = benchmark("solvers")
    if result is None:
        return not_measured("benchmarks solvers")
    rows = []
    for row in result["cases"]:
        for name, forward in row["forward"].items():
            cells = [str(row["extent"]), name]
            for timed in (forward, row["gradient"][name]):
                cells += [f"{timed['milliseconds']:.3g}", f"{timed['ratio']:.2f}"]
            rows.append(cells)
    table = markdown(["L", "solver", "forward, ms", "ratio", "with gradient, ms", "ratio"], rows)
    return f"{table}\n\n{measured_with(result, 'diffrax')}\n"


def hmc_table() -> str:
    """Trajectories of hybrid Monte Carlo beside those of blackjax."""
    result = benchmark("hmc")
    if result is None:
        return not_measured("benchmarks hmc")
    rows = []
    for row in result["cases"]:
        own, other = (row[name] for name in ("trivmap", "blackjax"))
        rates = [f"{each['trajectories_per_second']:.0f}" for each in (own, other)]
        accepted = [parenthesis(each["acceptance"], each["error"]) for each in (own, other)]
        ratios = [f"{row['ratio'][clock]:.2f}" for clock in ("wall", "processor")]
        rows.append([str(row["extent"]), f"{row['step_size']:g}", *rates, *ratios, *accepted])
    header = ["L", "step size", "trajectories/s", "blackjax", "ratio, clock", "ratio, processors"]
    header += ["accepted", "blackjax"]
    return f"{markdown(header, rows)}\n\n{measured_with(result, 'blackjax')}\n"


def cluster_table() -> str:
    """Independent |m| a second and core of the cluster algorithm."""
    result = benchmark("cluster")
    if result is None:
        return not_measured("benchmarks cluster")
    rows = []
    for row in result["cases"]:
        for name in ("swendsen-wang", "wolff"):
            found = row[name]
            cells = [str(row["extent"]), f"{row['beta']:g}", name, f"{1e6 * found['seconds_per_cycle']:.0f}"]
            rows.append(cells + [parenthesis(*found[key].values()) for key in ("tau_int", "independent_per_second")])
    return markdown(["L", "beta", "update", "us a cycle", "tau_int", "independent a second"], rows) + "\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "throughput": throughput,
    "time-of-a-proposal": time_of_a_proposal,
    "machine-limits": machine_limits,
    "kernels": kernels_table,
    "hmc": hmc_table,
    "cluster": cluster_table,
    "solvers": solvers_table,
}
