"""The outcome of a scaling study: tables, figures and one page for people, and CSV files for other programs."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from trivmap.cards.card import RunCard
from trivmap.estimate import Estimate
from trivmap.observables.catalog import CATALOG
from trivmap.reports.drawings import Drawing
from trivmap.reports.formats import NONE, count, csv_text, duration, estimate_cell, parenthesis
from trivmap.reports.page import Section, plain_table, render, write_page
from trivmap.reports.references import find_reference
from trivmap.reports.study_columns import complete, cost_columns, curve_columns, quality_columns
from trivmap.store.files import write_json, write_text
from trivmap.studies.scaling.analysis import COSTS, OBSERVED, study_result
from trivmap.studies.scaling.directory import StudyDirectory


def write_study(directory: StudyDirectory, failures: Mapping[str, str]) -> dict[str, Any]:
    """Analyze a study; write `study.json`, `study.html`, `runs.csv`, `fits.csv` and `figures/*.png`."""
    result = study_result(directory, failures, known_values)
    write_json(directory.result_path, result)
    pictures = draw(result)
    write_text(directory.root / "runs.csv", runs_text(result))
    write_text(directory.root / "fits.csv", fits_text(result))
    write_page(directory.page_path, page(directory, result, pictures), pictures)
    return result


def known_values(card: RunCard) -> Mapping[str, Estimate]:
    """Reference values of a card's observables."""
    found = find_reference(card.to_data()["action"], card.lattice)
    return found.observables if found else {}


def run_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """One line for every run."""
    targets = [f"{target:g}" for target in result["targets"]]
    header = ["run", "state", "parameters", "acceptance", "τ_int", *(f"to {target}" for target in targets)]
    header += ["configurations", "wall", "worst pull"]
    rows = []
    for run in result["runs"]:
        if run["state"] != "complete":
            rows.append([run["name"], run["state"], *[""] * (len(header) - 2)])
            continue
        reached = [run["reached"][target] for target in targets]
        spent, pulls = run["spent"], run["pulls"]
        worst = max(pulls, key=lambda name: abs(pulls[name])) if pulls else None
        rows.append(
            [
                run["name"],
                run["status"],
                count(run["parameters"]),
                estimate_cell(run["acceptance"]),
                estimate_cell(run["tau_int"]),
                *(count(round(cost["configurations"])) if cost else "not reached" for cost in reached),
                count(round(spent["configurations"])),
                duration(spent["seconds"]),
                f"{pulls[worst]:+.1f} ({CATALOG.short(worst)})" if worst else "",
            ]
        )
    return header, rows


def fit_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The exponents, one line for every series and target that has one."""
    header = ["series", "target", *(f"z of {cost}" for cost in COSTS), "chi^2 / dof", "L of the fit", "censored"]
    rows = []
    for (name, target), by_cost in _fits(result).items():
        fits = [by_cost[cost] for cost in COSTS]
        known = next((fit for fit in fits if fit.get("exponent")), None)
        if known is None:
            continue
        used = ", ".join(map(str, known["extents"]))
        left_out = [*map(str, fits[0]["censored"]), *(f"{extent} (not done)" for extent in fits[0]["incomplete"])]
        rows.append([name, target, *map(_exponent, fits), ", ".join(map(_fitness, fits)), used, ", ".join(left_out)])
    return header, rows


def not_fitted(result: Mapping[str, Any]) -> str:
    """The series and targets that `fit_rows` leaves out; empty if there are none."""
    missing: dict[str, list[str]] = {}
    for (label, target), by_cost in _fits(result).items():
        if not any(fit.get("exponent") for fit in by_cost.values()):
            missing.setdefault(label, []).append(target)
    if not missing:
        return ""
    every = list(dict.fromkeys(fit["target"] for fit in result["fits"]))
    each = "; ".join(
        f"{label} ({'all' if targets == every else ', '.join(targets)})" for label, targets in missing.items()
    )
    return f"No exponent, for lack of lattices at which every run reached the target, or of seeds: {each}."


def observable_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The physical results of the runs, with the pull against the reference if there is one."""
    done = complete(result)
    names = list(dict.fromkeys((*OBSERVED, *(name for run in done for name in run["observables"]))))
    rows = []
    for run in done:
        cells = [run["name"]]
        for name in names:
            found, pull = run["observables"].get(name), run["pulls"].get(name)
            text = estimate_cell(found)
            cells.append(f"{text} [{pull:+.1f}]" if pull is not None else text)
        rows.append([*cells, estimate_cell(run["log_z"])])
    return ["run", *(CATALOG.short(name) for name in names), "log Z"], rows


