"""The map as a program that needs no trivmap: its fields, densities and weights are those of the run."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.oracles import ChainOracle
from tests.runs.support import CARD
from trivmap.cards.build import build_action
from trivmap.cards.card import RunCard
from trivmap.errors import InputError
from trivmap.loading import Run
from trivmap.runs import pipeline
from trivmap.runs.program import export_program
from trivmap.support import Support

READER = Path(__file__).resolve().parents[2] / "examples" / "program" / "read_map.py"
ALONE = """
import runpy, sys
for name in ("trivmap", "equinox", "jaxtyping", "optax", "h5py"):
    sys.modules[name] = None
found = runpy.run_path(sys.argv[1])
found["np"].savez("drawn.npz", **{f"input{i}": each for i, each in enumerate(found["inputs"])},
    **{name: found[name] for name in ("field", "log_q", "log_w", "again")})
"""


@pytest.fixture(params=["sampled", "even"])
def run(request):
    return Run(request.getfixturevalue(request.param))


def drawn_without_trivmap(program, folder):
    """What the example draws, in a process that cannot import trivmap, and what it prints."""
    script = folder / "alone.py"
    script.write_text(ALONE.replace("sys.argv[1]", repr(str(READER))))
    done = subprocess.run([sys.executable, script, program], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "drawn.npz", allow_pickle=False) as file:
        return dict(file), done.stdout


def test_it_is_the_map_of_the_run(run, tmp_path):
    facts = run.export_program(tmp_path / "map.npz")
    drawn, printed = drawn_without_trivmap(tmp_path / "map.npz", tmp_path)
    flow, action = run.flow, run.action
    field, log_q, log_w = (jnp.asarray(drawn[name]) for name in ("field", "log_q", "log_w"))
    assert field.shape == (4096, *run.card.lattice) and np.all(np.isfinite(field))
    assert field.dtype == facts["dtype"] == "float32"
    pushed, density = jax.vmap(flow.push)(jnp.asarray(drawn["input0"]))
    there = ~np.isnan(np.asarray(pushed[0]))
    np.testing.assert_allclose(field[:, there], pushed[:, there], rtol=1e-5, atol=1e-5)
    # The weights are those of whole fields and of the sites that the flow draws; q is normalized over all sites.
    np.testing.assert_allclose(log_w, -jax.vmap(action)(field) - density, atol=2e-5)
    np.testing.assert_allclose(log_q + log_w, -jax.vmap(action.full)(field), atol=2e-5)
    if flow.support is Support.ALL:
        np.testing.assert_allclose(log_q, jax.vmap(flow.log_density)(field), atol=2e-5)
    np.testing.assert_allclose(drawn["again"], log_q, atol=2e-4)
    assert "log Z = " in printed and facts["lattice"] == list(run.card.lattice)
    assert (facts["words"] is None) == (flow.support is Support.ALL) == ("input1" not in drawn)


def test_couplings_at_double_precision(tmp_path):
    data = {key: value for key, value in CARD.items() if key != "training"} | {"dtype": "float64"}
    made = Run(pipeline.create(RunCard.from_data(data), tmp_path / "run"))
    assert made.export_program(tmp_path / "map.npz")["dtype"] == "float64"
    drawn, _ = drawn_without_trivmap(tmp_path / "map.npz", tmp_path)
    field, density = jax.vmap(made.flow.push)(jnp.asarray(drawn["input0"]))
    assert drawn["field"].dtype == np.float64
    np.testing.assert_allclose(drawn["field"], field, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(drawn["log_q"], density, rtol=1e-12)
    np.testing.assert_allclose(drawn["again"], jax.vmap(made.flow.log_density)(field), rtol=1e-12)


def test_whole_fields_of_the_even_sites_are_of_the_target(even, tmp_path):
    export_program(even, tmp_path / "map.npz")
    drawn, _ = drawn_without_trivmap(tmp_path / "map.npz", tmp_path)
    oracle = ChainOracle(8, *build_action(even.card()).coefficients)
    weight = np.exp(drawn["log_w"].astype(np.float64) - oracle.log_z)
    error = weight.std() / np.sqrt(len(weight))
    assert abs(weight.mean() - 1) < 3.5 * error < 0.1
    for color in (0, 1):
        square = np.mean(drawn["field"][:, color::2].astype(np.float64) ** 2, axis=1)
        error = np.std(weight * (square - oracle.phi2)) / np.sqrt(len(weight))
        assert abs(np.mean(weight * (square - oracle.phi2))) < 3.5 * error < 0.05


def test_the_file_says_what_it_is(sampled, tmp_path):
    facts = Run(sampled).export_program(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz", allow_pickle=False) as file:
        assert json.loads(str(file["metadata"])) == facts
        assert file.files == ["metadata", "sample", "density"]
        made = jax.export.deserialize(bytearray(file["sample"].tobytes()))
    assert made.platforms == ("cpu", "cuda") == tuple(facts["platforms"])
    assert made.calling_convention_version == facts["calling_convention_version"]
    assert facts["noise"] == {"shape": [4], "distribution": "unit normal"} and facts["jax"] == jax.__version__
    assert facts["action"] == {"kind": "free", "m_sq": 0.5} and facts["certificate"] is None
    for count in (1, 7):
        field, _, _ = made.call(jnp.zeros((count, 4), jnp.float32))
        assert field.shape == (count, 4)


def test_what_is_refused(sampled, tmp_path, monkeypatch):
    (tmp_path / "map.npz").write_text("mine")
    for name, message in (("map.npz", "exists already"), ("map.bin", "end in .npz"), ("no/map.npz", "no directory")):
        with pytest.raises(InputError, match=message):
            export_program(sampled, tmp_path / name)
    assert (tmp_path / "map.npz").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(InputError, match=r"needs the package flatbuffers, .*; install trivmap\[programs\]"):
        export_program(sampled, tmp_path / "new.npz")
