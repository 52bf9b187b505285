"""What is drawn is what was given, every axis has its symbol, and nothing of pyplot is touched."""

import io
import math
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from trivmap.errors import InputError
from trivmap.observables.stages import Histogram, StageSummary
from trivmap.reports.figures.autocorrelation import autocorrelation_figure, rejection_runs_figure
from trivmap.reports.figures.configurations import configurations_figure
from trivmap.reports.figures.consistency import consistency_figure
from trivmap.reports.figures.correlator import correlator_figure
from trivmap.reports.figures.effective_mass import effective_mass_figure
from trivmap.reports.figures.log_weights import log_weight_figure
from trivmap.reports.figures.magnetization import magnetization_figure, magnetization_history_figure
from trivmap.reports.figures.stages import stages_figure
from trivmap.reports.figures.style import Place, new_figure, picture, plain_labels
from trivmap.reports.figures.training import training_figure

RANDOM = np.random.default_rng(0)


def lines(axes):
    """The drawn lines by label: (x, y)."""
    return {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.get_lines()}


def bars(axes):
    """The error bars by label: x, y, lower and upper ends."""
    found = {}
    for container in axes.containers:
        points, _, (segments,) = container.lines
        ends = np.array(segments.get_segments())
        found[container.get_label()] = points.get_xdata(), points.get_ydata(), ends[:, 0, 1], ends[:, 1, 1]
    return found


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def step_values(axes, index=0):
    patches = [patch for patch in axes.patches if isinstance(patch, matplotlib.patches.StepPatch)]
    return patches[index].get_data()


def labels(figure):
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def training_log(steps=50):
    step = np.arange(1.0, steps + 1)
    log = {
        "step": step, "loss": -5 + np.exp(-step / 9), "loss_error": np.full(steps, 0.1), "ess": step / 100,
        "acceptance": step / 60, "learning_rate": 1e-3 / step, "temperature": np.linspace(2, 1, steps),
    }  # fmt: skip
    evaluated = np.array([10.0, 40.0])
    evaluations = {
        "step": evaluated, "acceptance": evaluated / 60, "acceptance_error": np.full(2, 0.01), "ess": evaluated / 100,
        "ess_error": np.full(2, 0.02),
    }  # fmt: skip
    return log, evaluations


def test_training_draws_the_log():
    log, evaluations = training_log()
    figure = training_figure(log, evaluations, {"0.5": 40})
    loss, quality, rate, temperature = figure.axes
    np.testing.assert_array_equal(lines(loss)["loss"], (log["step"], log["loss"]))
    band = loss.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx(((log["loss"] - 0.1).min(), (log["loss"] + 0.1).max()))
    np.testing.assert_array_equal(lines(quality)["ESS, training batch"][1], log["ess"])
    x, y, low, high = bars(quality)["acceptance, evaluation"]
    np.testing.assert_array_equal((x, y), (evaluations["step"], evaluations["acceptance"]))
    np.testing.assert_allclose(high - low, 0.02)
    np.testing.assert_array_equal(rate.get_lines()[0].get_ydata(), log["learning_rate"])
    np.testing.assert_array_equal(temperature.get_lines()[0].get_ydata(), log["temperature"])
    assert [axes.get_ylabel() for axes in figure.axes] == [
        r"$\langle \log q + S \rangle$", "ESS, acceptance", r"learning rate $\eta$", r"temperature $T$",
    ]  # fmt: skip
    assert temperature.get_xlabel() == "training step"
    assert quality.texts[0].get_text() == "> 0.5"
    assert [list(line.get_xdata()) for line in loss.get_lines()][-1] == [40, 40]


def test_a_temperature_of_one_is_not_drawn():
    log, evaluations = training_log()
    log["temperature"] = np.ones(50)
    assert "temperature" not in " ".join(axes.get_ylabel() for axes in training_figure(log, evaluations).axes)


def test_training_leaves_out_what_was_not_logged():
    log, _ = training_log()
    nothing = np.full(50, math.nan)
    figure = training_figure(
        {"step": log["step"], "loss": log["loss"], "learning_rate": nothing, "temperature": nothing, "ess": nothing}
    )
    assert [axes.get_ylabel() for axes in figure.axes] == [r"$\langle \log q + S \rangle$"]


def test_milestones_that_lie_together_share_a_label():
    log, evaluations = training_log()
    quality = training_figure(log, evaluations, {"0.5": 10, "0.7": 11, "0.9": 40}).axes[1]
    assert [text.get_text() for text in quality.texts] == ["> 0.5, 0.7", "> 0.9"]


