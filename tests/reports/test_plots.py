"""The figures of a loaded run, on the caller's axes and by themselves."""

import sys

import matplotlib
import numpy as np
import pytest

import trivmap
from tests.reports import synthetic
from trivmap.errors import InputError
from trivmap.reports.drawings import KEYS
from trivmap.reports.plots import Plots
from trivmap.store.directory import RunDirectory


@pytest.fixture(autouse=True)
def pyplot(monkeypatch):
    """pyplot without a screen, its figures closed afterwards."""
    monkeypatch.setattr("matplotlib.rcParams", matplotlib.rcParams.copy())
    known = set(sys.modules)
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
    for name in set(sys.modules) - known:
        if name == "matplotlib.pyplot":
            del sys.modules[name]


@pytest.fixture
def plot(measured_run):
    return trivmap.load(measured_run.root).plot


def test_every_figure_of_the_report_is_a_documented_function():
    public = {name for name in vars(Plots) if not name.startswith("_")}
    assert public == {*KEYS, "data"}
    assert all(getattr(Plots, name).__doc__ for name in public)


@pytest.mark.parametrize("name", [key for key in KEYS if key != "configurations"])
def test_each_is_drawn_and_has_numbers(plot, pyplot, name):
    drawn = getattr(plot, name)()
    several = isinstance(drawn, list)
    assert (drawn[0] if several else drawn).get_figure() in map(pyplot.figure, pyplot.get_fignums()), "is shown"
    columns = plot.data(name)
    assert len({len(values) for values in columns.values()}) == 1


def test_configurations(plot):
    assert len([axes for axes in plot.configurations() if axes.images]) == 8
    assert plot.data("configurations")["output"].shape == (4 * 16,)


def test_axes_and_figures_of_the_caller(plot, pyplot):
    _, (left, right) = pyplot.subplots(1, 2)
    assert plot.correlator(ax=right) is right
    assert right.has_data() and not left.has_data()
    top, bottom = pyplot.figure().subfigures(2, 1)
    assert len(plot.stages(figure=bottom)) == 4 and not top.axes
    assert pyplot.get_fignums() == [1, 2], "no figure besides"


def test_numbers_are_those_of_the_results(plot, measured_run):
    results = trivmap.load(measured_run.root).results
    found = plot.data("correlator")
    np.testing.assert_allclose(found["chain"], results.chain.value("correlator"), rtol=1e-12)
    np.testing.assert_array_equal(found["t"], [0, 1, 2])
    pulls = plot.data("consistency")
    row = list(pulls["observable"]).index("phi2")
    difference = results.difference["phi2"]
    assert pulls["chain_minus_reweighted"][row] == pytest.approx(difference.value / difference.dvalue, rel=1e-6)


def test_what_a_run_lacks(tmp_path):
    run = RunDirectory.create(tmp_path / "run", synthetic.card((4,)), {})
    plot = trivmap.load(run.root).plot
    for name, reason in (
        ("correlator", "nothing has been measured yet"),
        ("magnetization", "nothing has been sampled yet"),
        ("training", "this run has no training"),
        ("configurations", "there is no trained map"),
    ):
        with pytest.raises(InputError, match=f"has no figure {name}: {reason}"):
            getattr(plot, name)()
    with pytest.raises(InputError, match="'spectrum' is no figure of a run; give one of consistency, training"):
        plot.data("spectrum")


def test_parts_of_a_run_print_what_they_are(measured_run):
    run = trivmap.load(measured_run.root)
    assert repr(run.flow).splitlines() == [
        f"Flow(lattice [4, 4], {run.flow.parameters} parameters)",
        "  base: Gaussian",
        "  1: FourierDiagonal",
        "  2: Rescale",
    ]
    with run.samples as samples:
        text = repr(samples)
        assert f"{samples.chains} chains of {samples.n} steps, the first {samples.warmup} for warm-up" in text
    first, *stages = repr(run.stages).splitlines()
    assert first.endswith("samples on lattice [4, 4]") and len(stages) == 3
    assert stages[2].startswith("2 Rescale") and "xi" in stages[2]
    assert repr(run.card).splitlines()[0] == "schema: 1" and "m_sq: 0.3" in repr(run.card)
    assert str(measured_run.root) in repr(run.plot)
