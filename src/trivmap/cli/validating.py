"""The command that checks cards."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trivmap.cli.columns import grouped
from trivmap.cli.terminal import say

if TYPE_CHECKING:
    from trivmap.cli.any_card import AnyCard
    from trivmap.runs.plan import Plan


def validate_card(card: str, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """The work of `trivmap validate`."""
    from trivmap.cards.cost import training_configurations
    from trivmap.cards.own import require_trust
    from trivmap.cli.any_card import load_any
    from trivmap.cli.opening import name_of
    from trivmap.cli.process import new_run_path, prepare
    from trivmap.cli.room import require_room
    from trivmap.runs.plan import Plan

    given = load_any(card, overrides)
    loaded, cards = given.loaded, list(given.runs.values())
    require_trust(card, *cards)
    # Only shapes are needed here; each run of a study chooses its processors when it starts.
    prepare(cards[0] if given.command != "study" else cards[0].model_copy(update={"threads": None, "device": "cpu"}))
    root, plans = new_run_path(name_of(loaded, card)), {name: Plan(each) for name, each in given.runs.items()}
    _check(given, plans, root)
    said: list[str] = []
    seconds = require_room(plans.values(), root, force=force, note=said.append)
    configurations = sum(map(training_configurations, cards))
    if as_json:
        say(json.dumps(_content(given, plans, configurations, seconds), indent=2))
        return
    say(loaded.to_yaml(), end=False)
    training = (
        [f"training: {grouped(configurations)} configurations, evaluations not counted"] if configurations else []
    )
    for line in (f"valid; {_what(given, plans)}", *training, *said):
        say(f"# {line}")


def _check(given: "AnyCard", plans: "dict[str, Plan]", root: Path) -> None:
    """Check the card of every run; runs that differ only in name, seed and start are checked once."""
    from trivmap.cli.study import require_models
    from trivmap.errors import prefixed
    from trivmap.runs.checking import check
    from trivmap.runs.plan import Plan

    if given.command == "run":
        check(plans["run"], root)
        return
    if given.command == "study":
        require_models(given.loaded)
    where = {"compare": "samplers.", "study": "series."}[given.command]
    seen: set[str] = set()
    for name, plan in plans.items():
        data = plan.card.to_data() | {"name": None, "seed": 0}
        if (training := plan.card.training) is not None and training.start is not None:
            # The run that it starts from does not exist yet.
            data["training"] = data["training"] | {"start": None}
            plan = Plan(plan.card.model_copy(update={"training": training.model_copy(update={"start": None})}))
        if (text := json.dumps(data, sort_keys=True)) not in seen:
            seen.add(text)
            with prefixed(f"{where}{name}: "):
                check(plan, root / name)


def _what(given: "AnyCard", plans: "dict[str, Plan]") -> str:
    if given.command != "run":
        return f"{len(plans)} runs"
    parameters = plans["run"].parameters
    return "without a map" if parameters is None else f"the model has {parameters} parameters"


def _content(given: "AnyCard", plans: "dict[str, Plan]", configurations: int, seconds: float | None) -> dict[str, Any]:
    """The content that `--json` prints; for many runs, sums and the largest memory."""
    from trivmap.runs.budget import budget

    budgets = [budget(plan) for plan in plans.values()]
    memory: dict[str, int] = {}
    for each in budgets:
        memory |= {key: max(size, memory.get(key, 0)) for key, size in each.memory.items()}
    expected = {
        "configurations": sum(each.configurations for each in budgets),
        "proposals": sum(each.proposals for each in budgets),
        "disk": sum(each.disk for each in budgets),
        "memory": memory,
        "training_configurations": configurations,
        "seconds": seconds,
    }
    about = {"parameters": plans["run"].parameters} if given.command == "run" else {"runs": list(plans)}
    return {"valid": True, **about, "expected": expected, "card": given.loaded.to_data()}