def test_early_losses_do_not_squeeze_the_rest():
    log, _ = training_log(200)
    log["loss"][:3] = 1e6, 1e4, 1e2
    loss = training_figure(log).axes[0]
    assert loss.get_ylim()[1] < 0
    assert "above" in loss.get_title(loc="left")


def test_log_weights():
    edges, s = np.linspace(-2, 2, 41), 0.5
    center = (edges[1:] + edges[:-1]) / 2
    proposals = np.exp(-((center + 0.125) ** 2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))
    target = RANDOM.random(40)
    figure = log_weight_figure(
        edges, proposals, target, mean=-0.125, variance=s**2, ess=(0.7789, 0.0012), acceptance=(0.7236, None)
    )
    (axes,) = figure.axes
    for index, values in enumerate((proposals, target)):
        np.testing.assert_array_equal(step_values(axes, index).values, values)
        np.testing.assert_array_equal(step_values(axes, index).edges, edges)
    (gaussian,) = lines(axes).values()
    assert gaussian[1].max() == pytest.approx(1 / (s * math.sqrt(2 * math.pi)), rel=1e-3)
    assert gaussian[0][np.argmax(gaussian[1])] == pytest.approx(-0.125, abs=0.01)
    # exp(-1/4) and erfc(1/4).
    assert legend(axes)[2] == "normal with $s^2=0.25$ would give\nESS 0.779, acceptance 0.724"
    assert axes.get_legend().get_title().get_text() == "measured: ESS 0.7789(12), acceptance 0.724"
    assert labels(figure) == [(r"$\log w - \log Z$", "density")]


def test_no_normal_distribution_where_it_does_not_describe_the_weights():
    edges = np.linspace(-1, 3, 41)
    heavy = np.where(np.abs(edges[:-1]) < 0.2, 2.0, 0.02)
    figure = log_weight_figure(edges, heavy, heavy, mean=0.1, variance=0.5)
    assert not lines(figure.axes[0])
    assert len(legend(figure.axes[0])) == 2


def test_correlator_with_fit_and_reweighted_values():
    extent, mass = 8, 0.4
    t = np.arange(5)
    correlator = 0.9 * np.cosh(mass * (t - 4)) / np.cosh(mass * 4)
    error = 0.01 * correlator
    fit = {
        "amplitude": 0.9, "correlation_length": 1 / mass, "correlation_length_error": 0.02, "start": 1,
        "chi_squared": 0.5, "expected_chi_squared": 0.7,
    }  # fmt: skip
    figure = correlator_figure(correlator, error, extent=extent, fit=fit, reweighted=(1.01 * correlator, error))
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    x, y, low, high = bars(axes)["chain"]
    np.testing.assert_array_equal((x, y), (t, correlator))
    np.testing.assert_allclose((low, high), (correlator - error, correlator + error))
    np.testing.assert_allclose(bars(axes)["reweighted"][1], 1.01 * correlator)
    curve = next(line for line in axes.get_lines() if "cosh" in str(line.get_label()))
    grid = np.asarray(curve.get_xdata())
    assert (grid[0], grid[-1]) == (1, 4)
    np.testing.assert_allclose(curve.get_ydata()[[0, -1]], correlator[[1, 4]], rtol=1e-12)
    assert "2.500(20)" in curve.get_label()
    assert labels(figure) == [("$t$", "$C(t)$")]


def test_correlator_leaves_out_what_is_not_positive_or_unknown():
    figure = correlator_figure(np.array([1.0, 0.1, -0.01, math.nan]), np.full(4, 0.2), extent=6)
    x, _, low, _ = bars(figure.axes[0])["chain"]
    np.testing.assert_array_equal(x, [0, 1])
    assert (low > 0).all()


def test_effective_mass_with_its_plateau():
    mass, error = np.array([math.nan, 0.6, 0.52, 0.5, 0.9]), np.array([math.nan, 0.01, 0.01, 0.02, 3.0])
    figure = effective_mass_figure(
        np.arange(5), mass, error, plateau={"value": 0.51, "error": 0.015, "first": 2, "last": 4}, exact=0.505
    )
    (axes,) = figure.axes
    x, y, low, high = bars(axes)[r"$m_\mathrm{eff}(t)$"]
    np.testing.assert_array_equal((x, y), (np.arange(1, 5), mass[1:]))
    np.testing.assert_allclose(high - low, 2 * error[1:])
    np.testing.assert_array_equal(lines(axes)["plateau 0.510(15)"][1], [0.51, 0.51])
    np.testing.assert_array_equal(lines(axes)["exact 0.505"][1], [0.505, 0.505])
    # The point without precision does not set the frame.
    assert axes.get_ylim()[1] < 1
    assert labels(figure) == [("$t$", r"$m_\mathrm{eff}(t)$")]


