"""A run as the run directory documents it, its numbers made by NumPy: the free field with noisy weights."""

import jax
import jax.numpy as jnp
import numpy as np

from trivmap.actions import FreeScalar
from trivmap.bases import Gaussian
from trivmap.bijections import Chain, FourierDiagonal, Rescale
from trivmap.cards.card import RunCard
from trivmap.diagnostics import acceptance, effective_sample_size, log_z
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.observables import ArrayHistory, analyze, measure
from trivmap.observables.stages import along_the_map
from trivmap.store.directory import RunDirectory
from trivmap.store.environment import describe_environment
from trivmap.store.files import write_json, write_sealed_text
from trivmap.store.samples import SampleWriter
from trivmap.store.weights import save_model

MASS_SQUARED = 0.3
STEPS = 400


def history(lattice, *, chains=2, proposals=1500, width=0.2, warmup=100, seed=0):
    """Exact free fields as proposals, whose log-weights scatter by `width`, and the chain's decisions on them."""
    random = np.random.default_rng(seed)
    shape = Lattice(lattice)
    white = random.normal(size=(chains * proposals, *lattice))
    axes = tuple(range(1, white.ndim))
    propagator = 1 / np.sqrt(shape.momentum_squared + MASS_SQUARED)
    fields = np.fft.ifftn(np.fft.fftn(white, axes=axes) * propagator, axes=axes).real
    action = FreeScalar(MASS_SQUARED, len(lattice))
    measured = jax.jit(jax.vmap(lambda field: measure(action, field)))(jnp.asarray(fields))
    observables = {
        name: np.asarray(values).reshape(chains, proposals, *values.shape[1:]) for name, values in measured.items()
    }
    log_weight = random.normal(action.log_z(shape) - width**2 / 2, width, size=(chains, proposals))
    accepted = np.zeros((chains, proposals), bool)
    for chain in range(chains):
        current = -np.inf
        for step, draw in enumerate(np.log(random.random(proposals))):
            accepted[chain, step] = draw < log_weight[chain, step] - current
            current = log_weight[chain, step] if accepted[chain, step] else current
    return ArrayHistory(observables, lattice=lattice, accepted=accepted, log_weight=log_weight, warmup=warmup)


def metrics():
    """The lines of `metrics.jsonl` of a training that went well."""
    lines = []
    for step in range(10, STEPS + 1, 10):
        quality = 1 - np.exp(-step / 100)
        line = {
            "step": step, "configurations": 64 * step, "seconds": 0.01 * step, "loss": -5 + 8 * np.exp(-step / 60),
            "loss_error": 0.05, "ess": quality**2, "acceptance": quality, "gradient_norm": 1 / step, "batch": 64,
            "learning_rate": 1e-3 * (1 - step / STEPS), "temperature": max(1.0, 2 - step / 100),
        }  # fmt: skip
        if step % 100 == 0:
            line["evaluation"] = {
                "acceptance": {"value": quality, "error": 0.005},
                "ess": {"value": quality**2, "error": 0.01},
                "proposals": 4096,
                "seconds": 0.2,
            }
        lines.append(line)
    return lines


def card(lattice):
    """The run card of such a run."""
    return RunCard.from_data(
        {
            "name": "synthetic",
            "description": "Free fields with noisy weights.",
            "lattice": list(lattice),
            "dtype": "float64",
            "action": {"kind": "free", "m_sq": MASS_SQUARED},
            "model": {
                "base": {"kind": "gaussian"},
                "maps": [{"kind": "fourier", "mass_squared": MASS_SQUARED}, {"kind": "rescale"}],
            },
            "training": {
                "steps": STEPS, "batch": 64, "optimizer": {"kind": "adam", "learning_rate": 1e-3},
                "evaluate": {"every": 100, "proposals": 4096},
            },
            "sampling": {"kind": "flow", "chains": 2, "proposals": 3000, "warmup": 100},
        }
    )  # fmt: skip


def flow(lattice):
    """White noise carried to the free field by one Fourier-diagonal map."""
    shape, double = Lattice(lattice), jnp.float64
    maps = [FourierDiagonal(shape, mass_squared=MASS_SQUARED, dtype=double), Rescale(shape, dtype=double)]
    return Flow(Gaussian(shape, dtype=double), Chain(shape, maps))


def trained_run(root, lattice):
    """A run that has only been trained."""
    run = RunDirectory.create(root, card(lattice), describe_environment(0, 2))
    save_model(run.model_path, flow(lattice), run.card())
    for line in metrics():
        run.append_metrics(line)
    milestone = {"steps": 200, "configurations": 12800, "wall_seconds": 3.0}
    run.update_summary(
        schema=1, action={"kind": "free", "m_sq": MASS_SQUARED}, lattice=list(lattice), seed=0, dtype="float64",
        model={"kind": "flow", "parameters": 7},
        training={
            "steps": STEPS, "configurations": 64 * STEPS, "wall_seconds": 123.4, "compile_seconds": 2.5,
            "acceptance_milestones": {"0.5": milestone, "0.7": milestone, "0.9": None},
        },
    )  # fmt: skip
    return run


def add_samples(run, chains):
    """Store a history as the sampler would, in two parts."""
    writer = SampleWriter(
        run.root,
        {
            "kind": "flow", "history": "proposals", "chains": chains.chains, "proposals": chains.chains * chains.n,
            "warmup": chains.warmup, "thin": 1, "lattice": chains.attrs["lattice"], "seed": 0,
        },
    )  # fmt: skip
    for start, stop in ((0, chains.n // 3), (chains.n // 3, chains.n)):
        parts = {
            name: np.stack([chains.read(name, k, start, stop) for k in range(chains.chains)])
            for name in (*chains.names, "accepted", "log_weight")
        }
        accepted, log_weight = parts.pop("accepted"), parts.pop("log_weight")
        writer.append(accepted=accepted, log_weight=log_weight, observables=parts)


def add_measurements(run, chains, lattice):
    """Analyze a history and the map, and write what the pipeline would write of it."""
    results = analyze(chains)
    write_sealed_text(run.observables_path, results.to_text())
    log_weights = np.concatenate([chains.read("log_weight", k, chains.warmup, chains.n) for k in range(chains.chains)])
    run.update_summary(
        sampling={
            "kind": "flow", "proposals": chains.chains * chains.n, "acceptance": acceptance(log_weights)._asdict(),
            "ess": effective_sample_size(log_weights)._asdict(), "wall_seconds": 4.5,
            "tau_int": {"value": 1.1, "error": 0.02},
        },
        log_z=log_z(log_weights)._asdict(), observables=results.summary(), untrusted=results.untrusted,
    )  # fmt: skip
    stages = along_the_map(flow(lattice), jax.random.key(1), proposals=1024)
    write_json(run.stages_path, stages.to_dict())
    return results
