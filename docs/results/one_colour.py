"""Does exact integration of one colour of the checkerboard pay? `python docs/results/one_colour.py` measures it.

Given the even sites, the odd sites of a nearest-neighbour action are independent, each with the density
exp(-V(phi) + h phi) / Z1(h), V = c2 phi^2 + c4 phi^4, h = -c1 sum of its neighbours. A flow may then act on the even
sites alone, towards S_eff = sum_even V - sum_odd log Z1(h), and the odd sites are drawn exactly: half of the
dimensions, the same log Z and the same accept test.

The map (even_sites.py) is the library's continuous flow with kernels of even displacements, its base the marginal of
the Hartree free field; all are trained in the same way. `one-colour.json` keeps what came out; what it already
holds is not measured again. `python docs/results/one_colour.py check` adds observables of configurations whose odd
sites were drawn, and log Z.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from even_sites import MAPS, EvenContinuous, EvenFreeField, EvenSites, Group, OneColour
from what_pays import BETA, Clock, Pace, card, trained

from trivmap.actions import Phi4
from trivmap.flows import Flow
from trivmap.reports import find_reference
from trivmap.runs.build import build_action, build_plan
from trivmap.runs.pipeline import keys
from trivmap.samplers import log_z
from trivmap.training import Trainer

TARGET = Path(__file__).with_name("one-colour.json")
BEST = "even sites, features on odd sites too"


def draw_odd(c2: float, c4: float, h: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Odd sites from uniform numbers u, by inversion of the distribution function at every h, to about 1e-8."""
    phi = np.linspace(-8.0, 8.0, 1601)
    drawn = np.empty(h.size)
    for start in range(0, h.size, 4096):
        part = slice(start, start + 4096)
        exponent = np.multiply.outer(h.ravel()[part], phi) - c2 * phi**2 - c4 * phi**4
        density = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        slope = density * (h.ravel()[part, None] - 2 * c2 * phi - 4 * c4 * phi**3)
        step = phi[1] - phi[0]
        # Each interval by the trapezoidal rule with the correction of its ends' slopes.
        areas = step * (density[:, :-1] + density[:, 1:]) / 2 - step**2 * np.diff(slope, axis=1) / 12
        cumulative = np.cumsum(areas, axis=1)
        wanted = u.ravel()[part, None] * cumulative[:, -1:]
        cell = np.minimum(np.sum(cumulative < wanted, axis=1), len(phi) - 2)
        rows = np.arange(len(cell))
        rest = wanted[:, 0] - np.where(cell > 0, cumulative[rows, cell - 1], 0.0)
        f, g, area = density[rows, cell] * step, density[rows, cell + 1] * step, areas[rows, cell]
        # A cubic with the right area, and the right density at both ends of the interval.
        t = rest / area
        for _ in range(8):
            value = f * t + (3 * area - 2 * f - g) * t**2 + (f + g - 2 * area) * t**3
            t -= (value - rest) / (f + 2 * (3 * area - 2 * f - g) * t + 3 * (f + g - 2 * area) * t**2)
            t = np.clip(t, 0.0, 1.0)
        drawn[part] = phi[cell] + step * t
    return drawn.reshape(h.shape)


def assembled(even: np.ndarray, odd: np.ndarray) -> np.ndarray:
    """Fields (..., L, L) from those of both colours, each (..., L, L/2)."""
    extent = even.shape[-2]
    whole = np.empty((*even.shape[:-2], extent, extent))
    for colour, part in enumerate((even, odd)):
        whole[..., np.indices(part.shape[-2:])[0], EvenSites(extent).columns(colour)] = part
    return whole


def even_trainer(
    extent: int, seed: int, groups: Sequence[Group], clock: Clock, changes: list[str] | None = None
) -> Trainer:
    """The recipe's training of a flow on the even sites."""
    whole = card(extent, seed, changes)
    action = build_action(whole)
    assert isinstance(action, Phi4)
    flow = Flow(EvenFreeField(extent, action), EvenContinuous(extent, groups))
    return Trainer(flow, OneColour(action), build_plan(whole), keys(whole)["train"], clock)


