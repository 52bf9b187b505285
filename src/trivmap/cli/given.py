"""The work of the commands that are given configurations of the user's own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivmap.cli.columns import aligned
from trivmap.cli.opening import changed_plan, opened
from trivmap.cli.process import shown_progress
from trivmap.cli.terminal import say
from trivmap.errors import InputError
from trivmap.estimate import Estimate, parenthesis

if TYPE_CHECKING:
    from trivmap.runs.given import Difference, Judged
    from trivmap.store.directory import RunDirectory


def measure_given(run: Path, overrides: tuple[str, ...], given: str, out: Path | None, as_json: bool) -> None:
    """The work of `trivmap measure --configurations`."""
    from trivmap.runs import given as work
    from trivmap.runs.ensemble import ensemble
    from trivmap.store.directory import finite
    from trivmap.store.files import require_absent, write_sealed_text
    from trivmap.store.folders import is_folder

    if out is not None:
        require_absent(out)
    directory = opened(run)
    plan, display = changed_plan(directory, overrides, "measure"), shown_progress()
    judged, unjudged = None, None
    with ensemble(given, plan, directory) as fields:
        results = work.measured(plan, fields, fields.name, display)
        if plan.card.model is not None and is_folder(directory.model_path):
            try:
                judged = work.judged(directory, plan, fields, fields.name, display)
            except InputError as error:
                # The observables do not depend on the map.
                unjudged = str(error)
        facts = {"configurations": given, "shape": list(fields.shape), "dtype": str(fields.dtype)}
    summary = directory.summary()
    compared = work.differences(results.summary(), summary)
    wrong = work.other_theory(results)
    if out is not None:
        write_sealed_text(out, results.to_text())
    if as_json:
        content = {
            "run": str(directory.root),
            **facts,
            "out": None if out is None else str(out),
            "observables": results.summary(),
            "untrusted": results.untrusted,
            "other_theory": wrong,
            "differences": {name: each._asdict() for name, each in compared.items()},
            "warning": work.largest_difference(compared),
            "map": None if judged is None else _of_map(judged, directory),
            "map_untrusted": unjudged,
        }
        say(json.dumps(finite(content), indent=2))
        return
    for line in _table(results.summary(), compared, summary):
        say(line)
    for names, reason in sorted(results.reasons(), key=lambda withheld: withheld[1]):
        if not (wrong and reason == results.info["broken_identity"]):
            say(f"not trusted: {names}: {reason}")
    if wrong:
        say(f"not trusted: every observable: {wrong}")
    if warning := work.largest_difference(compared):
        say(f"warning: {warning}")
    if unjudged:
        say(f"not trusted: forward ESS: {unjudged}")
    for line in [] if judged is None else _lines(judged, directory):
        say(line)


def judge_given(run: Path, given: str, as_json: bool) -> None:
    """The work of `trivmap forward-ess`."""
    from trivmap.runs.ensemble import ensemble
    from trivmap.runs.given import judged
    from trivmap.store.directory import finite

    directory = opened(run)
    plan = changed_plan(directory, (), "measure")
    with ensemble(given, plan, directory) as fields:
        found = judged(directory, plan, fields, fields.name, shown_progress())
    if as_json:
        content = {"run": str(directory.root), "configurations": given, **_of_map(found, directory)}
        say(json.dumps(finite(content), indent=2))
        return
    for line in _lines(found, directory):
        say(line)


def _of_map(found: "Judged", directory: "RunDirectory") -> dict[str, Any]:
    """The judgment of a map for programs."""
    reverse, warning = _against_the_run(found, directory)
    return {
        **{name: each._asdict() for name, each in found._asdict().items()},
        "reverse_ess": None if reverse is None else reverse._asdict(),
        "warning": warning,
    }


def _against_the_run(found: "Judged", directory: "RunDirectory") -> tuple[Estimate | None, str | None]:
    """The effective sample size of the run's own proposals, and a warning if the two disagree."""
    from trivmap.runs.given import disagreement, reverse_ess

    reverse = reverse_ess(directory.summary())
    return reverse, disagreement(found.forward_ess, reverse)


def _lines(found: "Judged", directory: "RunDirectory") -> list[str]:
    reverse, warning = _against_the_run(found, directory)
    said = [
        f"forward ESS {found.forward_ess}; of the run's own proposals {'unknown' if reverse is None else reverse}",
        f"log w: mean {found.mean_log_weight}, tau_int {found.tau_int}",
    ]
    return [*said, *([f"warning: {warning}"] if warning else [])]


def _table(here: Mapping[str, Any], compared: "Mapping[str, Difference]", summary: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, found in here.items():
        tau_int = "" if found["tau_int"] is None else parenthesis(found["tau_int"], found["tau_int_error"])
        row = [name, str(Estimate(found["value"], found["error"])), tau_int, "", ""]
        if name in compared:
            own, pull = summary["observables"][name], compared[name].pull
            row[3:] = [str(Estimate(own["value"], own["error"])), "" if pull is None else f"{pull:+.1f}"]
        rows.append(row)
    header = ["observable", "configurations", "τ_int", "run", "difference [σ]"]
    return aligned(header, rows, right=header[1:]) if rows else []
