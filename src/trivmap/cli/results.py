"""A run's state and results, as text for people and as JSON for programs."""

import json
from typing import Any

from trivmap.cli.terminal import say
from trivmap.errors import InputError
from trivmap.store.directory import RunDirectory
from trivmap.store.folders import is_folder
from trivmap.store.plain import is_file
from trivmap.store.sealed import digest, origin


def describe(run: RunDirectory) -> dict[str, Any]:
    """The summary with the state of each step: what `--json` prints."""
    from trivmap.reports.report import report_is_current
    from trivmap.runs.pipeline import is_measured

    summary = run.summary()
    if not summary:
        raise InputError(f"{run.summary_path}: is missing; run trivmap run --resume {run.root}, which writes it again")
    state = {
        "trained": is_folder(run.model_path),
        "step": (run.last_metrics() or {}).get("step", 0),
        "sampled": bool(summary.get("sampling")),
        "measured": is_measured(summary),
        "report": is_file(run.report_path),
        "report_current": is_file(run.report_path) and report_is_current(run),
        "metrics_damage": run.metrics_damage(),
    }
    if (where := origin(run.summary_path)) is not None:
        summary["origin"] = where
    return {"run": str(run.root), "state": state, **summary, "sha256": digest(summary)}


def print_results(run: RunDirectory, as_json: bool) -> None:
    """The results of a run on stdout."""
    content = describe(run)
    if as_json:
        say(json.dumps(content, indent=2))
        return
    from rich.markup import escape

    from trivmap.cards.headings import heading
    from trivmap.cli.display import console as make_console
    from trivmap.reports.references import find_reference
    from trivmap.reports.tables import result_rows, results_table

    console = make_console()
    card = run.card()
    console.print(
        f"[bold]{escape(str(run.root))}[/bold]  {escape(heading(card.name, card.description))}".rstrip(), soft_wrap=True
    )
    damage = content["state"]["metrics_damage"]
    for line in [*_facts(content, card.training_steps), *([damage] if damage else [])]:
        console.print(line, markup=False, soft_wrap=True)
    reference = find_reference(card.to_data()["action"], card.lattice)
    rows = result_rows(content, reference=reference)
    if rows:
        console.print(results_table(rows))
    if content.get("chain_withheld"):
        console.print(f"rew.: reweighted averages, since {content['chain_withheld']}", markup=False, soft_wrap=True)
    if reference:
        console.print(f"reference: {reference.source}", markup=False, soft_wrap=True)


def _facts(content: dict[str, Any], steps: int) -> list[str]:
    from trivmap.reports.formats import duration, parenthesis

    def number(estimate: dict[str, Any] | None) -> str:
        if not estimate or estimate["value"] is None:
            return "unknown"
        return parenthesis(estimate["value"], estimate["error"])

    lines, training, sampling = [], content.get("training"), content.get("sampling")
    if training and {"steps", "configurations", "wall_seconds"} <= training.keys():
        evaluation = training.get("evaluation")
        quality = (
            f", acceptance {number(evaluation.get('acceptance'))}, ESS {number(evaluation.get('ess'))}"
            if evaluation
            else ""
        )
        lines.append(
            f"training: {training['steps']} of {steps} steps, {training['configurations']} configurations, "
            f"{duration(training['wall_seconds'])}{quality}"
        )
    elif content["state"]["step"]:
        lines.append(f"training: step {content['state']['step']} of {steps}, not finished")
    if sampling and {"proposals", "wall_seconds", "acceptance", "tau_int"} <= sampling.keys():
        lines.append(
            f"sampling: {sampling['proposals']} proposals, {duration(sampling['wall_seconds'])}, "
            f"acceptance {number(sampling['acceptance'])}, tau_int {number(sampling['tau_int'])}"
        )
        if not content["state"]["measured"]:
            lines.append(f"not measured yet; run trivmap measure {content['run']}")
    if content["state"]["report"]:
        older = f", older than the results; run trivmap report {content['run']}"
        current = content["state"]["report_current"]
        lines.append(f"report: {content['run']}/report.html{'' if current else older}")
    return lines or ["nothing has been done yet"]
