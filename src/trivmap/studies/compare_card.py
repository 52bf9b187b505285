"""The compare card: one action, and the samplers that are compared on it."""

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, model_validator

from trivmap.arguments import DIRECTORY_NAME, DirectoryName
from trivmap.cards.card import RunCard, read_data, without_unfit_ladder
from trivmap.cards.fields import Section
from trivmap.cards.headings import LatticeCard, true_headings
from trivmap.cards.overrides import apply_overrides
from trivmap.cards.presets import preset_names, trained_by
from trivmap.cards.values import Positive, Whole, validation_error
from trivmap.errors import InputError, shown, suggestion
from trivmap.store.sealed import ENVIRONMENT
from trivmap.streams import derived_seed

PRESETS = "trivmap.studies"
"""The package whose presets are compare cards."""
FILES = {
    "environment": ENVIRONMENT,
    "card": "comparison.yaml",
    "rates": "rates.json",
    "result": "comparison.json",
    "table": "comparison.csv",
    "page": "comparison.html",
    "figures": "figures",
}
"""The files of a comparison's directory. No sampler's run can have one of these names."""
_OWN = ("model", "training", "sampling", "measure")
_COMMON = ("common_noise", "dtype", "device", "threads", "lattice", "action")


_MOST_SAMPLERS = 64
"""Most samplers: each is a whole run, built before the first one starts."""


class Entry(Section):
    """One sampler: the sections of a run card beyond the common keys, each checked as part of a run card.

    `use` takes model and training of a preset of run cards; `map_of` the trained map of another entry.
    """

    use: str | None = None
    map_of: str | None = None
    model: Any = None
    training: Any = None
    sampling: Any = Field(description="a section such as {kind: hmc, proposals: 100000}")
    measure: Any = None


class Timing(Section):
    """Steps are timed in `rounds` that go through all samplers, each for about `seconds`."""

    rounds: Annotated[Whole, Field(ge=3)] = 5
    seconds: Positive = 0.5


