"""Chains of any kernel in one call, for notebooks and scripts."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from trivmap._types import Key
from trivmap.actions import AbstractAction, require_action
from trivmap.actions.symmetry import can_be_evaluated
from trivmap.errors import InputError
from trivmap.lattice import Lattice
from trivmap.observables import ArrayHistory, Observable, measure
from trivmap.observables.catalog import RESERVED
from trivmap.observables.measure import measure_own
from trivmap.observables.own import require_measurable
from trivmap.progress import Line
from trivmap.samplers import AbstractIndependence, AbstractKernel, ClusterCycle
from trivmap.samplers.contract import require_contract, require_start
from trivmap.simulation.driver import AbstractDriver, unheard
from trivmap.simulation.host_chains import ClusterChains
from trivmap.simulation.markov import MarkovChains
from trivmap.simulation.proposals import ProposalChains


def simulate(
    kernel: AbstractKernel | ClusterCycle,
    action: AbstractAction,
    key: Key,
    *,
    steps: int,
    chains: int = 4,
    warmup: int = 200,
    start: str | Float[Array, "chains *shape"] | np.ndarray = "hot",
    target: float | None = None,
    observables: Observable | Sequence[Observable] = (),
    progress: bool = False,
) -> ArrayHistory:
    """Chains of a kernel in memory; `observables.analyze` turns them into numbers. The kernel may be your own.

    Step i of a chain depends only on (key, chain, i): simulations with one key share random numbers.

    Args:
        kernel: the kernel, whose stationary distribution is exp(-S) / Z.
        action: S.
        key: the key of all random numbers.
        steps: measured steps of each chain.
        chains: independent chains.
        warmup: steps of each chain before the measured ones.
        start: `hot`, `cold` or `mixed`, if the kernel supports it; or the configuration at which each chain begins.
        target: mean acceptance that the warm-up tunes the kernel's step size to; None keeps it.
        observables: observables of your own, measured and analyzed beside those of `observables.CATALOG`.
        progress: show a line with the steps and the time left.

    Raises:
        InputError: unless there are a chain and a step, for a kernel that does not keep its contract, and for an own
            observable that has the name of another one or needs a missing measurement.
    """
    if chains < 1 or steps < 1 or warmup < 0:
        raise InputError(
            f"chains, steps, warmup: needs a chain, a step and no negative warmup, got {chains}, {steps} and {warmup}"
        )
    if can_be_evaluated(action):
        require_action(action, kernel.lattice, float)
    own = (observables,) if isinstance(observables, Observable) else tuple(observables)
    require_measurable(own, action, kernel.lattice, float)
    measured = eqx.Partial(measure, action, own=own)
    kind = start if isinstance(start, str) else None
    if isinstance(kernel, AbstractIndependence | ClusterCycle) and (target is not None or kind != "hot"):
        raise InputError(f"target, start: of no use, {type(kernel).__name__} has no step size and one kind of start")
    if not isinstance(kernel, ClusterCycle):
        field = action.space.form(kernel.lattice, jnp.result_type(float))
        require_contract(kernel, measured=jax.eval_shape(measured, field).keys() | RESERVED, space=action.space)
        if not isinstance(kernel, AbstractIndependence):
            require_start(kernel, kind, chains)
    driver: AbstractDriver
    if isinstance(kernel, ClusterCycle):
        also = eqx.Partial(measure_own, action, own) if own else None
        driver = ClusterChains(kernel, key, chains=chains, warmup=warmup, also=also)
    elif isinstance(kernel, AbstractIndependence):
        driver = ProposalChains(kernel, key, chains=chains, measure=measured)
    else:
        begin = kind or (lambda: np.asarray(start))
        driver = MarkovChains(kernel, key, chains=chains, measure=measured, start=begin, warmup=warmup, target=target)
    stored = warmup if driver.history == "proposals" else 0
    return in_memory(driver, stored + steps, kernel.lattice, action, own, warmup=stored, progress=progress)


def in_memory(
    driver: AbstractDriver,
    steps: int,
    lattice: Lattice,
    action: AbstractAction,
    own: Sequence[Observable],
    *,
    warmup: int,
    progress: bool = False,
) -> ArrayHistory:
    """The history of `steps` steps of a driver from its start, of which `warmup` are kept but not measured."""
    line = Line()
    if progress:
        line.begin("sample", steps * driver.chains)
    part, _ = driver.part(driver.start(), 0, steps, done=line.update if progress else unheard)
    if progress:
        line.end()
    return ArrayHistory(
        part.observables,
        lattice=lattice.shape,
        accepted=None if part.log_weight is None else part.accepted,
        log_weight=part.log_weight,
        warmup=warmup,
        symmetries=action.full.symmetries,
        own=own,
    )
