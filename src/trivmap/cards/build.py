"""From the run card to the objects of the numeric floors."""

import inspect
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from trivmap._types import Key
from trivmap.actions import AbstractAction, Decimated, FreeScalar, Phi4
from trivmap.bases import AbstractBase, DecimatedFreeField, FreeField, Gaussian
from trivmap.bijections import (
    AbstractBijection,
    Additive,
    Affine,
    Chain,
    Continuous,
    Features,
    FourierDiagonal,
    Kernels,
    Rescale,
    Spline,
    ZeroMode,
    couplings,
)
from trivmap.bijections.transformers import AbstractTransformer
from trivmap.cards.card import RunCard
from trivmap.cards.continuous import ContinuousMap
from trivmap.cards.model import (
    ConvolutionalNetwork,
    CouplingMap,
    FourierMap,
    FreeAction,
    FreeFieldBase,
    GaussianBase,
    MassStart,
    OwnSection,
    Phi4Action,
    RescaleMap,
    SplineMap,
    ZeroModeMap,
)
from trivmap.cards.optimizer import SECOND_ORDER, ConstantRate, CosineRate, Optimizer, RestartsRate
from trivmap.cards.own import resolve
from trivmap.cards.sampling import OwnSampling
from trivmap.errors import InputError
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.objectives import PathGradient, ReverseKL
from trivmap.optimizers import GaussNewton, first_order
from trivmap.samplers.kernel import AbstractKernel
from trivmap.training import Phase, TrainingPlan
from trivmap.training.schedules import (
    Schedule,
    constant_rate,
    cosine_rate,
    restarts_rate,
    temperature_schedule,
)


def build_action(card: RunCard) -> AbstractAction:
    """The action of a card, on the card's lattice."""
    section, dimension = card.action, len(card.lattice)
    match section:
        case Phi4Action():
            return Phi4.from_couplings(section.notation, dimension, **section.couplings)
        case FreeAction():
            return FreeScalar(section.m_sq, dimension)
        case _:
            return _own(section, AbstractAction, "action", dimension=dimension, lattice=Lattice(card.lattice))


def build_target(card: RunCard, action: AbstractAction) -> AbstractAction:
    """The action that the flow is compared with: the card's `action`, or that with the odd sites integrated out."""
    return Decimated(action, Lattice(card.lattice)) if card.model is not None and card.model.sites == "even" else action


def build_flow(card: RunCard, action: AbstractAction, key: Key) -> Flow:
    """The untrained flow of a card and its `action`; `key` initializes its networks."""
    if card.model is None:
        raise InputError("model: missing; this run needs a map, so give the section {base: ..., maps: [...]}")
    lattice, dtype = Lattice(card.lattice), jnp.dtype(card.dtype)
    maps: list[AbstractBijection] = []
    for position, section in enumerate(card.model.maps):
        map_key, where = jax.random.fold_in(key, position), f"model.maps.{position}"
        match section:
            case CouplingMap() | SplineMap():
                maps += _couplings(section, lattice, dtype, map_key)
            case ContinuousMap():
                maps.append(_continuous(section, lattice, dtype, card.model.sites == "even"))
            case RescaleMap():
                maps.append(Rescale(lattice, dtype=dtype))
            case FourierMap():
                mass = section.start.mass_squared if isinstance(section.start, MassStart) else None
                maps.append(FourierDiagonal(lattice, mass_squared=mass, dtype=dtype))
            case ZeroModeMap():
                maps.append(ZeroMode(lattice, bins=section.bins, interval=section.interval, z2=section.z2, dtype=dtype))
            case _:
                maps.append(_own(section, AbstractBijection, where, lattice=lattice, dtype=dtype, key=map_key))
    base = _base(card, lattice, action, dtype)
    if card.model.sites == "even":
        if not isinstance(base, FreeField):
            raise InputError(f"model.base: {card.model.base.kind} knows no even sites; sites: even needs free-field")
        base = DecimatedFreeField(base)
    return Flow(base, Chain(lattice, maps))


def build_training(card: RunCard) -> TrainingPlan:
    """The training plan of a card."""
    section = card.training
    if section is None:
        raise InputError("training: missing; give the section with steps, batch and optimizer")
    rate = _rate(section.optimizer, section.steps)
    evaluate_every = section.evaluate.every
    return TrainingPlan(
        objective={"path-gradient": PathGradient, "reverse-kl": ReverseKL}[section.objective](),
        optimizer=_optimizer(section.optimizer, rate, section.clip),
        learning_rate=rate,
        temperature=temperature_schedule(
            section.temperature.start, section.temperature.steps or 1, section.temperature.schedule
        ),
        phases=[Phase(steps, batch) for steps, batch in section.phases],
        moving_average=section.ema,
        chunk=section.chunk or default_chunk(section.steps, evaluate_every),
        evaluate_every=evaluate_every,
        evaluate_proposals=section.evaluate.proposals,
        evaluate_batch=section.evaluate.batch,
        checkpoint_every=section.checkpoint.every or evaluate_every,
        stop_acceptance=section.stop.acceptance,
        stop_seconds=section.stop.seconds,
    )


def build_kernel(card: RunCard, action: AbstractAction, flow: Flow | None) -> AbstractKernel:
    """The user's own kernel for the `action` of a card; `flow` is the trained map of a card with a model."""
    assert isinstance(card.sampling, OwnSampling)
    kind, lattice = card.sampling.kind, Lattice(card.lattice)
    offered = {"action": action, "lattice": lattice, "dtype": jnp.dtype(card.dtype)}
    kernel = _own(card.sampling, AbstractKernel, "sampling", **offered, **({} if flow is None else {"flow": flow}))
    if kernel.lattice != lattice:
        raise InputError(f"sampling.kind: {kind} makes a kernel on {kernel.lattice}, and the card's is {lattice}")
    return kernel


def default_chunk(steps: int, evaluate_every: int) -> int:
    """About 200 logged points a run, and a whole number of chunks between evaluations where that divides."""
    wanted = max(1, min(steps // 200, evaluate_every, 50))
    divisors = [n for n in range(1, wanted + 1) if evaluate_every % n == 0]
    return divisors[-1]


def _couplings(
    section: CouplingMap | SplineMap, lattice: Lattice, dtype: jnp.dtype, key: Key
) -> Sequence[AbstractBijection]:
    transformer: AbstractTransformer
    if isinstance(section, SplineMap):
        transformer = Spline(section.bins, section.interval)
    else:
        transformer = {"additive": Additive, "affine": Affine}[section.kind]()
    network = section.network
    return couplings(
        lattice,
        transformer,
        section.couplings,
        hidden=network.units(lattice.volume),
        kernel=network.kernel if isinstance(network, ConvolutionalNetwork) else None,
        activation=network.activation,
        z2=section.z2,
        dtype=dtype,
        key=key,
    )


def _continuous(section: ContinuousMap, lattice: Lattice, dtype: jnp.dtype, even: bool) -> Continuous:
    features, kernel = section.features, section.kernel
    return Continuous(
        lattice,
        features=Features(features.family, features.scales, features.linear),
        kernels=Kernels(kernel.radius, kernel.masses),
        times=section.times,
        steps=section.steps,
        scheme=section.scheme,
        smoothness=section.smoothness,
        even=even,
        dtype=dtype,
    )


def _base(card: RunCard, lattice: Lattice, action: AbstractAction, dtype: jnp.dtype) -> AbstractBase:
    assert card.model is not None
    section = card.model.base
    match section:
        case GaussianBase():
            return Gaussian(lattice, learnable=section.learnable, dtype=dtype)
        case FreeFieldBase():
            learnable = section.spectrum == "learnable"
            if isinstance(section.start, MassStart):
                return FreeField(lattice, mass=section.start.mass_squared, learnable=learnable, dtype=dtype)
            base = FreeField.hartree(lattice, action, learnable=learnable, dtype=dtype)
            hot = card.training.temperature.start if card.training else 1.0
            return base if base.log_factor is None or hot == 1 else _heated(base, action, hot)
        case _:
            return _own(section, AbstractBase, "model.base", lattice=lattice, dtype=dtype)


def _heated(base: FreeField, action: AbstractAction, temperature: float) -> FreeField:
    """The base with its factors at the Hartree spectrum of exp(-S/T), which is what an annealed flow meets first.

    Only parameters differ from the base at T = 1: a saved model is rebuilt from a card that knows no temperature.
    """
    hot = FreeField.hartree(base.lattice, action, temperature=temperature, dtype=base.dtype)
    momenta = base.lattice.orbit_momenta
    ratio = (base.stiffness * momenta + base.mass) / (hot.stiffness * momenta + hot.mass)
    return eqx.tree_at(lambda b: b.log_factor, base, jnp.asarray(0.5 * np.log(ratio), base.dtype))


def _rate(optimizer: Optimizer, steps: int) -> Schedule:
    match optimizer.learning_rate:
        case ConstantRate() as rate:
            return constant_rate(rate.peak, rate.warmup)
        case CosineRate() as rate:
            return cosine_rate(rate.peak, steps, rate.warmup, rate.final)
        case RestartsRate() as rate:
            return restarts_rate(rate.peak, steps, rate.period, rate.warmup, rate.final, rate.period_factor, rate.decay)
        case None:
            return constant_rate(float("nan"))


def _optimizer(section: Optimizer, rate: Schedule, clip: float | None) -> Any:
    if section.kind == SECOND_ORDER:
        return GaussNewton(**section.arguments)
    if ":" not in section.kind:
        constant = section.learning_rate
        # Some optimizers take a number only.
        given = constant.peak if isinstance(constant, ConstantRate) and not constant.warmup else rate
        return first_order(section.kind, given, clip=clip, **section.arguments)
    import optax

    make = resolve(section.kind, optax.GradientTransformation, "training.optimizer.kind")
    try:
        made = make(rate, **section.arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"training.optimizer: {section.kind} refused its arguments: {error}") from error
    if not isinstance(made, optax.GradientTransformation):
        raise InputError(
            f"training.optimizer.kind: {section.kind} must make an optax GradientTransformation, got "
            f"{type(made).__name__}"
        )
    clipped = made if clip is None else optax.chain(optax.clip_by_global_norm(clip), made)
    return optax.with_extra_args_support(clipped)


def _own(section: OwnSection | OwnSampling, kind: type, where: str, **offered: Any) -> Any:
    """An object of the user's class, given the card's arguments and those of `offered` that its constructor takes."""
    factory = resolve(section.kind, kind, f"{where}.kind")
    taken = inspect.signature(factory).parameters
    everything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    arguments = {name: value for name, value in offered.items() if everything or name in taken} | section.arguments
    try:
        made = factory(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{where}: {section.kind} refused its arguments: {said[:300]}") from error
    if not isinstance(made, kind):
        raise InputError(f"{where}.kind: {section.kind} must make a trivmap {kind.__name__}, got {type(made).__name__}")
    return made
