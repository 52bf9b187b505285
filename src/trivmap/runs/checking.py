"""The checks of a card before a run begins, and the initial flow of the run."""

import itertools
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap.actions import force_error, require_action, require_symmetries
from trivmap.actions.action import scalar_coefficients
from trivmap.actions.notations import smallest_eigenvalue
from trivmap.bases import FreeField
from trivmap.cards.card import RunCard
from trivmap.cards.kernels import KernelSampling
from trivmap.cards.own import own_code, require_trust
from trivmap.cards.registry import OwnSection
from trivmap.cards.sampling import AnnealedSampling, ClusterSampling, FlowSampling, GivenStart
from trivmap.cards.signature import placed
from trivmap.cards.training import LEAST_BINS
from trivmap.errors import InputError, prefixed
from trivmap.flows import Flow
from trivmap.objectives.contract import require_objective
from trivmap.runs.data import source
from trivmap.runs.ensemble import starts
from trivmap.runs.plan import Plan
from trivmap.samplers import AbstractIndependence, AbstractKernel, ClusterCycle, HoppingExpansionPath
from trivmap.samplers.contract import require_contract, require_start
from trivmap.store.directory import RunDirectory
from trivmap.store.weights import load_model
from trivmap.support import Support

_LARGEST_FORCE_ERROR = 1e-5
"""Largest relative error of the force compared with finite differences; it is 1e-7 for a correct force."""
_SMALLEST_GAP_AT_SINGLE_PRECISION = 1e-4
"""In units of |c1|; single precision represents 2 d to about 2e-7."""


def check(plan: Plan, root: Path) -> None:
    """Check everything that a run at `root` needs.

    Only shapes are computed: no weights are drawn, and nothing is written. Raises `InputError` for a card that does not
    build, train or sample.
    """
    card = plan.card
    _require_own_action(plan)
    for rung in plan.rungs:
        _require_mass_at_single_precision(rung)
    if card.model is not None:
        for rung in plan.rungs:
            if card.training is not None or isinstance(card.sampling, FlowSampling):
                rung.shapes.require_match(rung.target)
            if rung.shapes.support is not Support.ALL:
                # This fails for single-site integrals that diverge, or wells that are too narrow for the quadrature.
                jax.eval_shape(rung.target, rung.action.space.form(rung.lattice, card.dtype))
    _require_sampler(plan)
    _require_observables(plan)
    if card.training is not None:
        for rung in plan.rungs:
            _require_trainable(rung)
        for position, rung in enumerate(plan.rungs):
            with prefixed(f"training.ladder.{position}: " if position < len(plan.rungs) - 1 else ""):
                source(rung.card, root)
        for position, (below, above) in enumerate(itertools.pairwise(plan.rungs)):
            with prefixed(f"training.ladder.{position}: "):
                require_transfer(below, above)
        if card.training.start is not None:
            initial_flow(plan, root)


def _require_sampler(plan: Plan) -> None:
    """Refuse now a sampler that sampling would refuse after training."""
    card = plan.card
    if isinstance(given := getattr(card.sampling, "start", None), GivenStart):
        starts(given.configurations, plan, card.sampling.chains)
    match card.sampling:
        case ClusterSampling():
            ClusterCycle(plan.action, plan.lattice)
        case AnnealedSampling(moves="heat-bath"):
            HoppingExpansionPath(plan.lattice, plan.action, dtype=card.dtype)
        case KernelSampling():
            _require_own_kernel(plan)
        case AnnealedSampling() if card.model is None:
            if scalar_coefficients(plan.action) is None:
                raise InputError(
                    "sampling.kind: annealed without a model needs an action with coefficients (c1, c2, c4) of one "
                    "real number per site; give a model, or sample by hmc"
                )
            FreeField.hartree(plan.lattice, plan.action, learnable=False, dtype=card.dtype)


def _require_own_kernel(plan: Plan) -> None:
    """Refuse now a kernel of the user's own that sampling would refuse, by tracing it."""
    if plan.card.model is not None and plan.card.model.sites == "even":
        raise InputError("model.sites: even does not work with a kernel of your own, which needs whole configurations")
    # No weights are drawn for a kernel of the map.
    eqx.filter_eval_shape(lambda: _require_kernel(plan, plan.kernel(plan.flow)))


def _require_kernel(plan: Plan, kernel: AbstractKernel) -> None:
    from trivmap.observables import measure
    from trivmap.observables.catalog import RESERVED

    section, dtype = plan.card.sampling, jnp.dtype(plan.card.dtype)
    assert isinstance(section, KernelSampling)
    field = plan.action.space.form(plan.lattice, dtype)
    measured = jax.eval_shape(partial(measure, plan.action, own=plan.observables), field)
    with prefixed("sampling.kind: "):
        require_contract(kernel, measured=measured.keys() | RESERVED, dtype=dtype, space=plan.action.space)
        if not isinstance(kernel, AbstractIndependence):
            require_start(kernel, section.start if isinstance(section.start, str) else None, section.chains)
    if isinstance(kernel, AbstractIndependence):
        if section.target_acceptance is not None or section.start != "hot":
            raise InputError(
                f"sampling.target_acceptance, sampling.start: of no use, {section.kind} makes independent proposals"
            )
        left = section.proposals // section.chains - (section.warmup or 0)
        if left < LEAST_BINS:
            raise InputError(
                f"sampling.warmup: leaves {left} proposals of each chain to measure, and an error needs {LEAST_BINS}; "
                "lower it"
            )
    elif section.target_acceptance is not None and not kernel.tunable:
        raise InputError(f"sampling.target_acceptance: {section.kind} has no step_size to be tuned; leave it out")


