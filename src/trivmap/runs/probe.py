"""The probe: the density of a map at configurations of another sampler, and at mirror images of the map's own."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.ahead import Program
from trivmap.devices import using
from trivmap.diagnostics.mirror import mirror_overlap, mirror_reason
from trivmap.diagnostics.missed_modes import missed_modes
from trivmap.errors import InputError
from trivmap.flows import Flow, SteppedFlow
from trivmap.samplers import HMC, OMELYAN, ActionPotential, ClusterCycle
from trivmap.simulation import ClusterChains, MarkovChains

BATCH = 256
"""Configurations that one call of the compiled program evaluates."""
_FEWEST, _MOST = 1024, 4096
_SHARE = 1 / 20
"""Configurations per proposal."""
_CHAINS = 16
_FEWEST_CHAINS = 4
_THIN = 5
_WARMUP = 200


class Findings(NamedTuple):
    """Facts for the summary of a run, and reasons to distrust numbers that depend on the map's weights.

    `missed`: reason to distrust every number. `sector`: reason to distrust log Z and all that is odd under phi -> -phi.
    """

    facts: dict[str, Any]
    missed: str | None
    sector: str | None


class Densities:
    """log q and log w of configurations under flows of one form, in batches of one size."""

    def __init__(self, action: AbstractAction):
        self._action, self._program = action, Program(_evaluate)

    def begin(self, flow: Flow | SteppedFlow) -> None:
        """Begin to compile, in the background."""
        whole = flow.resolved()
        self._program.begin(flow, self._action, jnp.asarray(np.zeros((BATCH, *whole.lattice.shape), whole.base.dtype)))

    def under(self, flow: Flow | SteppedFlow, fields: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log q and log w of configurations, shape (n,) each."""
        dtype = flow.resolved().base.dtype
        padded = np.resize(fields, (-(-len(fields) // BATCH) * BATCH, *fields.shape[1:])).astype(dtype)
        batches = padded.reshape(-1, BATCH, *fields.shape[1:])
        found = [self._program(flow, self._action, jnp.asarray(batch)) for batch in batches]
        density, weight = (np.concatenate(values)[: len(fields)] for values in zip(*found, strict=True))
        return np.asarray(density, np.float64), np.asarray(weight, np.float64)


def examine(
    flow: Flow | SteppedFlow,
    action: AbstractAction,
    key: Key,
    log_weights: np.ndarray,
    *,
    probe: bool = True,
    densities: Densities | None = None,
) -> Findings:
    """Evaluate the map at mirror images of its configurations, and with `probe` at configurations of another sampler.

    The other sampler is the cluster algorithm if the action has one; otherwise hybrid Monte Carlo from ordered starts
    of both signs and from disordered starts.

    Args:
        flow: the map, integrated as for the samples.
        action: the action that the map is compared with.
        key: the key of the chains' random numbers.
        log_weights: the log-weights of the map's proposals, any shape.
        probe: whether to run the other sampler.
        densities: the compiled densities of flows of this form, if the caller has begun to compile them.
    """
    densities = densities or Densities(action)
    facts: dict[str, Any] = {}
    missed = sector = None
    if "z2" in action.full.symmetries:
        facts["mirror_overlap"] = overlap = _overlap(flow, densities, jax.random.fold_in(key, 1))
        sector = mirror_reason(overlap)
    if probe:
        facts["probe"], missed = _probed(flow, action, densities, jax.random.fold_in(key, 0), log_weights)
    return Findings(facts, missed, sector)


def _probed(
    flow: Flow | SteppedFlow, action: AbstractAction, densities: Densities, key: Key, log_weights: np.ndarray
) -> tuple[dict[str, Any], str | None]:
    """The facts of a run of another sampler, and a sentence about the part of exp(-S) that the map misses, or None."""
    wanted = int(np.clip(log_weights.size * _SHARE, _FEWEST, _MOST)) // BATCH * BATCH
    # Every process of a run makes the same chains, so each needs only its own device.
    with using(jax.local_devices()[:1]):
        try:
            sampler, fields = _configurations(flow.resolved(), action, key, wanted)
        except InputError as error:
            return {"sampler": None, "reason": str(error)}, None
        if len(fields) < _FEWEST_CHAINS:
            return {"sampler": None, "reason": "its chains do not move"}, None
        _, weights = densities.under(flow, fields.reshape(-1, *fields.shape[2:]))
    found = missed_modes(log_weights, weights.reshape(len(fields), -1), in_equilibrium=sampler == "cluster")
    facts = {"sampler": sampler, "configurations": weights.size, **found._asdict()}
    if not found.missed:
        return facts, None
    m = np.abs(fields.mean(axis=tuple(range(2, fields.ndim)))).ravel()
    beyond = m[weights > found.threshold] if np.any(weights > found.threshold) else m
    return facts, (
        f"the map misses a part of exp(-S): {found.found:.1%} of the configurations of a {sampler} run (mean |m| "
        f"{beyond.mean():.3g}) have larger weights than its proposals predict for {found.expected:.1%}; train it "
        "further or on a ladder, or sample by another kind"
    )


def _configurations(flow: Flow, action: AbstractAction, key: Key, count: int) -> tuple[str, np.ndarray]:
    """The sampler, and configurations of exp(-S)/Z from its chains, shape (chains, n, *lattice).

    Chains of hybrid Monte Carlo that hardly move are left out.
    """
    lattice, full = flow.lattice, action.full
    try:
        kernel = ClusterCycle(full, lattice)
    except InputError:
        potential = ActionPotential(full, lattice, flow.base.dtype)
        parts = []
        for number, start in enumerate(("mixed", "hot")):
            driver = MarkovChains(
                HMC(potential, step_size=0.1, integrator=OMELYAN),
                jax.random.fold_in(key, number),
                chains=_CHAINS // 2,
                measure=lambda field: {},
                start=start,
                warmup=_WARMUP,
            )
            steps = count // _CHAINS * _THIN
            part, _ = driver.part(driver.start(), 0, steps, thin=_THIN)
            assert part.fields is not None
            parts.append(part.fields[part.accepted.mean(axis=1) > 0.5])
        return "hmc", np.concatenate(parts)
    driver = ClusterChains(kernel, key, chains=_CHAINS, warmup=_WARMUP, two_point=False)
    part, _ = driver.part(driver.start(), 0, count // _CHAINS * _THIN, thin=_THIN)
    assert part.fields is not None
    return "cluster", part.fields


def _overlap(flow: Flow | SteppedFlow, densities: Densities, key: Key) -> float:
    """The overlap of the map with its mirror image, on the map's proposals; exactly 1 for an odd map."""
    if "z2" in flow.resolved().equivariant_under:
        return 1.0
    own = np.asarray(_propose(flow, jax.random.split(key, BATCH)))
    return mirror_overlap(densities.under(flow, own)[0], densities.under(flow, -own)[0])


@eqx.filter_jit
def _evaluate(stepped: Flow | SteppedFlow, action: AbstractAction, fields: Array) -> tuple[Array, Array]:
    flow = stepped.resolved()

    def one(field: Array) -> tuple[Array, Array]:
        field = flow.drawn(field)
        log_density = flow.log_density(field)
        return log_density, -action(field) - log_density

    return jax.lax.map(one, fields, batch_size=flow.micro_batch or len(fields))


@eqx.filter_jit
def _propose(stepped: Flow | SteppedFlow, keys: Array) -> Array:
    flow = stepped.resolved()
    return jax.lax.map(lambda key: flow.push(flow.noise(key))[0], keys, batch_size=flow.micro_batch or len(keys))
