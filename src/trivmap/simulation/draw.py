"""Sampling in one call, for notebooks and scripts."""

from collections.abc import Sequence

import equinox as eqx
import jax

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.devices import device_count
from trivmap.diagnostics.integration_error import BATCH, Levels
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.observables import ArrayHistory, Observable, measure
from trivmap.observables.integration_shift import pairs
from trivmap.observables.own import require_measurable
from trivmap.samplers import IndependenceMetropolis
from trivmap.simulation.proposals import ProposalChains, default_batch
from trivmap.simulation.simulate import in_memory
from trivmap.streams import distinct

_CHECKED = 15
"""Number of proposals per configuration on which the integration of a continuous flow is checked."""


def draw(
    flow: Flow,
    action: AbstractAction,
    key: Key,
    *,
    proposals: int,
    chains: int = 4,
    warmup: int = 100,
    common_noise: bool = False,
    observables: Observable | Sequence[Observable] = (),
    progress: bool = False,
) -> ArrayHistory:
    """Independence-Metropolis chains in memory: `proposals` in all, of which `warmup` per chain are not measured.

    `observables.analyze` turns the history into observables with errors; `diagnostics.log_z` and related functions
    judge the flow by `history["log_weight"]`. For a continuous flow the history also has a fifteenth as many
    configurations at twice the integration steps, from which `analyze` corrects every observable. The same key gives
    unrelated random numbers on another lattice or at other couplings; with `common_noise` it gives the same numbers,
    for differences. Two flows at the same couplings and lattice share them.

    Args:
        flow: the map whose proposals are drawn.
        action: the action whose ensemble the chains sample.
        key: the key of all random numbers.
        proposals: proposals of all chains together.
        chains: independent chains.
        warmup: proposals of each chain that are kept but not measured.
        common_noise: use the same random numbers on every lattice and at all couplings.
        observables: your own observables, measured and analyzed beside those of `observables.CATALOG`.
        progress: show a line with the proposals and the time left.

    Raises:
        InputError: unless the chains share the proposals evenly, for an action that does not fit the flow, and for an
            own observable that has the name of another one or needs a missing measurement.
    """
    each, rest = divmod(proposals, max(1, chains))
    if chains < 1 or warmup < 0 or rest or each <= warmup:
        raise InputError(
            f"proposals: {proposals} must be a multiple of {chains} chains, with more than the {warmup} of the warm-up "
            "in each"
        )
    flow.require_match(action, evaluate=True)
    observables = (observables,) if isinstance(observables, Observable) else tuple(observables)
    require_measurable(observables, action, flow.lattice, flow.base.dtype)
    key = key if common_noise else distinct(key, flow.lattice, action)
    measured = eqx.Partial(measure, action, own=observables)
    driver = ProposalChains(
        IndependenceMetropolis(flow, action),
        key,
        chains=chains,
        measure=measured,
        batch=min(each, default_batch(flow.lattice.volume) * device_count()),
    )
    history = in_memory(driver, each, flow.lattice, action, observables, warmup=warmup, progress=progress)
    if flow.integration_steps is not None:
        levels = Levels(flow, action, jax.random.fold_in(key, 2**32 - 2), measured)
        count, steps = max(BATCH, proposals // _CHECKED), int(flow.integration_steps)
        history.attrs["integration"] = pairs([levels.at(steps, count), levels.at(2 * steps, count)])
    return history