def _require_observables(plan: Plan) -> None:
    """Refuse now an observable of the user's own that sampling or measuring would refuse."""
    from trivmap.observables.own import require_measurable

    if plan.observables:
        with prefixed("measure."):
            require_measurable(plan.observables, plan.action, plan.lattice, jnp.dtype(plan.card.dtype))


def initial_flow(plan: Plan, root: Path) -> Flow:
    """The flow that training begins with on the first lattice of a plan, for the run at `root`.

    Raises `InputError` if the run that the card starts from has no trained map, or a map of another model.
    """
    assert plan.card.training is not None
    rung, start = plan.rungs[0], plan.card.training.start
    if start is None:
        return rung.flow()
    own, card, source = rung.shapes, rung.card, root.parent / start

    def structure(known: RunCard) -> Flow:
        # Only code that the user's card also names may run.
        if not set(own_code(known)) <= set(own_code(card)):
            require_trust(source, known)
        return Plan(known).shapes

    with prefixed("training.start: "):
        flow, known = load_model(RunDirectory(source).model_path, structure)
        if (known.lattice, known.action) != (card.lattice, card.action):
            flow = flow.resize(rung.lattice, rung.target)
    structures = [jax.tree.structure(each) for each in (flow, own)]
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)] for each in (flow, own)]
    if structures[0] != structures[1] or shapes[0] != shapes[1]:
        raise InputError(
            f"training.start: the map of {source} is not that of the section model; give the model it was trained with"
        )
    return flow


def require_buildable(plan: Plan) -> None:
    """Raise `InputError` if the map of a plan, or its training, does not build."""
    _ = plan.training, plan.shapes


def require_transfer(below: Plan, above: Plan) -> None:
    """Raise `InputError` if a part of the flow of one plan cannot be carried to the lattice of another."""
    eqx.filter_eval_shape(lambda: below.flow().resize(above.lattice, above.target))


def _require_trainable(plan: Plan) -> None:
    """Trace one step, and raise `InputError` if the optimizer cannot take it with this flow's parameters."""
    assert plan.card.training is not None
    training = plan.training
    if isinstance(plan.card.training.objective, OwnSection):
        with prefixed("training."):
            require_objective(training.objective, plan.shapes, plan.target)
    parameters = eqx.filter(plan.shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct) and _is_inexact(leaf))
    try:
        # optax mixes dtypes in its own arithmetic.
        with placed("training.optimizer", {"finish"}), jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(training.rehearse_optimizer, parameters)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"training.optimizer: {plan.card.training.optimizer.named} cannot train this model ({error})"
        ) from error


def _is_inexact(leaf: jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def _require_own_action(plan: Plan) -> None:
    """Refuse an action of the user's own whose declarations are wrong.

    A wrong force would silently spoil the path gradient and the Schwinger-Dyson check. With a symmetry that S lacks, an
    odd map could be trained for S, or <m> could be taken to be 0.
    """
    section, action = plan.card.action, plan.action
    if not isinstance(section, OwnSection):
        return
    with prefixed("action.kind: ", instead_of="action: "):
        require_action(action, plan.lattice, plan.card.dtype)
        if jnp.result_type(float) == jnp.float64:
            error = force_error(action, jax.random.key(0), plan.lattice)
            if not error < _LARGEST_FORCE_ERROR:
                raise InputError(
                    f"the force of {section.named} is not -dS/dphi (relative error {error:.2g}); "
                    "fix it, or leave it out for automatic differentiation"
                )
        require_symmetries(action, plan.lattice)


def _require_mass_at_single_precision(plan: Plan) -> None:
    """Refuse a small eigenvalue 2 (c2 - d |c1|) that single precision silently loses when it is added to 2 d |c1|."""
    coefficients = scalar_coefficients(plan.action)
    if coefficients is None:
        return
    c1, c2, c4 = coefficients
    gap = smallest_eigenvalue(c1, c2, plan.lattice.dimension)
    if plan.card.dtype == "float32" and c4 == 0 and gap < _SMALLEST_GAP_AT_SINGLE_PRECISION * abs(c1):
        raise InputError(
            f"dtype: float32 loses the smallest eigenvalue of this action, {gap:.2g}, to rounding; give dtype: float64 "
            f"or a larger mass, for at least {_SMALLEST_GAP_AT_SINGLE_PRECISION * abs(c1):.2g}"
        )
