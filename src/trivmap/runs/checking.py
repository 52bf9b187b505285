"""The checks of a card before a run begins, and the flow with which the run begins."""

import itertools
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap.actions import force_error, require_symmetries
from trivmap.actions.notations import smallest_eigenvalue
from trivmap.bases import FreeField
from trivmap.cards.build import build_action, build_flow, build_plan, build_target
from trivmap.cards.card import RunCard
from trivmap.cards.model import OwnAction
from trivmap.cards.own import observables, own_code, require_trust
from trivmap.cards.sampling import AnnealedSampling, ClusterSampling, FlowSampling
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.optimisers import GaussNewton
from trivmap.runs.keys import keys
from trivmap.samplers import ClusterCycle, HoppingPath
from trivmap.store.directory import RunDirectory
from trivmap.store.weights import load_model

_SMALLEST_GAP_AT_SINGLE_PRECISION = 1e-4
"""In units of |c1|; 2 d in single precision is known to 2e-7 or so."""


def check(card: RunCard, root: Path) -> int | None:
    """Check everything that a run at `root` needs; returns the number of parameters of its map (None without a map).

    Only shapes are computed: no weights are drawn, and nothing is written. Raises `InputError` for a card that does not
    build, train or sample.
    """
    _require_right_force(card)
    _require_right_symmetries(card)
    for rung in card.rungs():
        _require_mass_at_single_precision(rung)
    parameters = None
    if card.model is not None:
        # Counted inside: outside there are shapes only, no arrays.
        parameters = eqx.filter_eval_shape(lambda: skeleton(card).parameters)
        for rung in card.rungs():
            flow, target = eqx.filter_eval_shape(skeleton, rung), build_target(rung)
            if card.training is not None or isinstance(card.sampling, FlowSampling):
                flow.require_match(target)
            if flow.decimated:
                # Sites that have no integral by themselves, or wells too narrow for the quadrature, show here.
                jax.eval_shape(target, jax.ShapeDtypeStruct(tuple(rung.lattice), jnp.dtype(rung.dtype)))
    _require_sampler(card)
    _require_observables(card)
    if card.training is not None:
        for rung in card.rungs():
            _require_trainable(rung)
        _require_ladder(card)
        if card.training.start is not None:
            started(card, root)
    return parameters


def _require_sampler(card: RunCard) -> None:
    """Refuse now what sampling would refuse after training."""
    match card.sampling:
        case ClusterSampling():
            ClusterCycle(build_action(card), Lattice(card.lattice))
        case AnnealedSampling(moves="heat-bath"):
            HoppingPath(Lattice(card.lattice), build_action(card), dtype=card.dtype)
        case AnnealedSampling() if card.model is None:
            FreeField.hartree(Lattice(card.lattice), build_action(card), learnable=False, dtype=card.dtype)


def _require_observables(card: RunCard) -> None:
    """Refuse now an observable of one's own that sampling or measuring would refuse."""
    from trivmap.observables.own import require_measurable

    if own := observables(card):
        try:
            require_measurable(own, build_action(card), Lattice(card.lattice), jnp.dtype(card.dtype))
        except InputError as error:
            raise InputError(f"measure.{error}") from error


def started(card: RunCard, root: Path) -> Flow:
    """The flow that training begins with on the first lattice of a card whose run lies at `root`.

    Raises `InputError` where the run that the card starts from has no trained map, or one of another model.
    """
    assert card.training is not None
    rung = card.rungs()[0]
    if card.training.start is None:
        return skeleton(rung)
    own = eqx.filter_eval_shape(skeleton, rung)
    source = root.parent / card.training.start

    def structure(known: RunCard) -> Flow:
        # Only code that the user's card names as well may run.
        if not set(own_code(known)) <= set(own_code(rung)):
            require_trust(source, known)
        return eqx.filter_eval_shape(skeleton, known)

    try:
        flow, known = load_model(RunDirectory(source).model_path, structure)
        if (known.lattice, known.action) != (rung.lattice, rung.action):
            flow = flow.resize(Lattice(rung.lattice), build_target(rung))
    except InputError as error:
        raise InputError(f"training.start: {error}") from error
    structures = [jax.tree.structure(each) for each in (flow, own)]
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(each)] for each in (flow, own)]
    if structures[0] != structures[1] or shapes[0] != shapes[1]:
        raise InputError(
            f"training.start: the map of {source} is not that of the section model; give the model it was trained with"
        )
    return flow


