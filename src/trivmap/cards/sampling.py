"""The section `sampling` of the run card, with one class for each kind of sampler."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from trivmap.cards.fields import ByShape, Section, write_out
from trivmap.cards.values import (
    LARGEST_WHOLE,
    Count,
    Flag,
    Index,
    LongCount,
    Positive,
    Ratio,
    Real,
    Text,
    Whole,
    one_of,
    validation_error,
)


class Sampling(Section):
    """The keys that all kinds share: `proposals` steps in all, shared among `chains`.

    `thin` and `save_fields` say which fields are kept; `part` is the number of steps of a chain in one part file.
    """

    needs_model: ClassVar[bool] = False
    """True if the sampler uses a map."""

    kind: Any
    chains: Count = Field(default=4, description="independent chains")
    proposals: LongCount = Field(default=100_000, description="steps of all chains together; a multiple of `chains`")
    thin: Count = Field(default=1, description="steps from one saved field to the next; every step is measured")
    warmup: Index | None = Field(
        default=None, description="steps of each chain before the measured ones; null: a tenth, at most 1000"
    )
    save_fields: Flag = Field(default=False, description="whether the chains' fields are stored")
    part: Count | None = Field(default=None, description="steps of a chain in one file; null: about 64 MB")

    @property
    def measured_warmup(self) -> int:
        """Steps of each chain that are counted among its proposals but not measured."""
        return 0

    @property
    def own_settings(self) -> dict[str, Any]:
        """The keys of this kind alone that identify its samples; keys that cannot change the samples are left out."""
        common = {*Sampling.model_fields, "batch", "probe"}
        own = {name: value for name, value in self.model_dump().items() if name not in common and value is not None}
        # "start" has another meaning in a part of samples.h5.
        return {name: value for name, value in own.items() if name != "start"} | begins(own.get("start"))

    @model_validator(mode="after")
    def _consistent(self) -> "Sampling":
        if self.proposals % self.chains:
            nearest = max(1, round(self.proposals / self.chains)) * self.chains
            raise validation_error(
                f"must be divisible by the number of chains, got {self.proposals} for {self.chains} chains; "
                f"{nearest} would do",
                "proposals",
            )
        each = self.proposals // self.chains
        if each > LARGEST_WHOLE:
            raise validation_error(
                f"must be at most {LARGEST_WHOLE} for each of the {self.chains} chains, whose steps are counted in 32 "
                f"bits, got {self.proposals}",
                "proposals",
            )
        if self.warmup is None:
            write_out(self, warmup=self._default_warmup(each))
        if self.thin > each:
            raise validation_error(f"must be at most the {each} proposals of a chain, got {self.thin}", "thin")
        return self

    def _default_warmup(self, each: int) -> int:
        return min(1000, each // 10)


def begins(start: str | Mapping[str, str] | None) -> dict[str, str]:
    """The attributes of samples that say where their chains begin; `start` as it stands in the card."""
    if isinstance(start, Mapping):
        return {"begin": "given", "begin_at": start["configurations"]}
    return {} if start is None else {"begin": start}


class ProposalSampling(Sampling):
    """Independent proposals with weights, and the accept test over them.

    `warmup` proposals of each chain are stored but not measured (null: a tenth of the chain, at most 1000); `batch` is
    the number of proposals compiled together (null: chosen by the size of the lattice).
    """

    batch: Count | None = None

    @property
    def measured_warmup(self) -> int:
        return self.warmup or 0

    @model_validator(mode="after")
    def _something_left(self) -> "ProposalSampling":
        each = self.proposals // self.chains
        if (self.warmup or 0) >= each:
            raise validation_error(
                f"leaves nothing to measure: {self.warmup} of {each} proposals in each chain", "warmup"
            )
        return self


class FlowSampling(ProposalSampling):
    """Independence Metropolis-Hastings with the map's proposals.

    `integration_steps` are those of a continuous map's integration (null: the fewest whose measured error passes).
    `probe`: compare the map with a short run of another sampler, which sees what the map misses.
    """

    needs_model: ClassVar[bool] = True

    kind: Literal["flow"] = "flow"
    integration_steps: Count | None = None
    probe: Flag = True


class AnnealedSampling(ProposalSampling):
    """Independence Metropolis-Hastings with proposals annealed from the start to exp(-S) in `steps` targets.

    Without a model the start is the free field with the Hartree spectrum, or, with `moves: heat-bath`, uncoupled sites.
    `moves` between two targets are `updates` trajectories of hybrid Monte Carlo of `leapfrog_steps` steps each
    (`step_size` null: tuned once, before), or sweeps of the heat bath. With `particles` > 1 a proposal is a whole
    population, resampled where its effective sample size falls below `resample` of it.
    """

    kind: Literal["annealed"]
    steps: Annotated[Count, Field(le=1_000_000)] = 20
    schedule: Annotated[str, one_of(("linear", "quadratic"))] = "linear"
    moves: Annotated[str, one_of(("hmc", "langevin", "heat-bath"))] = "hmc"
    updates: Annotated[Count, Field(le=256)] = 1
    leapfrog_steps: Count = 4
    step_size: Positive | None = None
    particles: Count = 1
    resample: Ratio = 0.5
    integration_steps: Count | None = None


class ChainSampling(Sampling):
    """A Markov chain: `warmup` steps of each chain come first and are not stored (null: a tenth, 200 to 2000)."""

    def _default_warmup(self, each: int) -> int:
        return min(2000, max(200, each // 10))


class HamiltonianSampling(ChainSampling):
    """Hybrid Monte Carlo; `proposals` counts trajectories, whose mean length is `trajectory_length`.

    `step_size` null: adapted in the warm-up until `target_acceptance` is met, then fixed.
    """

    chains: Count = 16
    integrator: Annotated[str, one_of(("leapfrog", "omelyan"))] = "omelyan"
    step_size: Positive | None = None
    trajectory_length: Positive = 1.0
    target_acceptance: Annotated[Real, Field(gt=0, lt=1)] = 0.8


class GivenStart(Section):
    """Chains that begin at configurations of an ensemble, spread evenly over it."""

    configurations: Text = Field(
        description="the ensemble: `FILE`, `FILE:/DATASET`, or a run that has stored its fields; seen from the folder "
        "in which the command is typed"
    )


Start = Annotated[Annotated[str, one_of(("hot", "cold", "mixed"))] | GivenStart, ByShape()]


class HmcSampling(HamiltonianSampling):
    """Hybrid Monte Carlo of the field itself.

    `fourier_mass` m^2: momenta of covariance khat^2 + m^2 (Fourier acceleration); null: unit mass. `start` mixed puts
    half of the chains at +, half at -, so that chains which do not tunnel disagree; or it names configurations.
    """

    kind: Literal["hmc"]
    fourier_mass: Positive | None = None
    start: Annotated[Annotated[str, one_of(("mixed", "hot"))] | GivenStart, ByShape()] = "mixed"


class TrivializedSampling(HamiltonianSampling):
    """Hybrid Monte Carlo in the noise of the map (arXiv:2302.08408)."""

    needs_model: ClassVar[bool] = True

    kind: Literal["trivialized-hmc"]
    trajectory_length: Positive = 1.5
    integration_steps: Count | None = None


class ClusterSampling(ChainSampling):
    """Embedded Ising clusters alternating with `local_updates` Metropolis sweeps; `proposals` counts such cycles.

    `wolff_updates` are the single clusters of one cycle with `algorithm: wolff` (null: enough to flip about all sites).
    """

    kind: Literal["cluster"]
    algorithm: Annotated[str, one_of(("swendsen-wang", "wolff"))] = "swendsen-wang"
    local_updates: Whole = Field(default=2, ge=1)
    wolff_updates: Count | None = None

    @model_validator(mode="after")
    def _long_enough(self) -> "ClusterSampling":
        if (self.warmup or 0) < 20:
            raise validation_error(
                f"must be at least 20, as the width of the local updates is tuned in it, got {self.warmup}", "warmup"
            )
        return self