class CompareCard(LatticeCard):
    """A comparison. `load_compare_card` and `CompareCard.from_data` make one."""

    action: Any = Field(description="a section such as {kind: phi4, notation: bosetti2015, beta: 0.576, lam: 0.5}")
    samplers: dict[str, Entry] = Field(
        description="the samplers by name, such as {hmc: {sampling: {kind: hmc}}}", max_length=_MOST_SAMPLERS
    )
    timing: Timing = Timing()
    _cards: dict[str, RunCard] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_data(cls, data: object, source: str = "compare card", *, overridden: bool = False) -> "CompareCard":
        """The card of plain data; the sentence of an `InputError` begins with `source`.

        With `overridden` a ladder that does not fit the lattice or the action is dropped.
        """
        if not isinstance(data, Mapping):
            raise InputError(f"{source}: a compare card is a list of keys and values, beginning with lattice: [8, 8]")
        if "samplers" not in data and "sampling" in data:
            raise InputError(f"{source}: is the card of one run, run it with trivmap run; a compare card has samplers")
        card = cls._validated(data, source, _presets_used)
        card._build(source, overridden)
        return card

    @model_validator(mode="before")
    @classmethod
    def _without_absent(cls, data: Any) -> Any:
        """An entry that is null is left out: `--set samplers.wolff=null`."""
        if isinstance(data, dict) and isinstance(data.get("samplers"), dict):
            present = {str(name): entry for name, entry in data["samplers"].items() if entry is not None}
            return data | {"samplers": present}
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "CompareCard":
        if len(self.samplers) < 2:
            raise validation_error(f"needs at least two samplers to compare, got {len(self.samplers)}", "samplers")
        for name, entry in self.samplers.items():
            if not DIRECTORY_NAME.fullmatch(name) or len(name) > DirectoryName().most:
                raise validation_error(
                    "cannot be a directory of its own; use letters, digits, '.', '_', '+' and '-'", name
                )
            # Some file systems ignore case.
            if name.lower() in FILES.values():
                raise validation_error("is the name of a file of the comparison itself; choose another name", name)
            if entry.map_of is None:
                continue
            others = [other for other, found in self.samplers.items() if found.model is not None]
            if entry.map_of not in others:
                raise validation_error(
                    f"{shown(entry.map_of)} is not a sampler here with a map; {suggestion(entry.map_of, others)}",
                    f"samplers.{name}.map_of",
                )
            if entry.model is not None or entry.training is not None:
                raise validation_error(
                    f"its map is that of {entry.map_of}; leave model and training out", f"samplers.{name}"
                )
        return self

    def _build(self, source: str, overridden: bool) -> None:
        """The run card of every entry."""
        notes: list[str] = []
        for position, (name, entry) in enumerate(self.samplers.items()):
            # Each gets its own seed: samplers that share their random numbers would agree too well.
            seed = self.seed if self.common_noise else derived_seed(self.seed, position)
            data: dict[str, Any] = {"name": name, "seed": seed}
            data |= {key: getattr(self, key) for key in _COMMON}
            mapped = entry if entry.map_of is None else self.samplers[entry.map_of]
            data |= {key: getattr(entry, key) for key in _OWN if getattr(entry, key) is not None}
            # Trained once: a run with the map of another run has nothing to train.
            data |= {"model": mapped.model, "training": entry.training}
            try:
                if overridden:
                    data, dropped = without_unfit_ladder(data, name)
                    notes += [f"{name}: {note}" for note in dropped]
                self._cards[name] = RunCard.from_data(data, name)
            except InputError as error:
                complaint = str(error).removeprefix(f"{name}: ")
                own = complaint.startswith(_OWN)
                raise InputError(f"{source}: {f'samplers.{name}.' if own else ''}{complaint}") from error
        self._notes = tuple(notes)

    @property
    def cards(self) -> Mapping[str, RunCard]:
        """The run card of every sampler, in order."""
        return self._cards

    def to_data(self) -> dict[str, Any]:
        """Plain data, with every default written out and presets resolved."""
        data = self.model_dump(mode="json", exclude={"samplers"})
        first = next(iter(self._cards.values())).to_data()
        data |= {key: first[key] for key in _COMMON}
        for name, entry in self.samplers.items():
            own = self._cards[name].to_data()
            kept = {key: own[key] for key in _OWN if own[key] is not None}
            if entry.map_of is not None:
                kept = {"map_of": entry.map_of} | {key: kept[key] for key in ("sampling", "measure")}
            data.setdefault("samplers", {})[name] = kept
        return data


def load_compare_card(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> CompareCard:
    """The compare card of a file or of a preset, with `overrides` such as `samplers.hmc.sampling.chains=8`.

    See `cards.card.load_card` for the distinction of the two; `samplers.NAME=null` leaves a sampler out. Raises
    `InputError`, one sentence with the dotted key, for any error in the card.
    """
    label, overrides = os.fspath(source), list(overrides)
    if label in preset_names():
        raise InputError(f"{label}: is the card of one run, run it with trivmap run {label}")
    data = read_data(source, PRESETS)
    if isinstance(data, dict) and overrides:
        written = _presets_used(data, label)
        data = true_headings(written, apply_overrides(written, overrides), label, ("lattice", "action", "samplers"))
    return CompareCard.from_data(data, label, overridden=bool(overrides))


def is_comparison(source: str) -> bool:
    """True if the text names a preset of compare cards."""
    return source in preset_names(PRESETS)


def _presets_used(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The data with `use` replaced by model and training of the preset it names."""
    written = dict(data)
    if not isinstance(data.get("samplers"), Mapping):
        return written
    written["samplers"] = {}
    for name, entry in data["samplers"].items():
        if isinstance(entry, Mapping) and entry.get("use") is not None:
            taken = trained_by(str(entry["use"]), f"{source}: samplers.{name}.use")
            entry = {**taken, **{key: value for key, value in entry.items() if key != "use"}}
        written["samplers"][name] = entry
    return written
