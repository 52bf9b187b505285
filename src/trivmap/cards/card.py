"""The run card: everything that defines a run, in one validated YAML file."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from trivmap.cards import yaml_text
from trivmap.cards.fields import write_out
from trivmap.cards.headings import LatticeCard, true_headings
from trivmap.cards.kernels import AnySampling, samples_without_flow
from trivmap.cards.ladder import ladder_mismatch, led_there, rung_data
from trivmap.cards.overrides import Change, apply_overrides, read_override
from trivmap.cards.presets import RUNS, preset_text
from trivmap.cards.registry import ACTIONS
from trivmap.cards.sampling import AnnealedSampling, FlowSampling
from trivmap.cards.signature import Component, Constructed
from trivmap.cards.training import LEAST_BINS, Measure, Model, Rung, Training
from trivmap.cards.values import require_lattice, validation_error
from trivmap.errors import InputError
from trivmap.lattice import Lattice


class RunCard(LatticeCard):
    """A whole run. `load_card` and `RunCard.from_data` make one; their errors name the refused key in one sentence."""

    action: Annotated[Component, ACTIONS.by_key] = Field(
        description="a section such as {kind: phi4, notation: bosetti2015, beta: 0.576, lam: 0.5}"
    )
    model: Model | None = None
    training: Training | None = None
    sampling: AnySampling = FlowSampling()
    measure: Measure = Measure()

    @classmethod
    def from_data(cls, data: object, source: str = "run card") -> "RunCard":
        """The card of plain data, as read from YAML; the sentence of an `InputError` begins with `source`."""
        if not isinstance(data, Mapping):
            raise InputError(
                f"{source}: a run card is a list of keys and values, beginning for example with lattice: [8, 8]"
            )
        if "samplers" in data:
            raise InputError(f"{source}: compares several samplers; run it with trivmap compare")
        if "series" in data:
            raise InputError(f"{source}: is a study of many runs; run it with trivmap study")
        return cls._validated(data, source)

    def __repr__(self) -> str:
        """The card as YAML, with every default."""
        return yaml_text.dump(self.to_data())

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        return f"<pre>{escape(repr(self))}</pre>"

    @model_validator(mode="after")
    def _consistent(self) -> "RunCard":
        lattice = require_lattice(self.lattice)
        if isinstance(self.action, Constructed):
            self.action.build("action", dimension=lattice.dimension, lattice=lattice)
        if self.model is not None:
            self.model.require_fit(lattice)
        if self.training is not None and self.training.ladder == "auto":
            rungs = led_there(self.action, lattice, self.training.steps)
            write_out(self.training, ladder=[Rung.model_validate(rung) for rung in rungs])
        self._require_ladder(lattice)
        self._require_model()
        self._require_something_to_measure()
        local = isinstance(self.sampling, AnnealedSampling) and self.sampling.moves == "heat-bath"
        if local or (self.model is not None and self.model.needs_checkerboard):
            lattice.require_checkerboard()
        return self

    def _require_model(self) -> None:
        if self.model is None and self.sampling.needs_model:
            raise validation_error(
                f"missing; sampling by {self.sampling.kind} needs the section {{base: ..., maps: [...]}}", "model"
            )
        if self.model is None and self.training is not None:
            raise validation_error("given without a model; there is nothing to train", "training")
        if self.model is not None and samples_without_flow(self.sampling.model_dump()):
            raise validation_error(
                f"of no use: {self.sampling.kind} samples without a map; leave model and training out", "model"
            )

    def _require_ladder(self, lattice: Lattice) -> None:
        for position, rung in enumerate(self.training.rungs if self.training else []):
            if reason := ladder_mismatch(lattice.shape, rung.lattice):
                raise validation_error(f"{reason}; a ladder leads upwards to it", f"training.ladder.{position}.lattice")
        for position, data in enumerate(rung_data(self.to_data())):
            own = self.training is not None and self.training.rungs[position].data is not None
            if (data["training"].get("data") or {}).get("kind") == "run" and not own:
                raise validation_error(
                    "cannot use configurations from a run at the card's own lattice and action; give the rung another "
                    "objective, such as path-gradient, or data of its own",
                    f"training.ladder.{position}",
                )
            try:
                RunCard.from_data(data, "rung")
            except InputError as error:
                complaint = str(error).removeprefix("rung: ")
                raise validation_error(f"as a card of its own: {complaint}", f"training.ladder.{position}") from error

    def _require_something_to_measure(self) -> None:
        """Refuse now a number of proposals that the analysis would refuse after sampling."""
        bins, chains, warmup = self.measure.bins, self.sampling.chains, self.sampling.measured_warmup
        left = self.sampling.proposals // chains - warmup
        if left < LEAST_BINS:
            raise validation_error(
                f"leaves {left} steps of each chain to measure, and an error needs {LEAST_BINS}; raise it",
                "sampling.proposals",
            )
        if bins is not None and bins < LEAST_BINS * chains:
            raise validation_error(
                f"{bins} bins over {chains} chains are too few for an error; give at least {LEAST_BINS * chains}, or "
                "null",
                "measure.bins",
            )

    def rungs(self) -> "list[RunCard]":
        """The cards that are trained one after another: those of the ladder, then this one."""
        return [*(RunCard.from_data(data) for data in rung_data(self.to_data())), self]

    @property
    def training_steps(self) -> int:
        """The largest number of training steps, including those of the ladder."""
        return sum(card.training.steps for card in self.rungs() if card.training)

    def with_overrides(self, overrides: Iterable[str | Change]) -> "RunCard":
        """The card with overrides `a.b=value` applied, as in `load_card`."""
        return _overridden(self.to_data(), list(overrides), self.name or "run card")

    def digest(self) -> str:
        """SHA-256 of the parts that fix the model's parameters: lattice, dtype, action and model."""
        data = self.to_data()
        relevant = {key: data[key] for key in ("lattice", "dtype", "action", "model")}
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def load_card(source: str | os.PathLike[str], overrides: Iterable[str | Change] = ()) -> RunCard:
    """The card of a file or of a preset, with `overrides` such as `training.steps=500` applied.

    Text that ends in .yaml or .yml or contains a slash names a file; other text names a preset; a `Path` is a file.
    Raises `InputError`, one sentence with the dotted key, for any error in the card.
    """
    label, data = os.fspath(source), read_data(source)
    overrides = list(overrides)
    if isinstance(data, dict) and overrides:
        return _overridden(data, overrides, label)
    return RunCard.from_data(data, label)