def conditions(result: Mapping[str, Any]) -> str:
    """The conditions under which the runs were timed."""
    done = complete(result)
    alone = sum(run["exclusive"] for run in done)
    hosts = len({run["host"] for run in done})
    again = sum(run["sessions"] > 1 for run in done)
    if result["threads"] is None:
        how = "Every run could use all processors of its machine: seconds compare only if one run ran at a time"
    else:
        threads = "one processor" if result["threads"] == 1 else f"{result['threads']} processors"
        how = f"{alone} of {len(done)} runs had {threads} each to themselves, among the runs of studies"
        if alone < len(done):
            how += ", the others shared some or were killed in between: seconds do not compare"
    loads = sorted(run["load"] for run in done)
    busy = f"load {loads[0]:.1f} to {loads[-1]:.1f} at the ends of the runs; " if loads else ""
    return (
        f"{how} ({busy}{hosts} {'machine' if hosts == 1 else 'machines'}), {again or 'none'} in more than one session. "
        "Seconds are wall time since the process started, in all sessions, with compilation and evaluation. They do "
        "not include work that a kill undid since the last checkpoint, but they include compiling again. Operations "
        "are the compiler's count of each loop's body times its iterations; the count omits iterations whose number "
        "is not known beforehand, and factorizations by a library. All costs of a run that starts from another run "
        "include the costs of that run."
    )


def runs_text(result: Mapping[str, Any]) -> str:
    """One line for every run, as CSV."""
    targets = [f"{target:g}" for target in result["targets"]]
    pairs = ("acceptance", "ess", "tau_int")
    header = ["name", "series", "settings", "extent", "seed", "state", "status", "parameters"]
    header += [name for pair in pairs for name in (pair, f"{pair}_error")]
    header += [f"{cost}_to_{target}" for target in targets for cost in COSTS]
    header += [f"{cost}_spent" for cost in COSTS]
    rows = []
    for run in result["runs"]:
        settings = "; ".join(f"{axis}={value}" for axis, value in run["settings"].items())
        cells: list[Any] = [run["name"], run["series"], settings, run["extent"], run["seed"], run["state"]]
        if run["state"] == "complete":
            cells += [run["status"], run["parameters"]]
            for pair in pairs:
                found = run[pair] or {"value": None, "error": None}
                cells += [found["value"], found["error"]]
            for target in targets:
                reached = run["reached"][target]
                cells += [reached[cost] if reached else "" for cost in COSTS]
            cells += [run["spent"][cost] for cost in COSTS]
        rows.append([*cells, *[""] * (len(header) - len(cells))])
    return csv_text(header, rows)


def fits_text(result: Mapping[str, Any]) -> str:
    """One line for every exponent, as CSV."""
    header = ["series", "target", "cost", "exponent", "exponent_error", "amplitude", "chi_squared", "degrees"]
    header += ["extents", "censored", "lower_bound"]
    rows = []
    for fit in result["fits"]:
        cells: list[Any] = [fit["label"], fit["target"], fit["cost"]]
        if fit.get("exponent"):
            cells += [fit["exponent"]["value"], fit["exponent"]["error"], fit["amplitude"]]
            cells += [fit["chi_squared"], fit["degrees"], " ".join(map(str, fit["extents"]))]
        else:
            cells += [""] * 6
        rows.append([*cells, " ".join(map(str, fit["censored"])), fit.get("lower_bound", "")])
    return csv_text(header, rows)


