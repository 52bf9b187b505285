"""A card is built once: its objects are made when they are asked for, and kept."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import trivmap
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs.plan import Plan

COUNTED = """
from trivmap.actions import FreeScalar
from trivmap.observables import Mean

built = []

class Counted(FreeScalar):
    def __init__(self, lattice):
        super().__init__(0.7, lattice.dimension)
        built.append(lattice.shape)

fourth = Mean(name="fourth_power", measure=lambda field, action: (field**4).mean())
"""
CARD = {
    "lattice": [6],
    "action": {"kind": "counted_parts:Counted"},
    "model": {"base": {"kind": "gaussian"}, "maps": [{"kind": "fourier"}]},
    "training": {
        "steps": 20,
        "batch": 16,
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "evaluate": {"every": 20},
        "ladder": [{"lattice": [4], "steps": 20}],
    },
    "sampling": {"kind": "flow", "chains": 2, "proposals": 4000, "probe": False},
    "measure": {"stages": {"proposals": 64}, "observables": ["counted_parts:fourth"]},
}


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """The module of the user's action, which counts how often it is built."""
    (tmp_path / "counted_parts.py").write_text(COUNTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("counted_parts")
    sys.modules.pop("counted_parts", None)


def test_a_whole_run_builds_each_action_once(tmp_path, counted):
    run = trivmap.run(CARD, tmp_path / "run")
    assert sorted(counted.built) == [(4,), (6,)], "one for each rung"
    assert run.summary["observables"]["fourth_power"]["error"] > 0


def test_objects_are_kept():
    plan = Plan(RunCard.from_data({**CARD, "action": {"kind": "free", "m_sq": 0.7}, "measure": {}}))
    for name in ("lattice", "action", "target", "observables", "keys", "training", "shapes"):
        assert getattr(plan, name) is getattr(plan, name), name
    assert plan.rungs[-1] is plan and plan.rungs[0] is plan.rungs[0] and plan.rungs[0].lattice.shape == (4,)
    assert plan.parameters == plan.flow().parameters > 0


def test_other_sections_share_what_does_not_depend_on_them():
    plan = Plan(RunCard.from_data({**CARD, "action": {"kind": "free", "m_sq": 0.7}, "measure": {}}))
    assert plan.parameters and plan.training and plan.keys and len(plan.rungs) == 2
    section = plan.card.sampling.model_copy(update={"kind": "flow", "proposals": 8000, "integration_steps": 8})
    other = plan.changed(sampling=section)
    assert other.card.sampling.proposals == 8000 and other.card.training is plan.card.training
    assert other.action is plan.action and other.shapes is plan.shapes and other.rungs == (plan.rungs[0], other)
    measured = plan.changed(measure=plan.card.measure.model_copy(update={"bins": 40}))
    assert measured.card.measure.bins == 40 and measured.keys is plan.keys and measured.rungs[-1] is measured
    # Samples of another sampler have random numbers of their own.
    heat = plan.changed(sampling=RunCard.from_data({**CARD, "sampling": {"kind": "annealed"}}).sampling)
    assert jax.random.key_data(heat.keys["sample"]).tolist() != jax.random.key_data(plan.keys["sample"]).tolist()


def test_nothing_kept_belongs_to_a_trace():
    plan = Plan(RunCard.from_data({**CARD, "action": {"kind": "free", "m_sq": 0.7}, "measure": {}}))

    @jax.jit
    def first_asked_here(x):
        return x + plan.target(jnp.zeros(6)) + jax.random.uniform(plan.keys["train"])

    first_asked_here(1.0)
    assert eqx.filter_eval_shape(plan.flow).parameters == 0
    assert np.isfinite(np.asarray(jax.random.key_data(plan.keys["sample"]))).all()
    assert np.isfinite(float(plan.target(jnp.ones(6))))


def test_without_a_model():
    plan = Plan(
        RunCard.from_data({"lattice": [4], "action": {"kind": "free", "m_sq": 1.0}, "sampling": {"kind": "hmc"}})
    )
    assert plan.parameters is None
    with pytest.raises(InputError, match="model: missing"):
        plan.flow()
    with pytest.raises(InputError, match="training: missing"):
        _ = plan.training
