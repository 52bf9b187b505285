"""A reader does what the pages say, page by page, each in an empty directory."""

import json
import math
import re
import sys

import h5py
import numpy as np
import pytest

from experiments import fill
from tests.docs.pages import DOCS, README, ROOT, Reader, blocks, code, commands, prose, rows
from trivmap.estimate import Estimate
from trivmap.lattice import Lattice
from trivmap.reports import find_reference

RUN_DIRECTORY = ROOT / "docs" / "reference" / "run-directory.md"
EXTENDING = ROOT / "docs" / "how-to" / "extending.md"
LOG_Z_L6 = Estimate(30.72886, 0.00050)
"""By a million proposals of another flow: four affine couplings, float64, acceptance 0.77."""


def follow(page, directory, monkeypatch):
    reader = Reader(page, directory)
    reader.write_files()
    reader.type_commands(monkeypatch)
    return reader


def number(printed, name):
    """The value and the error behind a name, printed like 0.8692(17)."""
    digits, error = re.search(rf"{name} (\d+\.\d+)\((\d+)\)", printed).groups()
    return float(digits), int(error) * 10.0 ** -len(digits.partition(".")[2])


@pytest.mark.slow
def test_readme_commands(tmp_path, monkeypatch):
    reader = follow(README, tmp_path, monkeypatch)
    run = tmp_path / "runs" / "L10"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["lattice"] == [10, 10] and summary["action"]["beta"] == 0.601
    assert summary["sampling"]["proposals"] == 12000
    assert (run / "report.html").stat().st_size > 100_000
    assert "quickstart" in reader.printed and "susceptibility" in reader.printed

    kept = json.loads(fill.keep(run, folder=tmp_path).read_text())
    assert {"lattice=[10, 10]", "action.beta=0.601", "sampling.proposals=12000"} <= set(kept["changes"])
    del summary["origin"], summary["sha256"]
    assert kept["summary"] == summary
    assert kept["output"][0].startswith("runs/quickstart  changed from quickstart: lattice, action") and str(
        tmp_path
    ) not in json.dumps(kept)
    cells = fill.table_row(kept).split(" | ")
    assert len(cells) == 8 and cells[6] == "128"


@pytest.mark.slow
def test_readme_example(tmp_path):
    (example,) = [block.text for block in blocks(README) if block.language == "python"]
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    printed = Reader(README, tmp_path).run_python()
    (acceptance, acceptance_error), (log_z, log_z_error) = (number(printed, name) for name in ("acceptance", "log Z"))
    said = int(re.search(r"accepts about (\d+)%", prose(README))[1]) / 100
    assert abs(acceptance - said) < 0.02 and 0 < acceptance_error < 0.01
    assert abs(log_z - LOG_Z_L6.value) < 4 * math.hypot(log_z_error, LOG_Z_L6.error)
    susceptibility, error = number(printed, "susceptibility")
    action = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.537, "lam": 0.5}
    reference = find_reference(action, [6, 6]).observables["susceptibility"]
    assert abs(susceptibility - reference.value) < 4 * math.hypot(error, reference.error)
    assert error < 0.02 * susceptibility


@pytest.mark.slow
def test_run_directory(tmp_path, monkeypatch):
    reader = follow(RUN_DIRECTORY, tmp_path, monkeypatch)
    run = tmp_path / "runs" / "free"
    said = {row.heading: [] for row in rows(RUN_DIRECTORY)}
    for row in rows(RUN_DIRECTORY):
        said[row.heading].append(row.cells)

    written = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    listed = {name.rstrip("/") for cells in said["The run directory"] for name in code(cells[0])}
    assert written | {"certificate.json", "integration.h5", "report.html", "figures", "fields.h5"} == listed
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    described = code(next(cells[1] for cells in said["The run directory"] if cells[0] == "`metrics.jsonl`"))
    assert {key for record in metrics for key in record} | {"damping", "rung"} == set(described) - {"gauss-newton"}

    summary = json.loads((run / "summary.json").read_text())
    keys = {key for cells in said["summary.json"] for key in code(cells[0])}
    assert {key.split(".")[0] for key in keys} == set(summary)
    for section in ("training", "sampling"):
        assert {key.split(".")[1] for key in keys if key.startswith(f"{section}.")} == set(summary[section])
    evaluation = set(code(next(c[1] for c in said["summary.json"] if c[0] == "`training.evaluation`")))
    assert evaluation == set(summary["training"]["evaluation"])

    with h5py.File(run / "samples.h5") as file:
        scalars = set(code(next(c[3] for c in said["samples.h5"] if c[0] == "`observables/NAME`")))
        arrays = {c[0].strip("`") for c in said["samples.h5"]} - {"`fields`", "fields", "observables/NAME"}
        stored = {"log_weight", "accepted", *(f"observables/{name}" for name in file["observables"])}
        assert stored == arrays | {f"observables/{name}" for name in scalars}
        for cells in said["samples.h5"]:
            if (name := cells[0].strip("`")) in stored:
                assert file[name].dtype == np.dtype(cells[2])
        orbits = len(Lattice([8, 8]).orbit_representatives)
        assert file["observables/two_point"].shape == (4, 25000, orbits)
        assert file["observables/correlator"].shape[2:] == (5,)
        attributes = re.search(r"Attributes: (.*?)\.\n", prose(RUN_DIRECTORY), flags=re.DOTALL)[1]
        assert set(code(attributes)) == set(file.attrs) | {"integration_steps", "own_measurements"}

    assert "training is complete" in reader.printed
    printed = reader.run_python()
    first_chain = float(re.search(r"<\|m\|> of the first chain ([\d.]+)", printed)[1])
    exact = math.sqrt(2 * 4.0 / (math.pi * 64))
    assert abs(first_chain - exact) < 5 * exact / math.sqrt(25000)


@pytest.mark.slow
def test_extending(tmp_path, monkeypatch):
    try:
        follow(EXTENDING, tmp_path, monkeypatch)
    finally:
        sys.modules.pop("my_theory", None)
        sys.modules.pop("my_observables", None)
    summary = json.loads((tmp_path / "runs" / "phi6" / "summary.json").read_text())
    assert summary["action"] == {"kind": "my_theory:Phi6", "beta": 0.5, "eta": 0.1}
    assert summary["sampling"]["acceptance"]["value"] > 0.5
    check = summary["observables"]["schwinger_dyson"]
    assert abs(check["value"] - 1) < 4 * check["error"] < 0.08
    assert {"diagonal", "cube"} <= summary["observables"].keys()
    assert summary["observables"]["diagonal"]["symbol"] == "⟨φ(x)φ(x+e₁+e₂)⟩"
    assert "skewness" in summary["untrusted"]["kurtosis"], "a page that promises its value may now give it"
    assert Reader(EXTENDING, tmp_path).run_python() == "all agree\n"


@pytest.mark.parametrize("page", [p for p in DOCS if p not in (RUN_DIRECTORY, EXTENDING)], ids=lambda page: page.name)
def test_other_pages(page, tmp_path, monkeypatch):
    reader = follow(page, tmp_path, monkeypatch)
    if any(block.language == "python" for block in blocks(page)):
        reader.run_python()
    assert any(line.startswith("trivmap") for line in commands(page)) == bool(reader.printed)
