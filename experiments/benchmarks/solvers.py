"""diffrax's solvers with a constant step against the plain loop of `bijections/integrators.py`.

The same map and the same number of evaluations of the velocity: forward, and forward with the gradient of the mean
residual in all parameters (diffrax by its default recursive checkpointing, ours by recomputing each stage).
diffrax would be used if it cost at most 1.3 times as much. All in float32: diffrax does not carry our float32 field
beside a float64 log-determinant as they are.
"""

from collections.abc import Callable
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.clock import in_turn, medians, ratio
from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from experiments.benchmarks.sampling_parts import Model, preset_model
from trivmap.bijections.continuous import _zero

PACKAGES = ("trivmap", "diffrax", "jax", "jaxlib", "equinox")
EVALUATIONS = 60
OURS = "plain scan, rk4"
SOLVERS = {
    "diffrax Heun": (diffrax.Heun, 2),
    "diffrax Bosh3": (diffrax.Bosh3, 3),
    "diffrax Tsit5": (diffrax.Tsit5, 6),
}
"""The solver and its evaluations per step; those that reuse the last one of a step need one more at the start."""
LIMIT = 1.3


def with_diffrax(solver: Callable, evaluations: int, model: Model, adjoint: diffrax.AbstractAdjoint) -> Callable:
    """-log w of one configuration, its continuous map integrated by diffrax."""
    steps = EVALUATIONS // evaluations

    def residual(flow, z):
        x, log_density, _ = flow.base.push(z)
        ode = flow.bijection.maps[0]
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda time, state, _: ode._velocity(state[0], time)),
            solver(),
            t0=jnp.float32(0),
            t1=jnp.float32(1),
            dt0=jnp.float32(1 / steps),
            y0=(x, _zero()),
            stepsize_controller=diffrax.ConstantStepSize(),
            adjoint=adjoint,
            max_steps=steps + 1,
        )
        y, log_det = (leaf[-1] for leaf in solution.ys)
        return log_density - log_det + model.action(y)

    return residual


def table(extent: int, rounds: int) -> dict:
    """Milliseconds per micro-batch of every solver, and its ratio to ours."""
    model = preset_model(extent)
    flow = model.flow.with_integration_steps(EVALUATIONS // 5)
    parameters, rest = eqx.partition(flow, eqx.is_inexact_array)
    noise = jax.vmap(flow.noise)(jax.random.split(jax.random.key(4), model.micro_batch))
    ways = {OURS: lambda flow, z: flow.residual(model.action, z)}
    adjoint = diffrax.RecursiveCheckpointAdjoint()
    ways |= {name: with_diffrax(*given, model, adjoint) for name, given in SOLVERS.items()}
    forward, gradient, values = {}, {}, {}
    for name, way in ways.items():

        def mean(parameters, noise, way=way):
            flow = eqx.combine(parameters, rest)
            return jnp.mean(jax.vmap(lambda z: way(flow, z))(noise))

        forward[name] = partial(jax.jit(mean), parameters, noise)
        gradient[name] = partial(jax.jit(jax.value_and_grad(mean)), parameters, noise)
        values[name] = float(forward[name]())
    spread = max(values.values()) - min(values.values())
    assert np.isfinite(spread) and spread < 0.05, values
    cost = {}
    for kind, calls in (("forward", forward), ("gradient", gradient)):
        turns = in_turn(calls, rounds=rounds)
        cost[kind] = {
            name: {
                "milliseconds": 1e3 * medians(turns[name]).processor,
                "ratio": ratio(turns, name, OURS, "processor"),
            }
            for name in calls
        }
    return {"extent": extent, "batch": model.micro_batch, "evaluations": EVALUATIONS, "spread": spread, **cost}


def main(arguments: list[str]) -> None:
    """Measure, print and keep."""
    parser = benchmark("solvers", __doc__)
    parser.add_argument("--quick", action="store_true", help="L=8 only, two rounds; nothing is kept")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which every solver takes its turn")
    options = parser.parse_args(arguments)
    entries = []
    for extent in (8,) if options.quick else (8, 16):
        entry = table(extent, 2 if options.quick else options.rounds)
        entries.append(entry)
        print(
            f"\nL={extent}, {entry['batch']} configurations, {EVALUATIONS} evaluations of the velocity (processor ms)"
        )
        for name in entry["forward"]:
            cells = [(kind, entry[kind][name]) for kind in ("forward", "gradient")]
            text = "   ".join(f"{kind} {c['milliseconds']:9.2f} ({c['ratio']:.2f})" for kind, c in cells)
            print(f"  {name:18}{text}", flush=True)
    if not options.quick:
        keep("solvers", PACKAGES, {"limit": LIMIT, "cases": entries})
