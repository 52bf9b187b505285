"""Both networks in trivmap, trained by its own compiled chunk, as `trivmap train` does."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp

from experiments.benchmarks.cases import (
    CHANNELS,
    COUPLING_LAYERS,
    COUPLINGS,
    KERNEL,
    LEARNING_RATE,
    NOTATION,
    Case,
    Program,
)
from trivmap.actions import Phi4
from trivmap.bases import Gaussian
from trivmap.bijections import Affine, Chain, ConvolutionalNetwork, Coupling, DenseNetwork
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.objectives import AbstractObjective, PathGradient, ReverseKL
from trivmap.optimizers import first_order
from trivmap.training.schedules import Phase, constant_rate, temperature_schedule
from trivmap.training.state import TrainingPlan
from trivmap.training.step import make_chunk
from trivmap.training.trainer import Trainer


def flow(case: Case, z2: bool) -> Flow:
    lattice, transformer, maps = Lattice([case.extent] * 2), Affine(), []
    for layer, key in enumerate(jax.random.split(jax.random.key(0), COUPLING_LAYERS[case.network])):
        active = layer % 2
        if case.network == "dense":
            network = DenseNetwork([case.volume // 2])
        else:
            network = ConvolutionalNetwork(CHANNELS, "tanh" if z2 else "leaky-relu", KERNEL)
        options = {"active": active, "z2": z2, "dtype": jnp.float32, "key": key}
        conditioner = network.conditioner(lattice, transformer, **options)
        maps.append(Coupling(lattice, active, transformer, conditioner))
    return Flow(Gaussian(lattice, learnable=False, dtype=jnp.float32), Chain(lattice, maps))


def train(case: Case, steps: int, *, objective: AbstractObjective, z2: bool = False, x64: bool = True) -> Program:
    with jax.enable_x64(x64):
        action = Phi4.from_couplings(NOTATION, 2, **COUPLINGS)
        rate = constant_rate(LEARNING_RATE)
        plan = TrainingPlan(
            objective=objective,
            optimizer=first_order("adam", rate),
            temperature=temperature_schedule(1.0, 1),
            phases=[Phase(steps, case.batch)],
            chunk=steps,
        )
        model = flow(case, z2)
        state = Trainer(model, action, plan, jax.random.key(1)).initial_state()
        static = eqx.partition(model, eqx.is_inexact_array)[1]
        chunk = make_chunk(static, action, plan, case.batch)
        return Program(lambda state: chunk(state, jnp.asarray(steps, jnp.int32))[0], state, x64)


DENSE = CONV = {
    "reverse KL": partial(train, objective=ReverseKL()),
    "path gradient": partial(train, objective=PathGradient()),
    "reverse KL, Z2": partial(train, objective=ReverseKL(), z2=True),
    "path gradient, Z2": partial(train, objective=PathGradient(), z2=True),
}
