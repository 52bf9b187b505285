"""The sections of the run card about the flow and the work on it: `model`, `training` and `measure`."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from trivmap.cards.fields import ByShape, Section, write_out
from trivmap.cards.optimizer import OPTIMIZERS, minimizes_by_default
from trivmap.cards.registry import BASES, DATA, MAPS, Objective
from trivmap.cards.signature import Component, Constructed
from trivmap.cards.values import Count, Name, Positive, Real, Reference, Whole, require_layers, validation_error
from trivmap.lattice import Lattice

_MOST_RUNGS = 64
"""Largest number of rungs: the map is built and traced again for each, before a run starts."""


Optimizer = Annotated[Component, OPTIMIZERS]


_OBJECTIVE: TypeAdapter[Component] = TypeAdapter(Objective)


class Model(Section):
    """The flow: a base and the maps in the order the field passes through them.

    `sites: even` makes it a flow of the even sites of the checkerboard; the odd ones are integrated out exactly in the
    action, and drawn exactly given the even ones. It needs the free-field base and continuous maps.
    """

    sites: Literal["all", "even"] = "all"

    base: Annotated[Component, BASES.by_key] = Field(description="a section such as {kind: free-field}")
    maps: list[Annotated[Component, MAPS.by_key]] = Field(description="the list of maps, for example [{kind: rescale}]")

    @model_validator(mode="after")
    def _of_finite_depth(self) -> "Model":
        built_in = (part for part in self.maps if isinstance(part, Constructed))
        require_layers((getattr(part, "couplings", 1) for part in built_in), "maps")
        return self

    def require_fit(self, lattice: Lattice) -> None:
        """Refuse a part whose tables or weights would be too large on this lattice, before anything is built."""
        self.base.require_fit(lattice, "model.base")
        for position, part in enumerate(self.maps):
            part.require_fit(lattice, f"model.maps.{position}")

    @property
    def needs_checkerboard(self) -> bool:
        built_in = [part for part in (self.base, *self.maps) if isinstance(part, Constructed)]
        return self.sites == "even" or any(part.needs_checkerboard for part in built_in)


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


class Rung(Section):
    """A smaller lattice that is trained first, its couplings changed by `action`; unset keys are the training's own."""

    lattice: list[Whole] = Field(description="the list of extents, for example [8, 8]")
    action: dict[str, Any] = Field(default={})
    steps: Count | None = None
    batch: Count | None = None
    objective: Objective | None = None
    data: Annotated[Component, DATA.by_key] | None = None
    optimizer: Optimizer | None = None


def draws_data(objective: object) -> bool | None:
    """True for an objective that is estimated on configurations of the target; None for the user's own objective.

    `objective` is its section, or the value that a card gives for it.
    """
    if not isinstance(objective, Component):
        try:
            objective = _OBJECTIVE.validate_python(objective)
        except ValueError:
            return None
    return "data" in objective.build("objective").draws if isinstance(objective, Constructed) else None


class Training(Section):
    """The training of the map: on the lattices of the `ladder` one after another, then on the card's own.

    `ladder: auto` stands for rungs on the card's lattice at weaker couplings, as many as the action needs.

    `start` names a run directory, in the folder that holds the run's own, whose trained map training begins with.
    """

    objective: Objective | None = None
    data: Annotated[Component, DATA.by_key] | None = None
    steps: Count = Field(description="the number of optimizer steps, for example 2000")
    batch: Annotated[Count | list[Phase], ByShape()] = Field(
        description="the number of configurations in a step, for example 256"
    )
    optimizer: Optimizer = Field(description="a section such as {kind: adam, learning_rate: 1.0e-3}")
    clip: Positive | None = None
    ema: Annotated[Real, Field(ge=0, lt=1)] | None = None
    temperature: Temperature = Temperature()
    stop: Stop = Stop()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    chunk: Count | None = None
    ladder: Annotated[Literal["auto"] | Annotated[list[Rung], Field(max_length=_MOST_RUNGS)], ByShape()] = Field(
        default=[]
    )
    start: Name | None = None

    @classmethod
    def _prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        if data.get("objective") is None:
            data["objective"] = minimizes_by_default(data["optimizer"])
        return data

    @model_validator(mode="after")
    def _consistent(self) -> "Training":
        total = sum(steps for steps, _ in self.phases)
        if total != self.steps:
            raise validation_error(f"its phases have {total} steps in all, but training.steps is {self.steps}", "batch")
        warmup = getattr(getattr(self.optimizer, "learning_rate", None), "warmup", 0)
        if warmup >= self.steps:
            raise validation_error(
                f"must be less than training.steps = {self.steps}, got {warmup}", "optimizer.learning_rate.warmup"
            )
        makes: Any = self.optimizer.make if isinstance(self.optimizer, Constructed) else None
        if self.temperature.start != 1 and makes and makes.judges_itself:
            raise validation_error(
                f"must be 1 with {self.optimizer.named}, which compares each step with the one before; anneal with a "
                "first-order optimizer such as adam",
                "temperature.start",
            )
        self._require_data()
        if self.temperature.start != 1 and self.temperature.steps is None:
            half = max(1, self.steps // 2)
            write_out(self, temperature=self.temperature.model_copy(update={"steps": half}))
        if (self.temperature.steps or 0) > self.steps:
            raise validation_error(
                f"must be at most training.steps = {self.steps}, got {self.temperature.steps}", "temperature.steps"
            )
        if self.checkpoint.every is None:
            write_out(self, checkpoint=Checkpoint(every=self.evaluate.every))
        return self

    def _require_data(self) -> None:
        """Refuse an objective without the configurations that it needs, and configurations that no objective needs."""
        wanted = draws_data(self.objective)
        if wanted is None:
            return
        name = self.objective.named if self.objective else ""
        if wanted and self.data is None:
            raise validation_error(
                f"missing; {name} is estimated on configurations of the target, give {{kind: run, run: NAME}} or "
                "{kind: walkers, count: 256}",
                "data",
            )
        if self.data is not None and not wanted:
            raise validation_error(f"of no use: {name} draws the flow's own configurations; leave it out", "data")
        if wanted and self.temperature.start != 1:
            raise validation_error(
                "must be 1 with configurations of the target, which have no other", "temperature.start"
            )

    @property
    def rungs(self) -> list[Rung]:
        """The rungs of the ladder; none before `auto` is expanded."""
        return [] if isinstance(self.ladder, str) else self.ladder

    @property
    def judged(self) -> int:
        """The largest number of proposals in all evaluations."""
        return -(-self.steps // self.evaluate.every) * self.evaluate.proposals

    @property
    def phases(self) -> list[tuple[int, int]]:
        """(steps, batch) of each phase of the batch schedule."""
        if isinstance(self.batch, int):
            return [(self.steps, self.batch)]
        return [(phase.steps, phase.batch) for phase in self.batch]


class Stages(Section):
    """Configurations whose way along the map is measured."""

    proposals: Annotated[Count, Field(ge=8)] = 8192


_MOST_OBSERVABLES = 1000
LEAST_BINS = 5
"""Least number of bins in each chain, which the analysis needs for an error."""


class Measure(Section):
    """Error analysis: the number of `bins` a chain is averaged into before it (null: chosen from its length).

    `observables` of one's own are measured while samples are drawn: each is the `my_module:name` of an
    `Observable`, or of a list of them.
    """

    bins: Count | None = None
    stages: Stages = Stages()
    observables: list[Reference] = Field(default=[], max_length=_MOST_OBSERVABLES)
