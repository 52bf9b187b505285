import asyncio
import contextlib
import gc
import itertools
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.runs.support import contents, kill_while_working, no_file_larger_than
from trivmap.errors import InputError
from trivmap.store.checkpoints import CheckpointStore


class Model(eqx.Module):
    weights: jax.Array
    bias: jax.Array | None
    function: Callable
    width: int = eqx.field(static=True)


def training_state(seed=0):
    """What a trainer keeps: a module with functions inside, optimizer state, keys, counters of every kind."""
    model = Model(jnp.linspace(seed, 1.0, 12).reshape(3, 4), None, jnp.tanh, 4)
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, 10)).init(eqx.filter(model, eqx.is_inexact_array))
    return {
        "model": model,
        "optimizer": optimizer,
        "key": jax.random.key(seed + 1),
        "keys": jax.random.split(jax.random.key(seed, impl="rbg"), 3),
        "raw_key": jax.random.PRNGKey(seed),
        "half": jnp.asarray([1.5, -0.0, jnp.nan], jnp.bfloat16),
        "complex": jnp.asarray([1 + 2j], jnp.complex64),
        "flag": jnp.asarray([True, False]),
        "double": jnp.asarray(0.1 * (seed + 1), jnp.float64),
        "numpy": np.arange(3, dtype=np.int16),
        "number": np.float32(1 / 3),
        "empty": jnp.zeros((0, 2)),
        "count": 12 + seed,
        "seconds": 0.1 + 0.2,
        "done": False,
    }


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if not isinstance(x, jax.Array | np.ndarray | np.generic | bool | int | float):
            assert x is y
            continue
        assert type(x) is type(y)
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            assert jax.random.key_impl(x) == jax.random.key_impl(y)
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        x, y = np.asarray(x), np.asarray(y)
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        assert x.tobytes() == y.tobytes()


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", digest="abc")


def test_restored_bit_for_bit(store):
    state = training_state(seed=5)
    metadata = {"seconds": 0.1 + 0.2, "milestones": {"0.5": None}}
    store.save(100, state, metadata)
    restored, checkpoint = store.restore(training_state(seed=0))
    assert_identical(restored, eqx.combine(eqx.filter(state, eqx.is_array_like), restored))
    assert checkpoint.step == 100
    assert checkpoint.metadata == metadata
    # The same from abstract leaves.
    shapes = eqx.filter_eval_shape(lambda: training_state(seed=0))
    again, _ = store.restore(shapes)
    assert jnp.array_equal(jax.random.key_data(again["keys"]), jax.random.key_data(state["keys"]))
    assert jax.random.key_impl(again["keys"]) == "rbg"
    assert again["double"] == state["double"]


def test_a_restored_state_goes_on_as_the_original(store):
    @jax.jit
    def step(carry):
        key, draw = jax.random.split(carry["key"])
        return {"key": key, "x": carry["x"] + jax.random.normal(draw, (3,), jnp.float32)}

    state = {"key": jax.random.key(1), "x": jnp.zeros(3, jnp.float32)}
    for _ in range(3):
        state = step(state)
    store.save(3, state, {})
    restored, _ = store.restore({"key": jax.random.key(0), "x": jnp.ones(3, jnp.float32)})
    assert_identical(step(restored), step(state))


def test_the_last_two_are_kept(store):
    for step in (1, 2, 3, 3, 10):
        store.save(step, {"x": jnp.asarray([step])}, {})
    assert sorted(path.name for path in store.folder.iterdir()) == ["step-00000003-2", "step-00000010"]
    assert store.latest().step == 10
    assert store.restore({"x": jnp.asarray([0])})[0]["x"] == 10


def test_nothing_to_resume(store):
    assert store.latest() is None
    with pytest.raises(InputError, match="there is no checkpoint yet; start the training without --resume"):
        store.restore({})


