"""Along the map: the statistics of the field after every stage of a flow, from the base to the end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Field, Key
from trivmap.actions import AbstractAction
from trivmap.errors import InputError
from trivmap.estimate import parenthesis
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.notebook import table
from trivmap.observables.estimators import correlation_length
from trivmap.observables.measurements import momentum_two_point, two_point
from trivmap.support import Support

_BINS = 60
"""The number of intervals of a histogram."""
_LEAST_BATCHES = 8


@dataclass(frozen=True)
class Histogram:
    """A probability density: `density` and `error` in the intervals between `edges` (one more).

    The norm includes the few values outside the edges.
    """

    edges: list[float]
    density: list[float]
    error: list[float]


@dataclass(frozen=True)
class StageSummary:
    """One stage: G(x) on the orbits of displacements, G(0) and G(k1), xi, and two histograms, with errors.

    The normalization is that of `measurements` and `estimators`; the samples are those of the flow, not reweighted.
    `correlation_length` is None, with the reason in `untrusted`, if G(0) <= G(k1) within the noise.
    """

    name: str
    two_point: list[float]
    two_point_error: list[float]
    momentum_two_point: list[float]
    momentum_two_point_error: list[float]
    correlation_length: float | None
    correlation_length_error: float | None
    untrusted: str | None
    field: Histogram
    magnetization: Histogram


@dataclass(frozen=True, repr=False)
class FlowStages:
    """The summaries of all stages in order, from the same independent samples of the flow."""

    lattice: list[int]
    proposals: int
    stages: list[StageSummary]

    def __repr__(self) -> str:
        """A line for each stage: its correlation length and <phi^2>, with errors."""
        width = max(len(stage.name) for stage in self.stages)
        rows = [f"{name:{width}}  xi {length:>12}  <phi^2> {square}" for name, length, square in self._rows()]
        return "\n".join([self._head, *rows])

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        return table(self._head, ("stage", "xi", "<phi^2>"), self._rows())

    @property
    def _head(self) -> str:
        return f"FlowStages of {self.proposals} samples on lattice {self.lattice}"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Name, correlation length and <phi^2> of each stage."""
        for stage in self.stages:
            xi, error = stage.correlation_length, stage.correlation_length_error
            length = "unknown" if xi is None or error is None else parenthesis(xi, error)
            yield stage.name, length, parenthesis(stage.two_point[0], stage.two_point_error[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings and lists, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "FlowStages":
        """The stages from the output of `to_dict`. Raises `ValueError` if lengths do not fit together."""
        stages = []
        for each in content["stages"]:
            histograms: dict[str, Any] = {key: Histogram(**each[key]) for key in ("field", "magnetization")}
            stages.append(StageSummary(**{**each, **histograms}))
            orbits, lengths = len(Lattice(content["lattice"]).orbit_representatives), set()
            lengths |= {len(stages[-1].two_point), len(stages[-1].two_point_error)}
            edges = [len(each.edges) - len(each.density) for each in histograms.values()]
            if lengths != {orbits} or set(edges) != {1}:
                raise ValueError(f"{stages[-1].name}: arrays of other lengths than the lattice and the bins have")
        return cls(content["lattice"], content["proposals"], stages)


def along_the_map(
    flow: Flow, key: Key, *, action: AbstractAction | None = None, proposals: int = 8192, batch: int | None = None
) -> FlowStages:
    """Push `proposals` noise fields through the flow and summarize every stage; errors come from the batches.

    A flow of the even sites needs its `action`, which draws the odd ones after every stage. Histograms reach from -a to
    a, with a just above the largest modulus in the first batch, for each stage separately. Only whole batches are used;
    `batch` is by default a sixteenth of the proposals. Raises `InputError` for fewer than 8 batches, and for an
    action that does not fit the flow.
    """
    if action is not None:
        flow.require_domain(action)
    elif flow.support is not Support.ALL:
        raise InputError("flow: is one of the even sites; give its action, which draws the odd ones")
    keys = keys_of_batches(key, proposals, batch)
    batches, batch = keys.shape
    names = [stage.name for stage in eqx.filter_eval_shape(lambda f, k: f.stages(f.noise(k)), flow, keys[0, 0])]
    # Arrays, not numbers: a compiled function treats a Python number as a constant and compiles again for another.
    reach = [(1.05 * a, 1.05 * b) for a, b in _largest(fields_along_the_map(flow, action, keys[0]))]
    measured = [jax.device_get(_measure(fields_along_the_map(flow, action, part), reach)) for part in keys]
    ranges = [(float(a), float(b)) for a, b in reach]
    return FlowStages(
        list(flow.lattice.shape),
        batches * batch,
        [
            _summarize(name, flow.lattice, [each[i] for each in measured], ranges[i], batch)
            for i, name in enumerate(names)
        ],
    )


def keys_of_batches(key: Key, proposals: int, batch: int | None = None) -> Array:
    """Keys of the noise of every proposal, shape (batches, batch), as `along_the_map` uses them.

    Raises `InputError` for fewer than 8 batches.
    """
    batch = max(1, proposals // 16) if batch is None else batch
    batches = proposals // batch
    if batches < _LEAST_BATCHES:
        raise InputError(
            f"measure.stages.proposals: {proposals} proposals in batches of {batch} are too few for an error; "
            f"give at least {_LEAST_BATCHES} batches"
        )
    return jax.random.split(key, (batches, batch))


@eqx.filter_jit
def fields_along_the_map(
    flow: Flow, action: AbstractAction | None, keys: Array
) -> list[Float[Array, "batch *lattice"]]:
    """The fields of a batch after every stage, from the base to the end; odd sites are drawn if integrated out."""

    def stages(key: Key) -> list[Field]:
        fields = [stage.field for stage in flow.stages(flow.noise(key))]
        if action is None:
            return fields
        # All stages at once: separate draws would be a slow loop that takes time to compile.
        return list(jax.vmap(action.sample_conditional)(jax.random.split(key, len(fields)), jnp.stack(fields)))

    return jax.vmap(stages)(keys)


def _magnetizations(fields: Float[Array, "batch *lattice"]) -> Float[Array, " batch"]:
    return jnp.mean(fields, axis=tuple(range(1, fields.ndim)))


@eqx.filter_jit
def _largest(fields: list[Float[Array, "batch *lattice"]]) -> list[tuple[Array, Array]]:
    """Largest |phi(x)| and |m| of each stage."""
    return [(jnp.max(jnp.abs(stage)), jnp.max(jnp.abs(_magnetizations(stage)))) for stage in fields]


@eqx.filter_jit
def _measure(
    fields: list[Float[Array, "batch *lattice"]], reach: Sequence[tuple[Array, Array]]
) -> list[dict[str, Array]]:
    """Batch means of each stage."""
    return [
        {
            "two_point": jnp.mean(jax.vmap(two_point)(stage), axis=0),
            "momentum_two_point": jnp.mean(jax.vmap(momentum_two_point)(stage), axis=0),
            "field": _counts(stage, a),
            "magnetization": _counts(_magnetizations(stage), b),
        }
        for stage, (a, b) in zip(fields, reach, strict=True)
    ]


def _counts(values: Float[Array, "..."], reach: Array) -> Array:
    """The number of values in each interval of a histogram of [-reach, reach)."""
    position = jnp.floor((values.ravel() / reach.astype(values.dtype) + 1) * (_BINS / 2))
    inside = (position >= 0) & (position < _BINS)
    index = jnp.where(inside, position, _BINS).astype(jnp.int32)
    return jnp.zeros(_BINS, jnp.int32).at[index].add(1, mode="drop")


def _summarize(
    name: str, lattice: Lattice, batches: list[dict[str, np.ndarray]], reach: tuple[float, float], batch: int
) -> StageSummary:
    means = {key: np.stack([each[key] for each in batches]).astype(np.float64) for key in batches[0]}
    average = {key: values.mean(axis=0) for key, values in means.items()}
    error = {key: values.std(axis=0, ddof=1) / np.sqrt(len(batches)) for key, values in means.items()}
    length, length_error = _jackknife(means["momentum_two_point"], lattice)
    trusted = bool(np.isfinite(length) and np.isfinite(length_error))

    def histogram(key: str, a: float, values: int) -> Histogram:
        edges = np.linspace(-a, a, len(average[key]) + 1)
        density = values * (edges[1] - edges[0])
        return Histogram(edges.tolist(), (average[key] / density).tolist(), (error[key] / density).tolist())

    return StageSummary(
        name=name,
        two_point=average["two_point"].tolist(),
        two_point_error=error["two_point"].tolist(),
        momentum_two_point=average["momentum_two_point"].tolist(),
        momentum_two_point_error=error["momentum_two_point"].tolist(),
        correlation_length=float(length) if trusted else None,
        correlation_length_error=float(length_error) if trusted else None,
        untrusted=None if trusted else "G(0) <= G(k1) within the noise: no correlation is seen",
        field=histogram("field", reach[0], batch * lattice.volume),
        magnetization=histogram("magnetization", reach[1], batch),
    )


def _jackknife(means: np.ndarray, lattice: Lattice) -> tuple[float, float]:
    """xi and its error from the batch means of G(0) and G(k1), shape (batches, 2)."""
    count = len(means)
    without = (means.sum(axis=0) - means) / (count - 1)
    with np.errstate(invalid="ignore"):
        value = float(correlation_length({"momentum_two_point": means.mean(axis=0)}, lattice))
        samples = np.array([correlation_length({"momentum_two_point": each}, lattice) for each in without])
    return value, float(np.sqrt((count - 1) * np.mean((samples - samples.mean()) ** 2)))
