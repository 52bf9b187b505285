"""A run card carried out in one call, for notebooks and scripts."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from trivmap.cards.card import RunCard, load_card
from trivmap.cards.overrides import Change
from trivmap.errors import InputError
from trivmap.loading import Run
from trivmap.progress import Line
from trivmap.runs import pipeline
from trivmap.runs.finish import difference, finish
from trivmap.runs.plan import Plan
from trivmap.runs.progress import Progress
from trivmap.store.directory import RunDirectory
from trivmap.store.plain import is_file
from trivmap.training import Logger
from trivmap.trust import trusting


def run(
    card: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    *,
    overrides: Sequence[str] = (),
    progress: Progress | bool | None = None,
    trust: bool = False,
    loggers: Sequence[Logger] = (),
    **changes: Any,
) -> Run:
    """Train, sample and measure what a card says, in the directory `out`; returns what it holds.

    >>> run("phi4-L8", lattice=[10, 10], action={"beta": 0.601}, sampling={"proposals": 8000})

    A directory that holds this run already is continued, so that a script or a notebook can be executed again;
    `sampling` and `measure` may have changed as far as `trivmap sample` and `trivmap measure` allow. JAX's float64 is
    switched on meanwhile.

    Args:
        card: a preset's name, a YAML file, or the content of one.
        out: the run directory; None is runs/NAME, or where that holds another run the first free of runs/NAME-2 ...
        overrides: `KEY=VALUE` each, as `--set` takes them.
        progress: where progress is shown: True is a line on stderr, None nowhere.
        loggers: receive the scalars of the records of training, for example `training.TensorBoard("logs")`.
        trust: run code of somebody else's that the card of an existing directory names, and use altered files.
        changes: keys of the card by name, with their values; a mapping changes the keys that it names.

    Raises:
        InputError: for a card that is not right, and for a directory that holds something else.
        Interrupted: after a signal; everything is saved.
    """
    if isinstance(card, Mapping):
        plan = Plan(RunCard.from_data(card).with_overrides([*overrides, *_changes(changes)]))
    else:
        plan = Plan(load_card(card, [*overrides, *_changes(changes)]))
    if out is None:
        out = _own_directory(plan.card)
    directory = RunDirectory(Path(out))
    # optax and the samplers mix dtypes, which a session may forbid.
    with trusting(trust), jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        if not is_file(directory.config_path):
            directory = pipeline.create(plan, out)
        elif fixed := difference(directory.card(), plan.card, "name"):
            raise InputError(f"{directory.config_path}: its {fixed} is not that of the card; give another directory")
        finish(directory, Line() if progress is True else progress or None, plan, loggers=loggers)
    return Run(directory, trust=trust)


def _changes(changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Change]:
    """The overrides that nested keys with values stand for."""
    for key, value in changes.items():
        if isinstance(value, Mapping):
            yield from _changes(value, (*path, key))
        else:
            yield Change((*path, key), value)


def _own_directory(card: RunCard) -> Path:
    """The first of runs/NAME, runs/NAME-2 ... that holds this run, or does not exist."""
    for number in itertools.count(1):
        path = Path("runs") / (f"{card.name or 'run'}-{number}" if number > 1 else card.name or "run")
        directory = RunDirectory(path)
        if not path.exists() or (is_file(directory.config_path) and difference(directory.card(), card) is None):
            return path
    raise AssertionError
