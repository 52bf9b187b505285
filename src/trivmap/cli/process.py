"""What the command line sets for its own process, and what it does with errors: the library sets nothing."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trivmap.runs.card import RunCard

USER_ERROR = 2


@contextmanager
def one_sentence() -> Iterator[None]:
    """Print what a user's mistake or a signal leads to as one line, without a traceback."""
    from trivmap.errors import InputError
    from trivmap.runs.progress import Interrupted

    try:
        yield
    except InputError as error:
        click.echo(f"trivmap: {' '.join(str(error).split())}", err=True)
        sys.exit(USER_ERROR)
    except Interrupted as stop:
        click.echo(f"trivmap: {stop}", err=True)
        # The shell's convention for a program that a signal ended.
        sys.exit(128 + stop.signal_number)
    except KeyboardInterrupt:
        click.echo("trivmap: interrupted; finished steps are kept", err=True)
        sys.exit(130)


def prepare(card: "RunCard") -> None:
    """Precision, device and threads of a card, before JAX starts its backend."""
    import jax

    from trivmap.errors import InputError

    jax.config.update("jax_enable_x64", True)
    if card.device is not None:
        jax.config.update("jax_platforms", {"gpu": "cuda,rocm"}.get(card.device, card.device))
    if card.threads is not None and hasattr(os, "sched_setaffinity"):
        # XLA sizes its pools by the processors the process may use.
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[: card.threads])
    try:
        jax.devices()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device: {card.device} is not available here ({reason}); leave it out or use cpu") from error


def allow_own_modules() -> None:
    """Let `kind: my_module:MyAction` find modules of the working directory, as `python -m` does."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def fresh(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on if that is taken."""
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path
