"""The couplings of phi^4 in the notations of the literature: `trivmap convert`, and what `trivmap tune` prints."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import click

from trivmap.cli.main import command, json_flag
from trivmap.cli.terminal import say
from trivmap.errors import InputError


@command("trivmap convert albergo2019 m_sq=-4 lam=6.975")
@click.argument("notation", metavar="NOTATION")
@click.argument("couplings", nargs=-1, required=True, metavar="NAME=VALUE ...")
@click.option("--dimension", type=click.IntRange(1, 16), default=2, show_default=True, help="Dimension d.")
@json_flag
def convert(notation: str, couplings: tuple[str, ...], dimension: int, as_json: bool) -> None:
    """Convert couplings of phi^4 into every other notation.

    NOTATION is standard (m_sq, g), albergo2019 (m_sq, lam), bosetti2015 (beta, lam) or nicoli2020 (kappa, lam). The
    field of the other notation differs by a factor: phi = s phi'.
    """
    found = elsewhere(notation, dict(_number(text) for text in couplings), dimension)
    if as_json:
        say(json.dumps([{"action": action, "scale": scale} for action, scale in found], indent=2))
        return
    for action, scale in found:
        say(f"action: {on_one_line(action)}  # phi = {scale:.6f} phi'")


def elsewhere(notation: str, couplings: Mapping[str, float], dimension: int) -> list[tuple[dict[str, Any], float]]:
    """The sections `action` of a theory in the other notations, as far as they can express it, with the scale s."""
    from trivmap.actions.notations import NOTATIONS, coefficients, convert, require_integrable

    require_integrable(*coefficients(notation, couplings, dimension), dimension)
    found = []
    for name in (each for each in NOTATIONS if each != notation):
        # Two notations cannot express every sign of the nearest-neighbor coupling.
        with contextlib.suppress(InputError):
            converted, scale = convert(notation, name, couplings, dimension)
            found.append(({"kind": "phi4", "notation": name, **converted}, scale))
    return found


def on_one_line(action: Mapping[str, Any]) -> str:
    """A section on one line, as YAML takes it."""
    shown = {name: f"{value:.6f}" if isinstance(value, float) else value for name, value in action.items()}
    return f"{{{', '.join(f'{name}: {value}' for name, value in shown.items())}}}"


def _number(text: str) -> tuple[str, float]:
    """The name and the value of a coupling."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise InputError(f"{name}: give the coupling as NAME=VALUE with a number, got {text!r}") from None
