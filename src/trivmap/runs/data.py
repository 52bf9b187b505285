"""The configurations that the chains of another run have stored."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.store.directory import RunDirectory
from trivmap.store.samples import SampleReader


def source(card: RunCard, root: Path) -> tuple[RunDirectory, RunCard] | None:
    """The run that a card takes configurations from, and its card; None if it names none.

    The card's own run lies at `root`.

    Raises `InputError` if that run does not exist, has another lattice or action, or was sampled without its fields.
    """
    section = None if card.training is None else card.training.data
    name = getattr(section, "run", None)
    if section is None or section.named != "run" or name is None:
        return None
    where, run = "training.data.run", RunDirectory(root.parent / name)
    if not run.config_path.exists():
        raise InputError(f"{where}: {run.root} is not a run; name one in the folder that holds this run's own")
    return run, require_fields(run, card, where)


def require_fields(run: RunDirectory, card: RunCard, where: str) -> RunCard:
    """The card of a run whose stored fields have the lattice and the action of another card.

    Raises `InputError` if the run has another lattice or action, or no fields.
    """
    known = run.card()
    for key in ("lattice", "action"):
        if getattr(known, key) != getattr(card, key):
            raise InputError(
                f"{where}: {run.root} has another {key}, so its configurations do not belong to this target"
            )
    if not known.sampling.save_fields:
        raise InputError(f"{where}: {run.root} has not stored its fields; sample it with sampling.save_fields: true")
    if not run.samples_path.exists():
        raise InputError(f"{where}: {run.root} holds no fields yet; sample it first")
    return known


def warmup_of_fields(reader: SampleReader, card: RunCard) -> int:
    """The number of stored fields of each chain that belong to its warm-up."""
    return -(-reader.warmup // card.sampling.thin)


def configurations(card: RunCard, root: Path) -> Array | None:
    """The configurations for training: those that the chains of another run stored after their warm-up.

    Raises `InputError` as `source`.
    """
    found = source(card, root)
    if found is None:
        return None
    run, known = found
    with SampleReader(run.root) as reader:
        kept = np.asarray(reader["fields"])[:, warmup_of_fields(reader, known) :].reshape(-1, *card.lattice)
    return jnp.asarray(kept, card.dtype)