def test_magnetization():
    edges, density = np.linspace(-1, 1, 21), RANDOM.random(20)
    figure = magnetization_figure(edges, density, 0.1 * density, (1.1 * density, 0.2 * density))
    (axes,) = figure.axes
    np.testing.assert_array_equal(step_values(axes).values, density)
    x, y, low, high = bars(axes)["reweighted"]
    np.testing.assert_allclose(x, edges[:-1] + 0.05)
    np.testing.assert_array_equal(y, 1.1 * density)
    np.testing.assert_allclose(high - low, 0.4 * density)
    assert legend(axes) == ["chain", "reweighted"]
    assert labels(figure) == [(r"$m = V^{-1}\sum_x \phi(x)$", "$P(m)$")]


def test_magnetization_history_has_a_panel_for_each_chain():
    step, histories = np.arange(100, 150), RANDOM.normal(size=(3, 50))
    figure = magnetization_history_figure(step, histories)
    assert len(figure.axes) == 3
    for axes, history in zip(figure.axes, histories, strict=True):
        np.testing.assert_array_equal(axes.get_lines()[-1].get_data(), (step, history))
        assert axes.get_ylabel() == "$m$"
    assert figure.axes[-1].get_xlabel() == "step of the chain"


def test_autocorrelation():
    rho, error = 0.7 ** np.arange(20), np.full(20, 0.03)
    figure = autocorrelation_figure(rho, error, tau_int=2.8333, rejections=0.6 ** np.arange(30))
    (axes,) = figure.axes
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn[r"$\rho_{|m|}(t)$, $\tau_\mathrm{int}=2.83$"], (np.arange(20), rho))
    np.testing.assert_array_equal(drawn["P(t rejections in a row)"][1], 0.6 ** np.arange(20))
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((rho[-1] - 0.03, 1.03))
    assert labels(figure) == [("$t$ [configurations]", r"$\rho(t)$")]


def test_rejection_runs_beside_a_constant_acceptance():
    counts = np.array([600, 250, 90, 0, 12])
    figure = rejection_runs_figure(counts, 0.6)
    (axes,) = figure.axes
    x, y, _, high = bars(axes)["chain"]
    np.testing.assert_array_equal(x, [0, 1, 2, 4])
    np.testing.assert_array_equal(y, counts[x])
    np.testing.assert_allclose(high, y + np.sqrt(y))
    np.testing.assert_allclose(lines(axes)["constant acceptance 0.6"][1], 952 * 0.6 * 0.4 ** np.arange(5))
    assert labels(figure) == [("rejections in a row $n$", "number of runs")]


DISTANCE = np.array([0.0, 1.0, 2.0, 2**0.5])


def histogram(reach):
    return Histogram(np.linspace(-reach, reach, 11).tolist(), RANDOM.random(10).tolist(), [0.0] * 10)


def stage(name, length):
    value, error = length or (None, None)
    return StageSummary(
        name=name, two_point=[1.0, 0.5, 0.2, 0.001], two_point_error=[0.002] * 4,
        momentum_two_point=[1.0, 0.5], momentum_two_point_error=[0.1, 0.1],
        correlation_length=value, correlation_length_error=error, untrusted=None,
        field=histogram(3), magnetization=histogram(1),
    )  # fmt: skip


def test_stages():
    stages = [stage("base", None), stage("1 affine", (1.5, 0.1)), stage("2 affine", (2.0, 0.2))]
    target = {"correlation_length": (1.9, 0.05), "two_point": np.array([1.0, 0.4, 0.2, 0.3])}
    figure = stages_figure(stages, DISTANCE, target=target)
    correlation, length, field, magnetization = figure.axes
    # Sorted by distance, and without the point that the error drowns.
    np.testing.assert_array_equal(correlation.containers[0].lines[0].get_data(), ([0, 1, 2], [1.0, 0.5, 0.2]))
    np.testing.assert_array_equal(lines(correlation)["chain"][1], [1.0, 0.4, 0.3, 0.2])
    assert [container.lines[0].get_ydata()[0] for container in length.containers] == [1.5, 2.0]
    assert length.get_lines()[0].get_marker() == "x"
    assert length.get_lines()[0].get_ydata() == [0] and length.get_ylim()[0] > 1
    (named,) = figure.legends
    assert [text.get_text() for text in named.get_texts()] == ["base", "1: affine", "2: affine"]
    # Nothing is cut by the frame: the highest point with its error lies inside.
    assert length.get_ylim()[1] > 2.2
    for index, each in enumerate(stages):
        np.testing.assert_array_equal(step_values(field, index).values, each.field.density)
        np.testing.assert_array_equal(step_values(magnetization, index).values, each.magnetization.density)
    assert labels(figure) == [
        ("$|x|$", r"$G(x)=\langle\phi(y)\,\phi(y+x)\rangle$"), ("after the stage", r"correlation length $\xi$"),
        (r"$\phi(x)$", r"$P($$\phi(x)$$)$"), ("$m$", "$P($$m$$)$"),
    ]  # fmt: skip


