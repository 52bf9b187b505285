import json

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from tests.runs.support import contents, no_file_larger_than
from trivmap.errors import InputError
from trivmap.store.weights import load_model, model_digest, save_model


def build(card, seed=0):
    width = card.model.maps[0].couplings * card.lattice[0]
    return eqx.nn.MLP(4, 4, width, 1, dtype=jnp.dtype(card.dtype), key=jax.random.key(seed))


@pytest.fixture
def saved(tmp_path, card):
    flow = build(card, seed=3)
    save_model(tmp_path / "model", flow, card)
    return tmp_path / "model", flow


def test_comes_back_bit_for_bit(saved, card):
    folder, flow = saved
    loaded, header_card = load_model(folder, build)
    assert eqx.tree_equal(loaded, flow)
    assert header_card.digest() == card.digest()
    header = json.loads((folder / "header.json").read_text())
    assert header["lattice"] == [4, 4] and header["dtype"] == "float32"
    assert header["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array)))
    assert header["weights"]["sha256"] == model_digest(folder)


def test_a_second_model_replaces_the_first(saved, card):
    folder, _ = saved
    other = build(card, seed=4)
    save_model(folder, other, card)
    save_model(folder, other, card)
    assert len(list(folder.iterdir())) == 2
    assert eqx.tree_equal(load_model(folder, build)[0], other)


@pytest.mark.parametrize("how", ["truncated", "altered", "removed"])
def test_damaged_weights(saved, how):
    folder, _ = saved
    (path,) = folder.glob("*.eqx")
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    else:
        content[-1] ^= 1
        path.write_bytes(content[:-8] if how == "truncated" else content)
    before = contents(folder)
    with pytest.raises(InputError) as caught:
        load_model(folder, build)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema": 1}', "is damaged"),
    ],
)
def test_damaged_header(saved, content, sentence):
    folder, _ = saved
    header = folder / "header.json"
    header.unlink()
    if content is not None:
        header.write_text(content)
    with pytest.raises(InputError, match=rf"header\.json: {sentence}; copy it from a backup"):
        load_model(folder, build)


def test_a_newer_header(saved):
    folder, _ = saved
    header = folder / "header.json"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"schema": 2}))
    with pytest.raises(InputError, match="schema 2 is newer than this trivmap, which reads 1: upgrade trivmap"):
        load_model(folder, build)


def test_weights_of_another_skeleton(saved):
    folder, _ = saved
    with pytest.raises(InputError, match="does not fit the model its header describes"):
        load_model(folder, lambda card: build(card.with_overrides(["lattice=[6, 6]"])))


def test_float64_needs_a_process_that_has_it(tmp_path, card):
    card = card.with_overrides(["dtype=float64"])
    flow = build(card)
    save_model(tmp_path, flow, card)
    assert eqx.tree_equal(load_model(tmp_path, build)[0], flow)
    with jax.enable_x64(False), pytest.raises(InputError, match="the model is float64"):
        load_model(tmp_path, build)


def test_a_full_disk_keeps_the_old_model(saved, card):
    folder, flow = saved
    before = contents(folder)
    with no_file_larger_than(100), pytest.raises(InputError, match="nothing written before was lost"):
        save_model(folder, build(card, seed=5), card)
    assert contents(folder) == before
    assert eqx.tree_equal(load_model(folder, build)[0], flow)