def damage(path, how):
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-2])  # the last byte may be an idle newline
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "altered":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "emptied", "altered", "removed"])
def test_every_damage_to_every_file_is_seen(store, how):
    state = training_state()
    store.save(1, state, {})
    store.save(2, state, {})
    files = [path for path in store.folder.glob("step-00000002/**/*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        original = path.read_bytes()
        damage(path, how)
        before = contents(store.folder)
        with pytest.raises(InputError) as caught:
            store.restore(state)
        newest = store.folder / "step-00000002"
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).endswith(f"; move {newest} away to resume from the intact step-00000001")
        assert "\n" not in str(caught.value)
        assert contents(store.folder) == before
        path.write_bytes(original)
    assert store.latest().step == 2


def test_no_older_one_to_go_back_to(store):
    path = store.save(1, {"x": jnp.zeros(3)}, {})
    (path / "manifest.json").write_text("{")
    with pytest.raises(InputError) as caught:
        store.latest()
    assert str(caught.value) == (
        f"{path / 'manifest.json'}: is truncated or damaged; there is no older intact checkpoint, so start a new run"
    )


@pytest.mark.parametrize(
    ("template", "difference"),
    [
        ({"x": jnp.zeros(4)}, "it holds x of shape [3] and type float64 where the model has x of shape [4]"),
        ({"x": jnp.zeros(3, jnp.float32)}, "where the model has x of shape [3] and type float32"),
        ({"y": jnp.zeros(3)}, "where the model has y of shape [3]"),
        ({"x": jnp.zeros(3), "z": jnp.zeros(1)}, "it holds 1 arrays where the model has 2"),
        ({"x": jax.random.split(jax.random.key(0), 3)}, "where the model has x of shape [3, 2] and type key<fry>"),
    ],
)
def test_another_model_is_refused(store, template, difference):
    path = store.save(1, {"x": jnp.zeros(3)}, {})
    before = contents(store.folder)
    with pytest.raises(InputError) as caught:
        store.restore(template)
    assert str(caught.value).startswith(f"{path}: belongs to another model than the run card describes (")
    assert difference in str(caught.value)
    assert contents(store.folder) == before


def test_another_digest_is_refused(store):
    path = store.save(1, {"x": jnp.zeros(3)}, {})
    with pytest.raises(InputError) as caught:
        CheckpointStore(store.folder, digest="other").restore({"x": jnp.zeros(3)})
    assert str(caught.value) == (
        f"{path}: belongs to another model than the run card describes (lattice, dtype, action or model were changed); "
        "resume with the lattice, dtype, action and model it was trained with, or start a new run"
    )


def test_a_full_disk_keeps_the_older_checkpoints(store, capfd, caplog):
    noise = np.random.default_rng(0).normal(size=100_000)  # does not compress
    store.save(1, {"x": jnp.asarray(noise[:100])}, {})
    before = contents(store.folder)
    with no_file_larger_than(50_000), pytest.raises(InputError) as caught:
        store.save(2, {"x": jnp.asarray(noise)}, {})
    assert str(caught.value) == (
        f"{store.folder / 'step-00000002'}: the file would exceed the size limit; nothing written before was lost, "
        "make room and resume the run"
    )
    assert contents(store.folder) == before
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_full_disk_for_real(small_disk):
    store = CheckpointStore(small_disk / "checkpoints", digest="abc")
    noise = jnp.asarray(np.random.default_rng(0).normal(size=30_000))
    store.save(1, {"x": noise}, {})
    store.save(2, {"x": noise}, {})
    store.save(3, {"x": noise}, {})
    with pytest.raises(InputError, match=r"the disk is full; nothing written before was lost"):
        store.save(4, {"x": jnp.asarray(np.random.default_rng(1).normal(size=100_000))}, {})
    assert store.latest().step == 3
    assert jnp.array_equal(store.restore({"x": noise})[0]["x"], noise)


def test_a_disk_that_fills_up_is_told_in_one_sentence(small_disk, capfd, caplog):
    """Threads of orbax that meet it would print tracebacks, at some sizes and some time later."""
    state = {"x": np.random.default_rng(0).normal(size=3000), "y": np.arange(5)}
    for room in range(4_000, 100_000, 16_000):
        space = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(bytes(space.f_bavail * space.f_frsize - room))
        with contextlib.suppress(InputError):
            CheckpointStore(small_disk / "checkpoints", digest="abc").save(1, state, {})
        gc.collect()
        (small_disk / "filler").unlink()
        shutil.rmtree(small_disk / "checkpoints", ignore_errors=True)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_nothing_runs_on_after_a_save_and_nothing_is_said(store, capfd, caplog):
    state = training_state()
    threads = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.save(1, state, {})
        store.restore(state)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= threads
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_inside_a_running_event_loop(store):
    """As in a notebook."""

    async def main():
        store.save(1, {"x": jnp.arange(3)}, {})
        return store.restore({"x": jnp.zeros(3, int)})[0]

    assert jnp.array_equal(asyncio.run(main())["x"], jnp.arange(3))


def save_for_ever(folder, announce):
    store = CheckpointStore(folder, digest="abc")
    latest = store.latest()
    for step in itertools.count(latest.step + 1 if latest else 0):
        store.save(step, {"x": np.full(1000, step / 7), "step": step}, {"step": step})
        announce(step)


@pytest.mark.parametrize("delay", [0.003, 0.017, 0.071])
def test_a_kill_at_any_moment_leaves_the_latest_intact(tmp_path, delay):
    store = CheckpointStore(tmp_path, digest="abc")
    for _ in range(2):
        announced = kill_while_working(save_for_ever, tmp_path, delay)
        state, checkpoint = store.restore({"x": np.zeros(1000), "step": 0})
        # What was announced is there; the one being written then may be.
        assert announced <= checkpoint.step <= announced + 1
        assert checkpoint.metadata == {"step": checkpoint.step}
        assert state["step"] == checkpoint.step
        assert np.array_equal(state["x"], np.full(1000, checkpoint.step / 7))
        store.save(checkpoint.step + 1, state | {"x": state["x"] + 1 / 7, "step": checkpoint.step + 1}, {})
        assert all(path.name.startswith("step-") for path in tmp_path.iterdir())