def require_transfer(below: RunCard, above: RunCard) -> None:
    """Raise `InputError` where a part of the flow of one card cannot be carried to the lattice of another."""

    def carried(below: RunCard, above: RunCard) -> Flow:
        return skeleton(below).resize(Lattice(above.lattice), build_target(above))

    eqx.filter_eval_shape(carried, below, above)


def _require_ladder(card: RunCard) -> None:
    for position, (below, above) in enumerate(itertools.pairwise(card.rungs())):
        try:
            require_transfer(below, above)
        except InputError as error:
            raise InputError(f"training.ladder.{position}: {error}") from error


def _require_trainable(card: RunCard) -> None:
    """Raise `InputError` where the optimiser cannot take a step with this flow's parameters, seen by tracing one."""
    assert card.training is not None
    plan = build_plan(card)
    parameters = eqx.filter_eval_shape(lambda: eqx.filter(skeleton(card), eqx.is_inexact_array))
    if isinstance(plan.optimiser, GaussNewton):
        jax.eval_shape(plan.initial_optimiser_state, parameters)
        return
    optimiser = plan.first_order

    def step(gradient: Any) -> Any:
        extra = {"value": jnp.zeros(()), "grad": gradient, "value_fn": lambda _: jnp.zeros(())}
        return optimiser.update(gradient, optimiser.init(gradient), gradient, **extra)

    try:
        # optax mixes dtypes in its own arithmetic.
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(step, parameters)
    except Exception as error:
        raise InputError(
            f"training.optimiser: {card.training.optimiser.kind} cannot train this model ({error})"
        ) from error


def _require_right_force(card: RunCard) -> None:
    """A force that is not -dS/dphi would spoil the path gradient and the Schwinger-Dyson check without a word."""
    if isinstance(card.action, OwnAction) and jnp.result_type(float) == jnp.float64:
        error = force_error(build_action(card), jax.random.key(0), tuple(card.lattice))
        if not error < 1e-3:
            raise InputError(
                f"action.kind: the force of {card.action.kind} is not -dS/dphi (relative error {error:.2g}); "
                "fix it, or leave it out for automatic differentiation"
            )


def _require_mass_at_single_precision(card: RunCard) -> None:
    """Wherever the small eigenvalue 2 (c2 - d |c1|) is added to 2 d |c1|, single precision loses it without a word."""
    coefficients = build_action(card).coefficients
    if coefficients is None:
        return
    c1, c2, c4 = coefficients
    gap = smallest_eigenvalue(c1, c2, len(card.lattice))
    if card.dtype == "float32" and c4 == 0 and gap < _SMALLEST_GAP_AT_SINGLE_PRECISION * abs(c1):
        raise InputError(
            f"dtype: float32 loses the smallest eigenvalue of this action, {gap:.2g}, to rounding; give dtype: float64 "
            f"or a larger mass, for at least {_SMALLEST_GAP_AT_SINGLE_PRECISION * abs(c1):.2g}"
        )


def _require_right_symmetries(card: RunCard) -> None:
    """A symmetry that the action declares and lacks would let an odd map be trained for it, or <m> be taken for 0."""
    if isinstance(card.action, OwnAction):
        try:
            require_symmetries(build_action(card), Lattice(card.lattice))
        except InputError as error:
            raise InputError(f"action.kind: {error}") from error


def skeleton(card: RunCard) -> Flow:
    """The untrained flow of a card, as its seed initialises it."""
    return build_flow(card, keys(card)["init"])