def test_many_stages_are_counted_by_a_bar_of_colors():
    figure = stages_figure([stage(f"{k} affine", (1.0 + k, 0.1)) for k in range(40)], DISTANCE)
    assert not figure.legends and len(figure.axes) == 5
    assert figure.axes[4].get_xlabel() == "stage; 0 is the base"
    assert all(float(tick).is_integer() for tick in figure.axes[4].get_xticks())


@pytest.mark.parametrize(
    ("low", "high"), [(0.4, 1.65), (0.3, 1.1), (0.11, 0.9), (0.05, 1.65), (2.0, 2.3), (0.95, 9.0), (3.0, 250.0)]
)
def test_a_logarithmic_axis_has_labels_at_both_ends(low, high):
    axes = new_figure().subplots()
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    plain_labels(axes)
    ticks = np.array([tick for tick in axes.get_yticks() if low <= tick <= high])
    places = np.log(ticks / low) / np.log(high / low)
    assert len(ticks) >= 3
    assert places.min() < 0.25 and places.max() > 0.75


def test_drawn_where_the_caller_says():
    figure = new_figure(8.0, 4.0)
    left, right = figure.subplots(1, 2)
    drawn = correlator_figure(np.array([1.0, 0.5, 0.3]), np.full(3, 0.01), extent=4, place=Place(right))
    assert drawn is figure
    assert not left.has_data() and "chain" in bars(right)
    parts = new_figure(8.0, 4.0).subfigures(1, 2)
    stages_figure([stage("base", None)], DISTANCE, place=Place(parts[1]))
    assert not parts[0].axes and len(parts[1].axes) == 4
    with pytest.raises(InputError, match="this plot has several panels; give figure="):
        stages_figure([stage("base", None)], DISTANCE, place=Place(left))


@pytest.mark.parametrize(("file_format", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_files_for_papers_are_the_same_each_time(file_format, begins):
    first, second = (picture(rejection_runs_figure(np.array([10, 4, 1]), 0.7), file_format) for _ in range(2))
    assert first.startswith(begins)
    assert first == second
    assert file_format != "svg" or b"number of runs" in first, "texts stay texts"


def test_names_are_no_formulas():
    name = r"$\frac{$"
    picture(stages_figure([stage(name, (1.5, 0.1))], DISTANCE))
    picture(consistency_figure([name], {"chain": [1.0]}))


@pytest.mark.parametrize("shape", [(4, 6), (4, 4, 2), (2, 2, 2, 2)])
def test_configurations_as_images(shape):
    base, output = RANDOM.normal(size=(3, *shape)), RANDOM.normal(size=(3, *shape))
    figure = configurations_figure(base, output)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 6
    for axes, field in zip(panels, [*base, *output], strict=True):
        plane = field[(..., *(0,) * (len(shape) - 2))]
        np.testing.assert_array_equal(axes.images[0].get_array(), plane.T)
        limit = max(np.abs(f[(..., *(0,) * (len(shape) - 2))]).max() for f in [*base, *output])
        assert axes.images[0].get_clim() == (-limit, limit)
    assert [panels[0].get_ylabel(), panels[3].get_ylabel()] == ["base, $x_2$", "output, $x_2$"]


def test_configurations_in_one_dimension_are_lines():
    base, output = RANDOM.normal(size=(4, 8)), RANDOM.normal(size=(4, 8))
    figure = configurations_figure(base, output)
    for index, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(lines(axes)["base"][1], base[index])
        np.testing.assert_array_equal(lines(axes)["output"][1], output[index])


def test_consistency():
    figure = consistency_figure(["binder", "phi2"], {"chain − reweighted": [5.5, None], "other": [0.5, -1.0]})
    (axes,) = figure.axes
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["chain − reweighted"][0], [5.5, math.nan])
    np.testing.assert_array_equal(drawn["other"][0], [0.5, -1.0])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["binder", "phi2"]
    assert axes.get_xlim()[1] > 5.5
    assert axes.get_xlabel() == "difference / its standard error"


def test_png_is_a_picture_and_the_settings_stay():
    before = dict(matplotlib.rcParams)
    drawn = picture(rejection_runs_figure(np.array([10, 4, 1]), 0.7))
    assert dict(matplotlib.rcParams) == before
    assert imread(io.BytesIO(drawn)).shape == (640, 960, 4)
    assert b"Software" not in drawn
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []
