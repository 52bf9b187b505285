"""The sections of the run card about work: `training`, `sampling` and `measure`."""

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from trivmap.runs.card_fields import (
    REFERENCE,
    ByKey,
    ByShape,
    Count,
    Flag,
    Index,
    Positive,
    Real,
    Section,
    Whole,
    refusal,
    suggestion,
    write_out,
)

_PEAK = Field(description="the largest learning rate, for example 1.0e-3")
Ratio = Annotated[Real, Field(ge=0, le=1)]


class ConstantRate(Section):
    """`peak` throughout, reached linearly over `warmup` steps."""

    schedule: Literal["constant"]
    peak: Positive = _PEAK
    warmup: Index = 0


class CosineRate(Section):
    """Linear warm-up, then half a cosine from `peak` down to `final` * `peak` at the last step."""

    schedule: Literal["cosine"]
    peak: Positive = _PEAK
    warmup: Index = 0
    final: Ratio = 0.0


class RestartsRate(Section):
    """Cosines that restart (arXiv:1608.03983): lengths period * period_factor^n, peaks peak * decay^n."""

    schedule: Literal["restarts"]
    peak: Positive = _PEAK
    warmup: Index = 0
    final: Ratio = 0.0
    period: Count = Field(description="the number of steps of the first cosine, for example 500")
    period_factor: Annotated[Real, Field(ge=1)] = 1.0
    decay: Annotated[Real, Field(gt=0, le=1)] = 1.0


Rate = Annotated[ConstantRate | CosineRate | RestartsRate, ByKey("schedule")]


def optax_parameters(kind: str) -> dict[str, Any] | None:
    """Keyword arguments of an optax optimiser with their defaults, `learning_rate` left out; None if there is none.

    `lbfgs` is no first-order optimiser (it searches along lines) and is not counted.
    """
    import optax

    factory = getattr(optax, kind, None)
    if kind.startswith(("_", "scale_by")) or not kind.islower() or kind == "lbfgs" or not callable(factory):
        return None
    parameters = inspect.signature(factory).parameters
    if "learning_rate" not in parameters:
        return None
    return {name: parameter.default for name, parameter in parameters.items() if name != "learning_rate"}


def optax_optimisers() -> list[str]:
    """Names of the optax optimisers a card may use."""
    import optax

    return [name for name in dir(optax) if optax_parameters(name) is not None]


class Optimiser(Section):
    """An optax optimiser by name, or a function `my_module:factory(learning_rate, **arguments)` returning one.

    Further keys are the optimiser's own keyword arguments; those of optax are checked and written out.
    """

    model_config = ConfigDict(extra="allow")

    kind: str = Field(description="the name of an optax optimiser, for example adam")
    learning_rate: Rate = Field(description="a number, or a section such as {schedule: cosine, peak: 1.0e-3}")

    @classmethod
    def known_keys(cls, data: Mapping[str, Any]) -> tuple[str, ...] | None:
        parameters = optax_parameters(str(data.get("kind")))
        return None if parameters is None else ("kind", "learning_rate", *parameters)

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        kind = data["kind"]
        rate = data["learning_rate"]
        if not isinstance(rate, (Mapping, Section)):
            data["learning_rate"] = {"schedule": "constant", "peak": rate}
        if isinstance(kind, str) and REFERENCE.fullmatch(kind):
            return data
        parameters = optax_parameters(str(kind))
        if parameters is None:
            names = optax_optimisers()
            raise refusal(f"{kind!r} is no first-order optimiser of optax; {suggestion(kind, names)}", "kind")
        written_out = {name: value for name, value in parameters.items() if isinstance(value, (bool, int, float, str))}
        return data | {name: value for name, value in written_out.items() if name not in data}


class Phase(Section):
    """`steps` steps with `batch` configurations each."""

    steps: Count = Field(description="the number of steps with this batch")
    batch: Count = Field(description="the number of configurations in a step")


class Temperature(Section):
    """Target exp(-S/T), T from `start` to 1 over the first `steps` steps (null: half of the training)."""

    start: Positive = 1.0
    steps: Count | None = None
    schedule: Literal["linear", "geometric", "cosine"] = "linear"


class Stop(Section):
    """Ends training early: at an acceptance (minus one error), or after seconds of wall time."""

    acceptance: Annotated[Real, Field(gt=0, lt=1)] | None = None
    seconds: Positive | None = None


class Evaluate(Section):
    """Fresh proposals every `every` steps: acceptance and ESS with errors."""

    every: Count = 100
    proposals: Annotated[Whole, Field(ge=4096)] = 4096
    batch: Count = 1024


class Checkpoint(Section):
    """The full training state is kept every `every` steps (null: as often as it is evaluated)."""

    every: Count | None = None


class Training(Section):
    """How the map is trained."""

    objective: Literal["path-gradient", "reverse-kl"] = "path-gradient"
    steps: Count = Field(description="the number of optimiser steps, for example 2000")
    batch: Annotated[Count | list[Phase], ByShape()] = Field(
        description="the number of configurations in a step, for example 256"
    )
    optimiser: Optimiser = Field(description="a section such as {kind: adam, learning_rate: 1.0e-3}")
    clip: Positive | None = None
    ema: Annotated[Real, Field(ge=0, lt=1)] | None = None
    temperature: Temperature = Temperature()
    stop: Stop = Stop()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    chunk: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        total = sum(steps for steps, _ in self.phases)
        if total != self.steps:
            raise refusal(f"its phases have {total} steps in all, but training.steps is {self.steps}", "batch")
        warmup = self.optimiser.learning_rate.warmup
        if warmup >= self.steps:
            raise refusal(
                f"must be less than training.steps = {self.steps}, got {warmup}", "optimiser.learning_rate.warmup"
            )
        if self.temperature.start != 1 and self.temperature.steps is None:
            half = max(1, self.steps // 2)
            write_out(self, temperature=self.temperature.model_copy(update={"steps": half}))
        if (self.temperature.steps or 0) > self.steps:
            raise refusal(
                f"must be at most training.steps = {self.steps}, got {self.temperature.steps}", "temperature.steps"
            )
        if self.checkpoint.every is None:
            write_out(self, checkpoint=Checkpoint(every=self.evaluate.every))
        return self

    @property
    def phases(self) -> list[tuple[int, int]]:
        """(steps, batch) of each phase of the batch schedule."""
        if isinstance(self.batch, int):
            return [(self.steps, self.batch)]
        return [(phase.steps, phase.batch) for phase in self.batch]


class Sampling(Section):
    """Independence Metropolis-Hastings: `proposals` in all, shared among `chains`.

    `warmup` proposals of each chain are not measured (null: a tenth of the chain, at most 1000); `thin` and
    `save_fields` say which fields are kept; `part` is the number of proposals of a chain in one part file.
    """

    kind: Literal["flow"] = "flow"
    chains: Count = 4
    proposals: Count = 100_000
    batch: Count | None = None
    thin: Count = 1
    warmup: Index | None = None
    save_fields: Flag = False
    part: Count | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Sampling":
        if self.proposals % self.chains:
            nearest = max(1, round(self.proposals / self.chains)) * self.chains
            raise refusal(
                f"must be divisible by the number of chains, got {self.proposals} for {self.chains} chains; "
                f"{nearest} would do",
                "proposals",
            )
        each = self.proposals // self.chains
        if self.warmup is None:
            write_out(self, warmup=min(1000, each // 10))
        elif self.warmup >= each:
            raise refusal(f"leaves nothing to measure: {self.warmup} of {each} proposals in each chain", "warmup")
        if self.thin > each:
            raise refusal(f"must be at most the {each} proposals of a chain, got {self.thin}", "thin")
        return self


class Stages(Section):
    """Configurations whose way along the map is measured."""

    proposals: Count = 8192


class Measure(Section):
    """Error analysis: the number of `bins` a chain is averaged into before it (null: chosen from its length)."""

    bins: Count | None = None
    stages: Stages = Stages()
