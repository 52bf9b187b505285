"""The parts of one proposal of a continuous flow, each as a compiled function of its own on the driver's shapes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from trivmap import Flow
from trivmap.actions import AbstractAction
from trivmap.bijections.continuous import Continuous, _rows_sum
from trivmap.bijections.features import FAMILIES
from trivmap.bijections.integrators import SCHEMES, integrate
from trivmap.cards.card import load_card
from trivmap.fourier import Modes
from trivmap.observables import measure
from trivmap.runs.plan import Plan
from trivmap.samplers import accept, proposal_key

STEPS = 12
"""Integration steps: certificates of the trained presets choose 8 to 16."""
_KICK = 1e-2
REPEATS = 20


@dataclass(frozen=True)
class Model:
    """The map of a preset, its parameters moved from the start, where the velocity is zero."""

    extent: int
    flow: Flow
    action: AbstractAction

    @property
    def continuous(self) -> Continuous:
        return self.flow.bijection.maps[0]

    @property
    def micro_batch(self) -> int:
        """Configurations that go through the map together."""
        return self.flow.micro_batch

    @property
    def evaluations(self) -> int:
        """Of the velocity, per proposal."""
        return self.continuous.steps * SCHEMES[self.continuous.scheme].stages


def preset_model(extent: int) -> Model:
    """The flow of phi4-L`extent`, every parameter moved by a normal number of width 0.01."""
    plan = Plan(load_card(f"phi4-L{extent}"))
    flow = plan.flow().with_integration_steps(STEPS)
    parameters, rest = eqx.partition(flow, eqx.is_inexact_array)
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + _KICK * jax.random.normal(key, p.shape, p.dtype) for p, key in zip(leaves, keys, strict=True)]
    return Model(extent, eqx.combine(jax.tree.unflatten(tree, moved), rest), plan.target)


@dataclass(frozen=True)
class Part:
    """A call that does this part for `configurations` at once; `times` of them make the part of one proposal.

    Per call and configuration: `flops` without `tanh`, and `traffic` in bytes if every array is read or written once.
    """

    call: Callable[[], Any]
    times: float
    configurations: int
    flops: float = 0.0
    tanh: float = 0.0
    traffic: float = 0.0


def parts(model: Model, batch: int) -> dict[str, Part]:
    """In the order of a proposal; `velocity` is the three before it in one, to see what stands between them."""
    flow, action, ode, lattice = model.flow, model.action, model.continuous, model.flow.lattice
    size, volume, calls = model.micro_batch, model.flow.lattice.volume, model.evaluations
    features, modes = ode.features, Modes(lattice)
    spectra = features.spectra(lattice)
    number, smeared, functions = features.number, len(spectra), features.number - features.linear
    indices = jnp.arange(size, dtype=jnp.uint32)
    time = jnp.asarray(0.3, jax.dtypes.canonicalize_dtype(jnp.float64))

    def noise(index):
        noise_key, accept_key = jax.random.split(proposal_key(jax.random.key(2), 0, index))
        return flow.noise(noise_key), jnp.log(jax.random.uniform(accept_key, dtype=jnp.float64))

    filters = jnp.asarray(modes.expand(spectra), jnp.float32)

    def smear(field):
        return modes.inverse(modes.scale(modes.forward(field)[None], filters))

    def nonlinear(central, arguments):
        values, slopes = [arguments[0]], [jnp.ones_like(arguments[0])]
        # The field itself comes first, then what is smeared, in the order of the scales.
        smears = iter(arguments[1:])
        for kind, widths in features.scales:
            argument = arguments[0] if kind is None else next(smears)
            for width in widths:
                value, slope = FAMILIES[features.family](width * argument)
                values.append(value / width)
                slopes.append(slope)
        # The divergence: no slope leaves the loop that computes it.
        return jnp.stack(values), _rows_sum(sum(weight * slope for weight, slope in zip(central, slopes, strict=True)))

    basis = jnp.asarray(modes.expand(ode.kernel.spectra(lattice)), jnp.float32)

    def kernel(coefficients, values):
        at_time = jnp.einsum("n,nfj->fj", jnp.ones(len(coefficients), jnp.float32), coefficients)
        eigenvalues = jnp.einsum("fj,j...->f...", at_time, basis, precision=jax.lax.Precision.HIGHEST)
        return modes.inverse(jnp.sum(modes.scale(modes.forward(values), eigenvalues), axis=0))

    def completed(y, index):
        return action.sample_conditional(proposal_key(jax.random.key(3), 0, index), y)

    def bookkeeping(field):
        # A velocity that costs next to nothing: what is left are stages, sums and the loop.
        still = lambda state, time: (-state[0], 0.5 * time)  # noqa: E731
        return integrate(still, (field, jnp.zeros((), time.dtype)), steps=ode.steps, scheme=ode.scheme)

    z = jax.vmap(noise)(indices)[0]
    x = jax.vmap(lambda z: flow.base.push(z)[0])(z)
    arguments = jnp.concatenate([x[:, None], jax.vmap(smear)(x)], axis=1)
    central = jnp.ones(number, jnp.float32)
    values = jax.vmap(partial(nonlinear, central))(arguments)[0]
    y, log_q = jax.vmap(flow.push)(z)
    weights, uniforms = jnp.resize(log_q, batch), jnp.full(batch, -0.3, log_q.dtype)

    def batched(function, *given, shared=()):
        mapped = jax.vmap(function, in_axes=(None,) * len(shared) + (0,) * len(given))

        def repeated(*arguments):
            # In one program, as in the driver, so that none pays for fresh memory; the barrier keeps all of them.
            def body(_, carry):
                return jax.lax.optimization_barrier((carry[0], mapped(*carry[0])))

            blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(mapped, *arguments))
            return jax.lax.fori_loop(0, REPEATS, body, (arguments, blank))[1]

        return partial(jax.jit(repeated), *shared, *given)

    each = size * REPEATS
    fft = 2.5 * volume * math.log2(volume)
    parameters, rest = eqx.partition(ode, eqx.is_inexact_array)
    return {
        "noise, keys": Part(batched(noise, indices), 1, each),
        "base": Part(batched(lambda z: flow.base.push(z)[:2], z), 1, each),
        "smearing": Part(
            batched(smear, x), calls, each, (1 + smeared) * fft + smeared * volume, 0, (12 + 12 * smeared) * volume
        ),
        "features, divergence": Part(
            batched(nonlinear, arguments, shared=(central,)),
            calls,
            each,
            (4 * functions + 2 * number + 1) * volume,
            functions * volume,
            (4 * (1 + smeared) + 4 * number) * volume,
        ),
        "kernel": Part(
            batched(kernel, values, shared=(ode.coefficients,)),
            calls,
            each,
            (number + 1) * fft + 2 * number * volume,
            0,
            12 * (number + 1) * volume,
        ),
        "velocity": Part(
            batched(lambda p, f: eqx.combine(p, rest)._velocity(f, time), x, shared=(parameters,)), calls, each
        ),
        "integration": Part(batched(bookkeeping, x), 1, each, 4 * calls * volume, 0, 20 * calls * volume),
        "action, weight": Part(batched(lambda y, log_q: -action(y) - log_q, y, log_q), 1, each),
        "odd sites": Part(batched(completed, y, indices), 1, each),
        "measurement": Part(batched(partial(measure, action), y), 1, each),
        "accept scan": Part(partial(jax.jit(accept), jnp.asarray(-jnp.inf, log_q.dtype), weights, uniforms), 1, batch),
    }
