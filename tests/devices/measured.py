"""What must not depend on the number of devices, computed with 1, 2 and 4 of this process: `python -m ... FILE`.

Everything in float64 on small lattices, with batches that 4 devices divide and others that they do not.
"""

import sys
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from trivmap.actions import Phi4
from trivmap.cards.card import RunCard
from trivmap.devices import replicate, shard_batch, to_host, using
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.objectives import PathGradient, ReverseKL, Variance
from trivmap.observables import measure
from trivmap.optimizers import GaussNewton, first_order
from trivmap.runs.plan import Plan
from trivmap.samplers import HMC, ActionPotential, IndependenceMetropolis
from trivmap.simulation import MarkovChains, ProposalChains
from trivmap.training import Phase, Trainer, TrainingPlan
from trivmap.training.evaluation import draw_log_weights
from trivmap.training.schedules import constant_rate

COUNTS = (1, 2, 4)
# Compiled in a hurry, which makes nothing less exact, and no device given up that waits for a processor.
XLA_FLAGS = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_collective_call_terminate_timeout_seconds=600"
)
LATTICE = Lattice([4, 4])
ACTION = Phi4.from_couplings("bosetti2015", 2, beta=0.5, lam=0.5)
KEY = jax.random.key(5)
MODELS = {
    "coupled": {
        "base": {"kind": "free-field"},
        "maps": [{"kind": "affine", "couplings": 1, "network": {"kind": "dense", "hidden": [3]}}],
    },
    "integrated": {
        "base": {"kind": "free-field"},
        "maps": [
            {
                "kind": "continuous",
                "features": {"widths": [1.0], "smeared": []},
                "kernel": {"masses": [1.0]},
                "times": 1,
                "steps": 2,
            }
        ],
    },
}

GAUSS_NEWTON = (
    ("parameters", Variance()),
    ("matrix-free", Variance()),
    ("samples-kl", PathGradient()),
    ("matrix-free-kl", PathGradient()),
)


def flow_of(model) -> Flow:
    """Its parameters moved from where they start: much of their derivatives would be zero there."""
    card = {"dtype": "float64", "lattice": [4, 4], "action": {"kind": "free", "m_sq": 1.0}, "model": model}
    parameters, rest = eqx.partition(Plan(RunCard.from_data(card)).flow(), eqx.is_inexact_array)
    vector, unravel = ravel_pytree(parameters)
    return eqx.combine(unravel(vector + 0.1 * jax.random.normal(KEY, vector.shape, vector.dtype)), rest)


def main(path: str) -> None:
    found: dict[str, np.ndarray] = {}
    for count in COUNTS:
        jax.clear_caches()
        with using(jax.local_devices()[:count]):
            for name, value in everything():
                found[f"{count}/{name}"] = np.asarray(value)
    np.savez(path, **found)


def everything():
    coupled, integrated = map(flow_of, MODELS.values())
    yield from first_order_step("path-gradient", integrated, PathGradient())
    yield from first_order_step("reverse-kl", coupled, ReverseKL())
    for name, objective in GAUSS_NEWTON:
        # Thirty iterations would let rounding grow up to the solver's tolerance.
        optimizer = GaussNewton(micro_batch=4, iterations=3, space=name.removesuffix("-kl"))
        yield from second_order_steps(name, coupled, objective, optimizer)
    yield "log_weights", draw_log_weights(integrated, ACTION, KEY, 2, 30)
    kernel = IndependenceMetropolis(coupled, ACTION)
    proposals = ProposalChains(kernel, KEY, chains=2, measure=partial(measure, ACTION), batch=18)
    part, _ = proposals.part(proposals.start(), 3, 43, thin=1)
    yield from leaves("proposals", part._asdict())
    hmc = HMC(ActionPotential(ACTION, LATTICE, jnp.float64), step_size=0.3)
    chains = MarkovChains(hmc, KEY, chains=6, measure=partial(measure, ACTION), warmup=8)
    part, state = chains.part(chains.start(), 0, 5, thin=2)
    yield from leaves("chains", {name: each for name, each in part._asdict().items() if each is not None} | state)
    yield "shares", spread_keys()


def first_order_step(name, flow, objective):
    """Of a step of sgd the difference of the parameters is the gradient, up to its rate."""
    plan = TrainingPlan(
        objective=objective,
        optimizer=first_order("sgd", 1e-3),
        temperature=constant_rate(1.0),
        phases=[Phase(1, 10)],
        chunk=1,
    )
    yield from trained(name, flow, plan)


def second_order_steps(name, flow, objective, optimizer):
    plan = TrainingPlan(
        objective=objective,
        optimizer=optimizer,
        temperature=constant_rate(1.0),
        phases=[Phase(2, 30)],
        chunk=2,
    )
    yield from trained(name, flow, plan)


def trained(name, flow, plan):
    trainer = Trainer(flow, ACTION, plan, KEY)
    before = trainer.initial_state()
    # Of the trainer the steps alone: its evaluation is compiled with them.
    state, rows = to_host(jax.jit(trainer._chunk(before))(before, jnp.asarray(plan.steps, jnp.int32)))
    moved = jax.tree.map(jnp.subtract, state.parameters, before.parameters)
    yield f"{name}/moved", ravel_pytree(moved)[0]
    yield f"{name}/rows", rows


def leaves(name, tree):
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        yield f"{name}/{jax.tree_util.keystr(path, simple=True, separator='/')}", leaf


def spread_keys():
    """Random numbers of a batch that 4 devices do not divide, by its keys."""

    def draw(shift, keys):
        return shift + jax.vmap(partial(jax.random.normal, dtype=jnp.float64))(keys)

    program = jax.jit(lambda keys: replicate(shard_batch(draw, jnp.ones(()), keys)))
    return to_host(program(jax.random.split(KEY, 7)))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main(sys.argv[1])