def measure(seeds: Sequence[int]) -> None:
    """The maps of the even sites, with the same numbers of configurations as the recipe in what-pays.json."""
    content = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {"rows": []}
    for extent in (16, 20):
        pace = Pace.on(extent)
        for seed in seeds:
            for name in MAPS:
                row: dict[str, Any] = {"variant": name, "extent": extent, "seed": seed}
                if any(row.items() <= other.items() for other in content["rows"]):
                    continue
                before, clock = pace(), Clock()
                cost, _ = trained(even_trainer(extent, seed, MAPS[name], clock), clock)
                content["rows"].append(row | {"pace": (before + pace()) / 2} | asdict(cost))
                sys.stderr.write(f"{content['rows'][-1]}\n")
                TARGET.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def weighted(fields: np.ndarray, log_weights: np.ndarray, action: Phi4) -> dict[str, list[float]]:
    """Reweighted [mean, error] of observables that need both colours, and log Z."""
    weights = np.exp(log_weights - log_weights.max())
    force = np.asarray(jax.vmap(action.force)(fields))
    values = {
        "susceptibility": fields.sum(axis=(1, 2)) ** 2 / fields[0].size,
        "phi2": np.mean(fields**2, axis=(1, 2)),
        "phi4": np.mean(fields**4, axis=(1, 2)),
        "ising_energy": np.mean(fields * (np.roll(fields, 1, 1) + np.roll(fields, 1, 2)), axis=(1, 2)) / 2,
        "schwinger_dyson": -np.mean(fields * force, axis=(1, 2)),
    }
    result = {}
    for name, value in values.items():
        mean = float(np.average(value, weights=weights))
        influence = weights * (value - mean) / weights.mean()
        result[name] = [mean, float(influence.std() / len(fields) ** 0.5)]
    return result | {"log_z": list(log_z(log_weights))}


def check(extent: int = 8, proposals: int = 16_384) -> None:
    """Observables of configurations whose odd sites were drawn, and log Z, beside what is known of them."""
    clock = Clock()
    trainer = even_trainer(extent, 0, MAPS[BEST], clock, ["training.steps=16", "training.batch=128"])
    _, state = trained(trainer, clock)
    flow, action = trainer.flow(state).with_integration_steps(16), build_action(card(extent))
    assert isinstance(action, Phi4) and isinstance(trainer.action, OneColour)
    split = jax.random.split(jax.random.key(1), proposals)
    even, log_densities = jax.jit(lambda keys: jax.lax.map(flow.sample, keys, batch_size=512))(split)
    log_weights = -np.asarray(log_densities + jax.vmap(trainer.action)(even))
    h = -action.c1 * np.asarray(jax.vmap(trainer.action.neighbours)(even), np.float64)
    odd = draw_odd(action.c2, action.c4, h, np.random.default_rng(0).random(h.shape))
    found = weighted(assembled(np.asarray(even, np.float64), odd), log_weights, action)
    reference = find_reference(card(extent).to_data()["action"], [extent, extent])
    assert reference is not None
    known = {name: list(reference.observables[name]) for name in found if name in reference.observables}
    whole = json.loads(TARGET.with_name("quickstart.json").read_text(encoding="utf-8"))["summary"]
    if whole["lattice"] == [extent, extent] and whole["action"]["beta"] == BETA[extent]:
        known["log_z"] = [whole["log_z"]["value"], whole["log_z"]["error"]]
    content = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {"rows": []}
    content["check"] = {
        name: {"one colour": pair, "known": known.get(name, [1.0, 0.0] if name == "schwinger_dyson" else None)}
        for name, pair in found.items()
    }
    TARGET.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    if sys.argv[1:] == ["check"]:
        check()
    else:
        measure([int(seed) for seed in sys.argv[1:]] or [0, 1])
