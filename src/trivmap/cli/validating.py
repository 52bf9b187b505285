"""The command that checks cards."""

import json

from trivmap.cli.columns import grouped
from trivmap.cli.terminal import say


def validate_card(card: str, overrides: tuple[str, ...], force: bool, as_json: bool) -> None:
    """The work of `trivmap validate`."""
    from trivmap.cards.card import load_card
    from trivmap.cards.cost import training_configurations
    from trivmap.cards.own import require_trust
    from trivmap.cli.opening import name_of, require_run_card
    from trivmap.cli.process import new_run_path, prepare
    from trivmap.cli.room import require_room
    from trivmap.runs.budget import budget
    from trivmap.runs.checking import check
    from trivmap.runs.plan import Plan

    require_run_card(card)
    loaded = load_card(card, overrides)
    require_trust(card, loaded)
    prepare(loaded)
    root, plan = new_run_path(name_of(loaded, card)), Plan(loaded)
    check(plan, root)
    said: list[str] = []
    seconds = require_room([plan], root, force=force, note=said.append)
    configurations = training_configurations(loaded)
    if as_json:
        found = {**budget(plan)._asdict(), "training_configurations": configurations, "seconds": seconds}
        content = {"valid": True, "parameters": plan.parameters, "expected": found, "card": loaded.to_data()}
        say(json.dumps(content, indent=2))
        return
    say(loaded.to_yaml(), end=False)
    model = "without a map" if plan.parameters is None else f"the model has {plan.parameters} parameters"
    training = (
        [f"training: {grouped(configurations)} configurations, evaluations not counted"] if configurations else []
    )
    for line in (f"valid; {model}", *training, *said):
        say(f"# {line}")
