"""The study card: a grid of runs over lattices along a line, architectures, settings and seeds."""

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise, product
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, PrivateAttr, model_validator

from trivmap.cards.card import RunCard, read_data
from trivmap.cards.headings import Heading, true_headings
from trivmap.cards.overrides import Change, apply_overrides, read_override
from trivmap.cards.presets import preset_names, trained_by
from trivmap.cards.values import MOST_DIMENSIONS, Count, Index, Real, Threads, validation_error
from trivmap.errors import InputError, prefixed, shown
from trivmap.studies.scaling.series import Extent, Series, label_of, labeled, require_some, run_name_of

PRESETS = "trivmap.studies.scaling"
"""The package whose presets are study cards."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
"""Names of directories, without the character that joins the parts of a run's name."""
_MOST_OVERRIDES = 256
"""Most overrides of a run: they are applied to the card of every run."""
_MOST_RUNS = 4096
"""Most runs of a study: the card of each is checked before the first one starts."""
_OWN = ("model", "training", "sampling", "measure")


class StudyRun(NamedTuple):
    """One run of a study: its name, its place in the grid, its card, and the run that it starts from."""

    name: str
    series: str
    settings: dict[str, str]
    extent: int
    seed: int
    card: RunCard
    after: str | None


class StudyCard(Heading):
    """A study. `load_study_card` and `StudyCard.from_data` make one."""

    dtype: Literal["float32", "float64"] = "float32"
    device: Literal["cpu", "gpu", "tpu"] | None = None
    threads: Threads | None = 1
    dimension: Annotated[Count, Field(le=MOST_DIMENSIONS)] = 2
    action: dict[str, Any] = Field(
        description="what all lattices share, such as {kind: phi4, notation: bosetti2015, lam: 0.5}"
    )
    couplings: dict[Extent, dict[str, Real]] = Field(description="for each extent, such as {8: {beta: 0.576}}")
    extents: list[Count] = Field(description="the list of extents, for example [8, 16]")
    seeds: list[Index] = Field(default=[0])
    targets: list[Annotated[Real, Field(gt=0, lt=1)]] = Field(default=[0.5, 0.7, 0.9])
    retries: Index = 1
    series: dict[str, Series] = Field(description="the architectures by name, such as {affine: {use: ...}}")
    _runs: dict[str, StudyRun] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_data(cls, data: object, source: str = "study card") -> "StudyCard":
        """The card of plain data; the sentence of an `InputError` begins with `source`."""
        if not isinstance(data, Mapping):
            raise InputError(f"{source}: a study card is a list of keys and values, beginning with extents: [4, 6, 8]")
        for key, what, command in (("sampling", "one run", "run"), ("samplers", "a comparison", "compare")):
            if "series" not in data and key in data:
                raise InputError(
                    f"{source}: is the card of {what}, run it with trivmap {command}; a study card has series"
                )
        card = cls._validated(data, source)
        number = sum(card._number(series) for series in card.series.values())
        if number > _MOST_RUNS:
            raise InputError(f"{source}: series: has {shown(number)} runs in all; at most {_MOST_RUNS} in one study")
        for name, series in card.series.items():
            for run in card._grid(name, series, source):
                if run.name in card._runs:
                    raise InputError(f"{source}: series.{name}: two runs would be called {run.name}; name labels apart")
                card._runs[run.name] = run
        return card

    @model_validator(mode="after")
    def _consistent(self) -> "StudyCard":
        if not self.series:
            raise validation_error("empty; name at least one architecture, such as {affine: {use: ...}}", "series")
        for name, series in self.series.items():
            if not _NAME.fullmatch(name):
                raise validation_error("cannot be part of a file's name; use letters, digits, '.', '+' and '-'", name)
            for key, chosen in (("extents", series.extents), ("seeds", series.seeds)):
                if chosen is not None:
                    require_some(chosen, f"series.{name}.{key}", "leave it out to take the study's own")
            self._require_at(name, series)
            for axis, values in series.grid.items():
                key = f"series.{name}.grid.{axis}"
                if not values:
                    raise validation_error("empty; give the values to try, or leave the axis out", key)
                if not isinstance(values, list) and not (isinstance(values, dict) and labeled(values)):
                    raise validation_error(
                        "must be the list of values of a key, or for every label a list of overrides such as "
                        "{small: [training.batch=64]}",
                        key,
                    )
            missing = [L for L in series.extents or self.extents if L not in self.couplings]
            if missing:
                raise validation_error(
                    f"nothing for L = {missing[0]}, which series {name} runs at; add its line", "couplings"
                )
        for extent, couplings in self.couplings.items():
            if twice := sorted(couplings.keys() & self.action.keys()):
                raise validation_error(
                    f"couplings give it for L = {extent}; leave one of them out", f"action.{twice[0]}"
                )
        for key in ("extents", "seeds"):
            require_some(getattr(self, key), key, "give at least one")
        return self

    def _number(self, series: Series) -> int:
        """The runs of a series."""
        points = math.prod(len(values) for values in series.grid.values())
        return points * sum(len(self._seeds(series, extent)) for extent in series.extents or self.extents)

    def _seeds(self, series: Series, extent: int) -> list[int]:
        return series.seeds_at.get(extent) or series.seeds or self.seeds

    def _require_at(self, name: str, series: Series) -> None:
        """Refuse settings for an L that is not run, an L without seeds, and seeds with no run to start from."""
        extents = sorted(series.extents or self.extents)
        for key, said in (("seeds_at", series.seeds_at), ("set_at", series.set_at)):
            for extent in said:
                if extent not in extents:
                    raise validation_error(
                        f"series {name} does not run at L = {extent}", f"series.{name}.{key}.{extent}"
                    )
        for extent, seeds in series.seeds_at.items():
            require_some(seeds, f"series.{name}.seeds_at.{extent}", "leave it out to take the series' own")
        for small, large in pairwise(extents if series.transfer else []):
            if lost := set(self._seeds(series, large)) - set(self._seeds(series, small)):
                raise validation_error(
                    f"seed {min(lost)} at L = {large} has no run at L = {small} to start from",
                    f"series.{name}.seeds_at",
                )

    def _grid(self, name: str, series: Series, source: str) -> Iterable[StudyRun]:
        def read(overrides: list[str]) -> list[Change]:
            # Read once for all runs: reading YAML is the slowest part.
            with prefixed(f"{source}: series.{name}: "):
                return [read_override(override) for override in overrides]

        axes = [
            [(axis, label_of(value), read([f"{axis}={json.dumps(value)}"])) for value in values]
            if isinstance(values, list)
            else [(axis, str(label), read(overrides)) for label, overrides in values.items()]
            for axis, values in series.grid.items()
        ]
        common, at = read(series.set), {extent: read(overrides) for extent, overrides in series.set_at.items()}
        taken = {} if series.use is None else trained_by(series.use, f"{source}: series.{name}.use")
        taken |= {key: getattr(series, key) for key in _OWN if getattr(series, key) is not None}
        if series.transfer and (taken.get("training") or {}).get("ladder"):
            taken["training"] = {**taken["training"], "ladder": []}
        extents = sorted(series.extents or self.extents)
        for point in product(*axes):
            labels = {axis: label for axis, label, _ in point}
            varied = [override for _, _, overrides in point for override in overrides]
            for position, extent in enumerate(extents):
                changes = [*common, *at.get(extent, []), *varied]
                if len(changes) > _MOST_OVERRIDES:
                    raise InputError(
                        f"{source}: series.{name}: has {len(changes)} overrides for a run; at most {_MOST_OVERRIDES}"
                    )
                for seed in self._seeds(series, extent):
                    after = run_name_of(name, labels, extents[position - 1], seed) if position else None
                    after = after if series.transfer else None
                    run_name = run_name_of(name, labels, extent, seed)
                    data: dict[str, Any] = {
                        "name": run_name,
                        "seed": seed,
                        "dtype": self.dtype,
                        "device": self.device,
                        "threads": self.threads,
                        "lattice": [extent] * self.dimension,
                        "action": {**self.action, **self.couplings[extent]},
                        **taken,
                    }
                    where = f"{source}: series.{name}: {run_name}"
                    with prefixed(f"{where}: ", instead_of=f"{run_name}: "):
                        data = apply_overrides(data, changes)
                        if after is not None:
                            data["training"] = _begun(data.get("training"), after)
                        run_card = RunCard.from_data(data, run_name)
                    if run_card.training is None:
                        raise InputError(f"{where}: has no section training; a study asks what training costs")
                    yield StudyRun(run_name, name, labels, extent, seed, run_card, after)

    @property
    def runs(self) -> Mapping[str, StudyRun]:
        """Every run of the grid by name, each after the run that it starts from."""
        return self._runs

    def to_data(self) -> dict[str, Any]:
        """Plain data, with the card's own defaults written out."""
        return self.model_dump(mode="json", exclude_none=True) | {
            "couplings": self.couplings,
            "threads": self.threads,
        }


def load_study_card(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> StudyCard:
    """The study card of a file or of a preset, with `overrides` such as `seeds=[0]`.

    See `cards.card.load_card` for the distinction of the two. Raises `InputError`, one sentence, for any error in the
    card.
    """
    label, overrides = os.fspath(source), list(overrides)
    if label in preset_names():
        raise InputError(f"{label}: is the card of one run, run it with trivmap run {label}")
    data = read_data(source, PRESETS)
    if isinstance(data, dict) and overrides:
        theory = ("dimension", "action", "couplings", "extents", "series")
        data = true_headings(data, apply_overrides(data, overrides), label, theory)
    return StudyCard.from_data(data, label)


def is_study(source: str) -> bool:
    """True if the text names a preset of study cards."""
    return source in preset_names(PRESETS)


def _begun(training: Any, after: str) -> Any:
    """The section training that starts from another run; the run card checks a value that is not a section."""
    if training is not None and not isinstance(training, dict):
        return training
    if training and training.get("start") is not None:
        raise InputError("training.start: transfer: true gives the start; leave one of them out")
    return {**(training or {}), "start": after}