def read_data(source: str | os.PathLike[str], package: str = RUNS) -> Any:
    """The content of a YAML file, or of a preset of `package`; `load_card` explains which of the two."""
    label = os.fspath(source)
    is_file = not isinstance(source, str) or label.endswith((".yaml", ".yml")) or "/" in label or os.sep in label
    return yaml_text.parse(_read(Path(label)) if is_file else preset_text(label, package), label)


def without_unfit_ladder(data: dict[str, Any], label: str) -> tuple[dict[str, Any], list[str]]:
    """The card's data without a ladder that does not fit its lattice or action, and a note if one was dropped.

    Raises `InputError` for what is wrong with the card itself.
    """
    training = data.get("training")
    # The rungs of `auto` are made to fit the card.
    if not isinstance(training, dict) or not training.get("ladder") or training["ladder"] == "auto":
        return data, []
    bare = data | {"training": training | {"ladder": []}}
    RunCard.from_data(bare, label)
    # The card itself is valid: an error now comes from the ladder.
    try:
        RunCard.from_data(data, label)
    except InputError as error:
        reason = str(error).removeprefix(f"{label}: ")
        return bare, [f"the ladder is dropped, it does not fit the overrides: {reason}"]
    return data, []


def _overridden(data: dict[str, Any], overrides: list[str | Change], label: str) -> RunCard:
    """The card of data with overrides.

    A ladder that does not fit another lattice or action is dropped. The map is dropped if another kind of sampling does
    not use it.
    """
    changes = [read_override(each) if isinstance(each, str) else each for each in overrides]
    changed = apply_overrides(data, changes)
    keys, sections = {".".join(change.path) for change in changes}, {change.path[0] for change in changes}
    notes: list[str] = []
    other_kind = "sampling.kind" in keys and not sections & {"model", "training"}
    if other_kind and changed.get("model") and samples_without_flow(changed["sampling"]):
        changed = {**changed, "model": None, "training": None}
        notes.append(f"the map is dropped, with its training: {changed['sampling']['kind']} samples without one")
    if sections & {"lattice", "action"}:
        changed, dropped = without_unfit_ladder(changed, label)
        notes += dropped
    changed = true_headings(data, changed, label, ("lattice", "action", "model", "training"))
    card = RunCard.from_data(changed, label)
    card._notes = tuple(notes)
    return card


def _read(path: Path) -> str:
    if os.path.isdir(path):
        raise InputError(f"{path}: is a directory; give the run card itself, for example {path / 'config.yaml'}")
    try:
        with path.open("rb") as file:
            # Read a limited number of bytes: the file may be endless, or not a card.
            content = file.read(yaml_text.LARGEST_TEXT + 1)
        if len(content) > yaml_text.LARGEST_TEXT:
            raise InputError(f"{path}: has more than {yaml_text.LARGEST_TEXT} bytes, which no card needs")
        return content.decode()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such run card") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read as a run card ({why})") from error
