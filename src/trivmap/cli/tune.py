"""The command that finds a coupling."""

import json
import re
import time
from typing import TYPE_CHECKING

import click

from trivmap.cli.main import command, json_flag
from trivmap.cli.notations import elsewhere, on_one_line
from trivmap.cli.speaking import speaking_options
from trivmap.cli.terminal import say
from trivmap.errors import InputError, shown

if TYPE_CHECKING:
    from trivmap.studies.tuned import Tuning


@command("trivmap tune 16 --lam 0.5 --ratio 4")
@click.argument("lattice", metavar="LATTICE")
@click.option("--lam", "--g", "quartic", type=float, required=True, help="The quartic coupling of the notation.")
@click.option(
    "--notation", default="bosetti2015", show_default=True, help="standard, albergo2019, bosetti2015 or nicoli2020."
)
@click.option("--ratio", type=float, default=4.0, show_default=True, help="Wanted L / xi.")
@click.option("--accuracy", type=float, default=0.005, show_default=True, help="Wanted relative error of xi.")
@click.option("--bracket", type=float, nargs=2, metavar="LOW HIGH", help="Where to start; need not contain the answer.")
@click.option("--cycles", type=int, default=4_000_000, show_default=True, help="Largest number of cluster cycles.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random numbers.")
@click.option("--threads", type=int, help="Threads (default: all processors).")
@speaking_options
@json_flag
def tune(
    lattice: str,
    quartic: float,
    notation: str,
    ratio: float,
    accuracy: float,
    bracket: tuple[float, float] | None,
    cycles: int,
    seed: int,
    threads: int | None,
    as_json: bool,
) -> None:
    """Find the coupling of phi^4 at which L / xi has a wanted value, by cluster simulation.

    LATTICE is an extent L for L x L, or all extents: 8x8x16. The quartic coupling stays fixed, and the other coupling
    of the notation is found: beta, kappa or m_sq. If the cycles do not suffice for the accuracy, or the command is
    interrupted, the result so far is still printed, and the exit code is not 0.
    """
    import jax

    from trivmap.cli.process import shown_progress, start_backend
    from trivmap.studies.tuned import TooFewCycles
    from trivmap.studies.tuning import tune as find

    if not 0 <= seed < 2**32:
        raise InputError(f"seed: must be at least 0 and less than {2**32}, got {seed}")
    start_backend()
    begin, latest = time.monotonic(), list["Tuning"]()
    try:
        found = find(
            _lattice(lattice),
            jax.random.key(seed),
            quartic=quartic,
            notation=notation,
            ratio=ratio,
            accuracy=accuracy,
            bracket=bracket,
            cycles=cycles,
            threads=threads,
            progress=shown_progress(),
            found=latest.append,
        )
    except (TooFewCycles, KeyboardInterrupt):
        # The result is useful even though its error is larger than requested.
        if latest:
            _print(latest[-1], seed, time.monotonic() - begin, as_json, enough=False)
        raise
    _print(found, seed, time.monotonic() - begin, as_json, enough=True)


def _print(found: "Tuning", seed: int, seconds: float, as_json: bool, *, enough: bool) -> None:
    """Print the outcome on stdout; `enough` is true if its error is as small as requested."""
    from trivmap.reports.formats import count, duration, parenthesis

    line, ratio = found.line, found.ratio
    couplings = line.couplings(line.sign * found.coupling.value)
    others = [action for action, _ in elsewhere(line.notation, couplings, line.dimension)]
    if as_json:
        content = {
            "schema": 1,
            "action": found.action,
            "other_notations": others,
            "lattice": list(found.lattice),
            "seed": seed,
            "ratio": ratio,
            line.name: found.coupling._asdict(),
            "correlation_length": found.correlation_length._asdict(),
            "simulations": [
                {
                    line.name: each.coupling,
                    "cycles": each.cycles,
                    "correlation_length": each.correlation_length._asdict(),
                }
                for each in found.simulations
            ],
            "cycles": found.cycles,
            "accurate": enough,
            "wall_seconds": seconds,
        }
        say(json.dumps(content, indent=2))
        return
    say(
        f"{line.name} = {parenthesis(*found.coupling)} for L/xi = {ratio:g} on {'x'.join(map(str, found.lattice))} at "
        f"{line.quartic_name} = {line.quartic:g}"
    )
    say(f"correlation length there: {parenthesis(*found.correlation_length)}")
    say(f"{count(found.cycles)} cluster cycles in {len(found.simulations)} simulations, {duration(seconds)}")
    for action in others:
        say(f"the same in another notation: {on_one_line(action)}")
    say(f"action: {on_one_line(found.action)}")


def _lattice(text: str):
    from pydantic_core import PydanticCustomError

    from trivmap.cards.values import require_lattice

    if not re.fullmatch(r"[0-9]{1,9}(x[0-9]{1,9})*", text):
        raise InputError(f"lattice: {shown(text)} is neither an extent like 16 nor extents like 8x8x16")
    extents = [int(extent) for extent in text.split("x")]
    extents = extents * 2 if len(extents) == 1 else extents
    try:
        return require_lattice(extents)
    except PydanticCustomError as error:
        raise InputError(f"lattice: {error.message()}") from error