def draw(result: Mapping[str, Any]) -> list[Drawing]:
    """The figures; none before a run is complete."""
    from trivmap.reports.figures.study import acceptance_figure, cost_figure, quality_figure

    if not complete(result):
        return []
    pictures = [
        Drawing(
            f"cost_{target:g}", "costs", f"Cost to an acceptance of {target:g}",
            "Every seed separately. Bars: between two evaluations, one below the target and one above; markers: their "
            "middles; lines: power laws fitted to the middles. Arrows: runs that never reached the target; each "
            "arrow begins at the cost that the run spent, and the cost to the target is larger.",
            _reaching(result, f"{target:g}"),
            partial(cost_figure, result, f"{target:g}", COSTS), cost_columns(result, f"{target:g}"), True,
        )
        for target in result["targets"]
    ]  # fmt: skip
    return [
        *pictures,
        Drawing(
            "acceptance", "training", "Acceptance against configurations",
            "Evaluations on fresh proposals, one line per run.",
            "Acceptance of every run against the configurations that its training used, one panel for each L.",
            partial(acceptance_figure, result), curve_columns(result), True,
        ),
        Drawing(
            "quality", "quality", "Autocorrelation and size",
            "Left: tau_int of the independence chain against its acceptance. Right: parameters of the map.",
            "tau_int of the independence chain, which falls with the acceptance, and the number of parameters of the "
            "map against L.",
            partial(quality_figure, result), quality_columns(result), True,
        ),
    ]  # fmt: skip


def _reaching(result: Mapping[str, Any], target: str) -> str:
    """The number of runs that reached a target, in words."""
    done = complete(result)
    reached = sum(bool(run["reached"][target]) for run in done)
    exponents = [
        f"{fit['label']}: z of {fit['cost']} {_exponent(fit)}"
        for fit in result["fits"]
        if fit["target"] == target and fit.get("exponent")
    ]
    said = f"Costs against L on logarithmic scales; {reached} of {len(done)} runs reached the target."
    return f"{said} {'; '.join(exponents)}." if exponents else said


def page(directory: StudyDirectory, result: Mapping[str, Any], pictures: Sequence[Drawing]) -> str:
    """The HTML text."""
    action = ", ".join(f"{key} {value}" for key, value in result["action"].items())
    extents = ", ".join(str(extent) for extent in sorted({run["extent"] for run in result["runs"]}))
    unfinished = [f"{run['name']}: {run['reason'] or run['state']}" for run in result["runs"] if not _done(run)]
    note = (
        "Errors of z from the spread over seeds and the distance between evaluations, widened where the line does not "
        "fit (chi^2 / dof of the three). A lattice at which a run never reached the target is censored and left out of "
        "the fit; z is a lower bound (≥) if a run on a larger lattice spent more than the power law predicts and still "
        "missed the target."
    )
    return render(
        title=result["name"] or directory.root.resolve().name,
        subtitle=f"{result['dimension']}D, L = {extents}; {action}",
        description=result["description"],
        warnings=unfinished,
        sections=[
            Section("costs", "Cost against lattice", not_fitted(result), plain_table(fit_rows(result), note)),
            Section("training", "Training"),
            Section("quality", "Quality"),
            Section("runs", "Runs", table=plain_table(run_rows(result), conditions(result))),
            Section("results", "Results", table=plain_table(observable_rows(result), "In brackets: pulls, in errors.")),
            Section(
                "study",
                "The study",
                blocks=[{"title": "Study card (study.yaml)", "text": directory.card_path.read_text()}],
            ),
        ],
        pictures=pictures,
    )


def _done(run: Mapping[str, Any]) -> bool:
    return run["state"] == "complete"


def _fits(result: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Mapping[str, Any]]]:
    """The exponents of every cost, by series and target."""
    found: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for fit in result["fits"]:
        found.setdefault((fit["label"], fit["target"]), {})[fit["cost"]] = fit
    return found


def _fitness(fit: Mapping[str, Any]) -> str:
    if not fit.get("exponent") or not fit["degrees"] or fit["chi_squared"] is None:
        return NONE
    # A residue of rounding counts as 0.
    return f"{round(fit['chi_squared'], 6):.2g} / {fit['degrees']}"


def _exponent(fit: Mapping[str, Any]) -> str:
    if not fit.get("exponent"):
        return NONE
    text = parenthesis(fit["exponent"]["value"], fit["exponent"]["error"])
    return f"≥ {text}" if fit["lower_bound"] else text
