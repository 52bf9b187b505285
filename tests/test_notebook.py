"""Objects as notebooks show them."""

from html import escape

import pytest

from tests.reports import synthetic
from trivmap.actions import Phi4
from trivmap.lattice import Lattice
from trivmap.loading import Run
from trivmap.notebook import table
from trivmap.training import recommended


def test_a_table_escapes_everything():
    shown = table("<a>", ["<b>"], [["<c>"], [3]])
    assert shown == (
        "<table><caption>&lt;a&gt;</caption><thead><tr><th>&lt;b&gt;</th></tr></thead>"
        "<tbody><tr><td>&lt;c&gt;</td></tr><tr><td>3</td></tr></tbody></table>"
    )
    assert "caption" not in table("", [], [])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("notebook") / "run"
    chains = synthetic.history((4, 4), proposals=600)
    directory = synthetic.trained_run(root, (4, 4))
    synthetic.add_samples(directory, chains)
    synthetic.add_measurements(directory, chains, (4, 4))
    return Run(directory)


def test_objects_of_a_run(run):
    assert "<td>correlator</td><td>[2, 600, 3]</td><td>float64</td>" in run.samples._repr_html_()
    assert run.card._repr_html_().startswith("<pre>schema: 1") and "&lt;" not in run.card._repr_html_()
    stages = run.stages._repr_html_()
    assert "<th>&lt;phi^2&gt;</th>" in stages and stages.count("<tr>") == 1 + len(run.stages.stages)
    assert escape(repr(run.samples).split(": ")[0]) in run.samples._repr_html_()
    assert repr(run.stages).split("\n")[0] in stages


def test_flow():
    flow, _ = recommended(Phi4.from_couplings("bosetti2015", beta=0.5, lam=0.5, dimension=2), Lattice([4, 4]))
    shown = flow._repr_html_()
    numbers = [int(row.split("<td>")[-1].split("<")[0]) for row in shown.split("<tr>")[2:]]
    assert sum(numbers) == flow.parameters > 0 and "Continuous" in shown
