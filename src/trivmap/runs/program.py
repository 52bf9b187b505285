"""The trained map as a program of plain arrays, in StableHLO, for those who have JAX and not trivmap."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Field, Scalar
from trivmap.bases import AbstractBase
from trivmap.errors import InputError
from trivmap.extras import require
from trivmap.flows import Flow
from trivmap.runs.export import identity_of_theory
from trivmap.runs.pipeline import load_certified
from trivmap.runs.plan import Plan
from trivmap.runs.verdicts import reasons_of_samples
from trivmap.store.directory import RunDirectory
from trivmap.store.exports import require_exportable
from trivmap.store.files import new_large_file
from trivmap.store.weights import model_digest
from trivmap.support import Support

PLATFORMS = ("cpu", "cuda")
_WORDS = "threefry2x32"
"""The generator that the two words of a configuration are a key of."""


def export_program(run: RunDirectory, path: Path, *, plan: Plan | None = None) -> dict[str, Any]:
    """Write the map of a run as a program: `jax.export.deserialize` reads it, without trivmap; returns its facts.

    The file is an .npz without pickled objects: `sample` and `density` are functions, serialized by `jax.export`, and
    `metadata` is JSON. Both take batches of any size:

    - sample(noise) or sample(noise, words) -> (field, log q, log w). `noise` is what the base draws, unit normal for
      all bases of the library. A map of the even sites takes two random 32-bit words for each configuration besides,
      with which the odd ones are drawn: fields are whole.
    - density(field) -> (log q, log w) of whole configurations.

    q is normalized over all sites, and log w = -S - log q with S of all sites: the mean of w is Z.

    Args:
        run: the run, which must have its map.
        path: the file to make, which ends in .npz.
        plan: the plan of the run's card, where the caller has one.

    Raises:
        InputError: for a file that exists, a run without a map, or one whose map is integrated with an error that is
            not measured or too large.
    """
    from jax import export

    require("programs", "a program", "flatbuffers")
    require_exportable(path, (".npz",))
    plan = plan or Plan(run.card())
    if plan.card.model is None:
        raise InputError(f"{run.root}: has no map to export")
    flow, certificate = load_certified(run, plan)
    (batch,) = export.symbolic_shape("batch")

    def form(*shape: int, dtype: Any = flow.base.dtype) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), jnp.dtype(dtype))

    noise = jax.eval_shape(flow.noise, jax.random.key(0))
    sample, density = _functions(plan, flow)
    words = [] if flow.support is Support.ALL else [form(2, dtype=jnp.uint32)]
    arguments = {
        "sample": (sample, [form(*noise.shape, dtype=noise.dtype), *words]),
        "density": (density, [form(*plan.action.space.shape(plan.lattice))]),
    }
    made = {
        name: export.export(jax.jit(jax.vmap(function)), platforms=PLATFORMS)(*forms)
        for name, (function, forms) in arguments.items()
    }
    facts = {
        "format": "trivmap program",
        "functions": {
            "sample": "(noise) or (noise, words) -> (field, log q, log w)",
            "density": "(field) -> (log q, log w)",
        },
        "noise": {"shape": list(noise.shape), "distribution": _distribution(flow.base)},
        "words": "two uniform 32-bit words for each configuration, shape [2], with which the odd sites are drawn"
        if words
        else None,
        "log_q": "log of the density of the whole field, whose integral over all sites is 1",
        "log_w": "-S - log q",
        **identity_of_theory(plan),
        "model": model_digest(run.model_path),
        "certificate": certificate,
        "untrusted": reasons_of_samples(run.summary()),
        "platforms": list(PLATFORMS),
        "calling_convention_version": made["sample"].calling_convention_version,
        "jax": jax.__version__,
    }
    content = {name: np.frombuffer(bytes(each.serialize()), np.uint8) for name, each in made.items()}
    with new_large_file(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, metadata=np.asarray(json.dumps(facts, indent=2)), **content)
    return facts


def _functions(plan: Plan, flow: Flow) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The functions of one configuration."""
    target, whole = plan.target, plan.target.full

    def weighed(field: Field, log_density: Scalar) -> tuple[Scalar, Scalar]:
        """(log q, log w) of a whole field, from the log-density of the sites that the flow draws."""
        log_weight = -target(field) - log_density
        # The odd sites have the density exp(-S + S_eff) given the even ones.
        return (log_density if flow.support is Support.ALL else -whole(field) - log_weight), log_weight

    def sample(noise: Field, words: Array | None = None) -> tuple[Field, Scalar, Scalar]:
        field, log_density = flow.push(noise)
        if words is not None:
            field = target.sample_conditional(jax.random.wrap_key_data(words, impl=_WORDS), field)
        return field, *weighed(field, log_density)

    def density(field: Field) -> tuple[Scalar, Scalar]:
        return weighed(field, flow.log_density(field))

    return sample, density


def _distribution(base: AbstractBase) -> str:
    """The distribution of the noise of a base."""
    return "unit normal" if type(base).noise is AbstractBase.noise else f"that of {type(base).__name__}.noise"
