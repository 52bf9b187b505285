"""What a run takes, against the files that runs write and what JAX raises where memory ends."""

import jax
import pytest

from tests.runs.support import CARD
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.runs import budget, pipeline
from trivmap.runs.plan import Plan
from trivmap.runs.sampling import sample

ACTION = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5}
MAPLESS = {"lattice": [4, 6], "action": ACTION}
FREE = {"lattice": [4, 6], "action": ACTION, "model": {"base": {"kind": "free-field"}, "maps": []}}
GB = 10**9


class Large(Plan):
    """A plan whose map has many parameters."""

    parameters = 100_000


@pytest.mark.parametrize(
    ("data", "sampling"),
    [
        (MAPLESS, {"kind": "hmc", "chains": 2, "proposals": 6000}),
        (MAPLESS, {"kind": "cluster", "chains": 2, "proposals": 6000, "save_fields": True, "thin": 7}),
        (FREE, {"chains": 2, "proposals": 6000, "save_fields": True}),
    ],
    ids=["hmc", "cluster", "flow"],
)
def test_samples_take_what_is_expected(tmp_path, data, sampling):
    card = RunCard.from_data({**data, "sampling": sampling})
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        run = pipeline.create(card, tmp_path / "run")
        sample(run)
    written = sum(path.stat().st_size for path in (run.root / "samples").iterdir())
    assert 1 < written / budget.budget(Plan(card)).disk < 1.08


def test_configurations_of_all_rungs():
    rung = {"lattice": [2, 2], "steps": 10, "batch": 8}
    training = {**CARD["training"], "ladder": [rung], "evaluate": {"every": 100, "proposals": 5000}}
    card = RunCard.from_data({**CARD, "training": training})
    assert budget.budget(Plan(card)).configurations == 10 * 8 + 5000 + 200 * 64 + 2 * 5000
    assert budget.budget(Plan(card), training=False).configurations == 0


@pytest.mark.parametrize(
    ("override", "key", "size"),
    [
        ("training.batch=1000000000", "training.batch", 3 * 64 * GB),
        ("training.evaluate.batch=1000000000", "training.evaluate.batch", 2 * 64 * GB),
        ("training.evaluate.proposals=1000000000", "training.evaluate.proposals", 8 * GB),
        ("sampling.proposals=1000000000", "sampling.proposals", 34 * GB),
        ("measure.stages.proposals=1600000000", "measure.stages.proposals", 2 * 6.4 * GB),
        ("training.optimizer={kind: gauss-newton, space: parameters}", "model", 16 * 100_000**2),
    ],
)
def test_memory(override, key, size):
    card = RunCard.from_data(CARD).with_overrides([override])
    assert budget.budget(Large(card)).memory[key] == size


def test_chains():
    data = {**MAPLESS, "sampling": {"kind": "hmc", "chains": 10**8, "proposals": 10**10}}
    memory = budget.budget(Plan(RunCard.from_data(data))).memory
    assert memory["sampling.chains"] > 6 * 24 * 4 * 10**8


def test_room(monkeypatch, tmp_path):
    card = RunCard.from_data(CARD)
    found = budget.budget(Plan(card))
    budget.require_room([found], tmp_path / "not" / "there")
    monkeypatch.setattr(budget, "free_disk", lambda root: 1000)
    with pytest.raises(InputError, match=r"^sampling\.proposals: the samples will take 4\d\d kB, and 1 kB are free"):
        budget.require_room([found], tmp_path)
    # What is there already needs no room again.
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "part-00000.h5").write_bytes(bytes(found.disk))
    budget.require_room([found], tmp_path)
    monkeypatch.setattr(budget, "memory_limit", lambda: 1000)
    with pytest.raises(InputError, match=r"needs at least .* of memory, and this process has 1 kB; lower it, or give"):
        budget.require_room([found], tmp_path)


def test_a_place_that_says_nothing_of_its_size():
    assert budget.free_disk(budget.Path("/proc/self")) is None or budget.free_disk(budget.Path("/proc/self")) > 0


def test_limits_of_control_groups(monkeypatch, tmp_path):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "memory.max").write_text("123456789\n")
    (tmp_path / "outer" / "inner" / "memory.max").write_text("max\n")
    paths = [tmp_path / "outer" / "inner" / "memory.max", tmp_path / "outer" / "memory.max", tmp_path / "memory.max"]
    monkeypatch.setattr(budget, "_control_groups", lambda: paths)
    assert budget.memory_limit() == 123456789


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (512, "512 B"), (3_200_000, "3.2 MB"), (41e9, "41 GB"), (5e18, "5000 PB")]
)
def test_amounts(size, text):
    assert budget.amount(size) == text


class TestOutOfMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes."),
            jax.errors.JaxRuntimeError("INTERNAL: Out of memory"),
        ],
    )
    def test_is_one_sentence_that_names_the_key(self, error):
        with pytest.raises(InputError) as caught, budget.within_memory("training.batch"):
            raise error
        assert str(caught.value) == (
            "training.batch: there is not enough memory; lower it, or take a machine with more"
        )

    def test_other_errors_are_left_alone(self):
        with pytest.raises(jax.errors.JaxRuntimeError), budget.within_memory("training.batch"):
            raise jax.errors.JaxRuntimeError("INTERNAL: a defect")


def test_observables_of_ones_own_take_room_too(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "large_one.py").write_text(
        "import jax.numpy as jnp\nfrom trivmap.observables import Mean\n"
        "large = Mean(name='large', axes=('k',), measure=lambda field, action: jnp.zeros(1000, jnp.float32))\n"
    )
    sampling = {"kind": "hmc", "chains": 2, "proposals": 6000}
    plain = RunCard.from_data({**MAPLESS, "sampling": sampling})
    card = RunCard.from_data({**MAPLESS, "sampling": sampling, "measure": {"observables": ["large_one:large"]}})
    assert budget.row_bytes(Plan(card)) - budget.row_bytes(Plan(plain)) == 4000
    assert budget.budget(Plan(card)).disk > 6000 * 4000
    assert budget.part_length(Plan(card)) <= budget.part_length(Plan(plain))
