"""The tables about samplers beside each other, on the pages comparison and samplers, and the line as tuned."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from experiments.keeping import RESULTS, kept, markdown, not_measured
from trivmap.cards.presets import preset_names
from trivmap.reports import comparison
from trivmap.reports.formats import NONE, count, estimate_cell, parenthesis
from trivmap.studies.compare_card import PRESETS


def compared(preset: str) -> str:
    """The tables of a comparison and its pictures."""
    result = kept(preset)
    if result is None:
        return not_measured(f"comparison {preset}")
    parts = [
        "Independent samples per second of every observable:",
        markdown(*comparison.rate_rows(result)),
        comparison.conditions(result),
        "Autocorrelation times in steps, and effective samples by reweighting:",
        markdown(*comparison.time_rows(result)),
        "Costs, and the number of independent |m| at which the training of the samplers on the right breaks even:",
        markdown(*comparison.cost_rows(result)),
        "Results, which must agree:",
        markdown(*comparison.value_rows(result)),
        f"Largest differences: {comparison.worst_pulls(result)}.",
        "Steps stored: " + ", ".join(f"{name} {count(one['steps'])}" for name, one in result["samplers"].items()) + ".",
    ]
    if reasons := comparison.untrusted(result):
        parts.append("Not trusted:\n\n" + "\n".join(f"- {reason}" for reason in reasons))
    if found := result.get("forward_ess"):
        forward, reverse = (parenthesis(*found[name].values()) for name in ("forward", "reverse"))
        parts.append(
            f"On {count(found['configurations'])} configurations of the cluster algorithm the ESS of the flow is "
            f"{forward}, on its own proposals {reverse}."
        )
    for picture, title in (("rates", "Independent samples per second"), ("break-even", "Seconds in all")):
        if (RESULTS / f"{preset}-{picture}.png").exists():
            parts.append(f"![{title}](../../experiments/results/{preset}-{picture}.png)")
    return "\n\n".join(parts) + "\n"


def slowing_down() -> str:
    """Autocorrelation times along the line, and exponents."""
    result = kept("slowing-down")
    if result is None:
        return not_measured("slowing_down")
    extents = sorted({int(extent) for entries in result["entries"].values() for extent in entries})
    rows = []
    for sampler, entries in result["entries"].items():
        found = [entries.get(str(extent)) for extent in extents]
        cells = [parenthesis(*entry["abs_magnetization"].values()) if entry else "" for entry in found]
        law = (result["fits"].get(sampler) or {}).get("abs_magnetization")
        if law is None:
            cells += ["", ""]
        else:
            cells.append(parenthesis(*law["exponent"].values()) if law["supported"] else "no power law")
            cells.append(f"{law['chi_squared']:.1f}/{law['degrees']}")
        rows.append([sampler, *cells])
    table = markdown(["tau_int of |m|", *(f"L={extent}" for extent in extents), "z", "chi^2/dof"], rows)
    return f"{table}\n\n![tau_int against the correlation length](../../experiments/results/slowing-down.png)\n"


def tuned() -> str:
    """The couplings of the line as `trivmap tune` finds them."""
    known = kept("tune") or {}
    rows = []
    for extent, entry in known.items():
        found, beta = entry["beta"], entry["line"]
        error, cycles = found["error"], entry["cycles"]
        difference = f"{(found['value'] / beta - 1) * 100:+.2f} %, {(found['value'] - beta) / error:+.1f} errors"
        rows.append([extent, f"{beta:g}", parenthesis(found["value"], error), difference, count(cycles)])
    return markdown(["L", "the line", "`trivmap tune`", "difference", "cycles"], rows) + "\n"


def pull(found: Mapping[str, Any] | None, known: Mapping[str, Any] | None) -> float | None:
    """(found - known) / combined error, None where one of them is missing."""
    if not found or not known or found["value"] is None:
        return None
    return (found["value"] - known["value"]) / math.hypot(found["error"], known["error"])


def together(target: Mapping[str, Any]) -> str:
    """The mean of all samplers' susceptibilities, whether they agree among themselves, and with what is known."""
    found = [each["observables"]["susceptibility"] for each in target["samplers"].values()]
    found = [each for each in found if each["value"] is not None]
    weights = [each["error"] ** -2 for each in found]
    mean = {
        "value": sum(w * each["value"] for w, each in zip(weights, found, strict=True)) / sum(weights),
        "error": sum(weights) ** -0.5,
    }
    spread = sum(w * (each["value"] - mean["value"]) ** 2 for w, each in zip(weights, found, strict=True))
    return (
        f"All together χ = {parenthesis(*mean.values())}, pull {pull(mean, target['known']['susceptibility']):+.1f}; "
        f"chi^2 of the samplers about it {spread:.1f} for {len(found) - 1}."
    )


def exactness() -> str:
    """Every sampler beside what is known otherwise."""
    result = kept("exactness")
    if result is None:
        return not_measured("exactness")
    parts = []
    for target in result.values():
        known, rows = target["known"], []
        log_z = f"{known['log_z']['value']:.9g}" if "log_z" in known else ""
        rows.append(["known", estimate_cell(known["susceptibility"]), "", "", "", log_z, ""])
        for sampler, entry in target["samplers"].items():
            found = entry["observables"]
            pulls = {key: pull(each, known.get(key)) for key, each in found.items() if key != "log_z"}
            away = pulls["susceptibility"]
            trusted = {key: value for key, value in pulls.items() if value is not None}
            worst = max(trusted, key=lambda key: abs(trusted[key]), default=None)
            chi, log_z = found["susceptibility"], pull(found.get("log_z"), known.get("log_z"))
            rows.append(
                [
                    sampler,
                    estimate_cell(chi),
                    NONE if away is None else f"{100 * chi['error'] / chi['value']:.2f} %",
                    NONE if away is None else f"{away:+.1f}",
                    NONE if worst is None else f"{trusted[worst]:+.1f} ({worst.replace('_', ' ')})",
                    estimate_cell(found.get("log_z")) if found.get("log_z") else "",
                    "" if log_z is None else f"{log_z:+.1f}",
                ]
            )
        header = ["sampler", "χ", "its error", "pull", "largest of four", "log Z", "pull"]
        parts += [f"**{target['title']}**", markdown(header, rows), together(target)]
        flow, annealed = (target["samplers"][key]["observables"].get("log_z") for key in ("flow", "annealed"))
        if (between := pull(flow, annealed)) is not None:
            parts.append(f"log Z of flow and annealing differ by {between:+.1f} combined errors.")
    return "\n\n".join(parts) + "\n"


BLOCKS: Mapping[str, Callable[[], str]] = {
    **{name: partial(compared, name) for name in preset_names(PRESETS)},
    "slowing-down": slowing_down,
    "tuned": tuned,
    "exactness": exactness,
}
