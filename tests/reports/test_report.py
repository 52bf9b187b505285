import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from tests.reports import synthetic
from trivmap.errors import InputError
from trivmap.reports import write_report
from trivmap.reports.checks import tiles
from trivmap.reports.collect import add_history, collect
from trivmap.reports.data import RunData, training_log
from trivmap.reports.formats import count, parenthesis
from trivmap.store.directory import RunDirectory

FIGURES = {
    "consistency", "training", "log_weights", "magnetization", "magnetization_history", "autocorrelation",
    "rejection_runs", "correlator", "effective_mass", "stages", "configurations",
}  # fmt: skip


class Page(HTMLParser):
    """The parts of a page that the tests look at."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.links, self.tables, self.open, self.text = [], [], [], ""
        self.feed(self.source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        if "style" not in self.open:
            self.text += data

    @property
    def pictures(self):
        return [link for link in self.links if link.startswith("data:image/png;base64,")]

    def rows(self, first_header):
        table = next(table for table in self.tables if table[0][0] == first_header)
        return {row[0].strip(): dict(zip(table[0], row, strict=True)) for row in table[1:]}


@pytest.fixture(scope="module")
def page(measured_run):
    return Page(write_report(str(measured_run.root)))


def test_page_needs_nothing_but_itself(page):
    assert page.pictures
    assert all(link.startswith("#") for link in page.links if link not in page.pictures)
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert "<script" not in page.source


def test_pictures_are_those_of_the_figures_folder(measured_run, page):
    kept = {path.stem: path.read_bytes() for path in measured_run.figures_path.glob("*.png")}
    assert kept.keys() == FIGURES
    inlined = [base64.b64decode(link.partition(",")[2]) for link in page.pictures]
    assert sorted(inlined) == sorted(kept.values())
    for picture in inlined:
        assert min(imread(io.BytesIO(picture)).shape[:2]) > 200


def test_numbers_are_those_of_the_summary(measured_run, page):
    summary = measured_run.summary()
    rows = page.rows("observable")
    assert rows.keys() == summary["observables"].keys() | {"log_z"}
    for name, entry in summary["observables"].items():
        assert rows[name]["value"] == parenthesis(entry["value"], entry["error"])
        assert rows[name]["τ_int"] == parenthesis(entry["tau_int"], entry["tau_int_error"])
    assert rows["log_z"]["value"] == parenthesis(summary["log_z"]["value"], summary["log_z"]["error"])
    assert rows["susceptibility"]["reference"] == parenthesis(1 / synthetic.MASS_SQUARED)
    entry = summary["observables"]["susceptibility"]
    pull = (entry["value"] - 1 / synthetic.MASS_SQUARED) / entry["error"]
    assert float(rows["susceptibility"]["pull [σ]"]) == pytest.approx(pull, abs=0.051)
    assert (
        parenthesis(summary["sampling"]["acceptance"]["value"], summary["sampling"]["acceptance"]["error"]) in page.text
    )


def test_costs_and_card_are_told(measured_run, page):
    facts = dict(next(table for table in page.tables if table[0][0] == "Directory"))
    assert facts["Configurations used in training"] == count(64 * synthetic.STEPS)
    assert facts["Training, wall time"] == "2 min 03 s"
    assert facts["of which compilation"] == "2.5 s"
    milestones = page.rows("acceptance")
    assert milestones["> 0.7"]["configurations"] == count(12800)
    assert milestones["> 0.9"]["steps"] == "not reached"
    assert "m_sq: 0.3" in page.text
    assert "free: m_sq = 0.3 · lattice 4 × 4" in page.text


def test_untrusted_numbers_are_named_and_never_printed(tmp_path, measured_run, chains):
    run = synthetic.trained_run(tmp_path / "run", (4, 4))
    synthetic.add_measurements(run, chains, (4, 4))
    summary = run.summary()
    shown = summary["observables"]["binder"]
    summary["observables"]["phi4"] = {"value": float("nan"), "error": float("nan"), "tau_int": None}
    run.update_summary(
        observables=summary["observables"], untrusted={"binder": "a chain stood still", "log_z": "too few"}
    )
    page = Page(write_report(run.root))
    rows = page.rows("observable")
    assert rows["binder"]["value"] == "not trusted: a chain stood still"
    assert rows["phi4"]["value"] == "not trusted: the value is not finite"
    assert rows["binder"]["reweighted"] == ""
    assert rows["binder"]["pull [σ]"] == ""
    assert "binder: a chain stood still" in page.text
    assert "log_z: too few" in page.text
    for hidden in (shown, summary["log_z"]):
        assert parenthesis(hidden["value"], hidden["error"]) not in page.text
    assert parenthesis(summary["observables"]["phi2"]["value"], summary["observables"]["phi2"]["error"]) in page.text


def test_contents_lead_to_the_sections(page):
    targets = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert targets[:3] == ["results", "training", "sampling"]
    assert all(f'<section id="{target}">' in page.source for target in targets)


def test_alternative_texts_say_what_is_seen(measured_run, page):
    alternatives = re.findall(r'<img [^>]*alt="([^"]*)"', page.source)
    assert len(alternatives) == len(FIGURES) == len(set(alternatives))
    assert all(re.search(r"\d", text) for text in alternatives), "each has a number of the run"
    first = measured_run.summary()["observables"]
    assert first


def test_figures_have_their_numbers_and_formats_beside_them(tmp_path, chains):
    run = synthetic.trained_run(tmp_path / "run", (4, 4))
    synthetic.add_samples(run, chains)
    synthetic.add_measurements(run, chains, (4, 4))
    (run.figures_path).mkdir(exist_ok=True)
    (run.figures_path / "mine.pdf").write_bytes(b"mine")
    write_report(run.root, formats=["pdf"])
    suffixes = {(path.stem, path.suffix) for path in run.figures_path.iterdir()}
    drawn = {(name, suffix) for name in FIGURES for suffix in (".png", ".csv", ".pdf")}
    assert suffixes == {*drawn, ("mine", ".pdf"), ("written", ".json")}
    results = synthetic.analyze(chains)
    table = np.genfromtxt(run.figures_path / "correlator.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["chain"], results.chain.value("correlator"), rtol=1e-12)
    np.testing.assert_allclose(table["reweighted_error"], results.reweighted.error("correlator"), rtol=1e-6)
    # Another report writes what is there again, and removes the pictures of what the run has no longer.
    before = (run.figures_path / "training.pdf").read_bytes()
    run.stages_path.unlink()
    write_report(run.root)
    assert (run.figures_path / "training.pdf").read_bytes() == before
    assert not list(run.figures_path.glob("stages.*"))
    assert (run.figures_path / "mine.pdf").read_bytes() == b"mine"
    with pytest.raises(InputError, match="'eps' is not a format of figures"):
        write_report(run.root, formats=["eps"])
    (run.figures_path / "training.svg").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"training\.svg: was not written by trivmap"):
        write_report(run.root, formats=["svg"])


def test_run_that_was_only_trained(tmp_path):
    run = synthetic.trained_run(tmp_path / "run", (4, 4))
    page = Page(write_report(run.root))
    assert {path.stem for path in run.figures_path.glob("*.png")} == {"training", "configurations"}
    assert "nothing has been sampled yet" in page.text
    assert "nothing has been measured yet" in page.text
    assert "> 0.5" in page.text
    assert not any(table[0][0] == "observable" for table in page.tables)


def test_run_that_has_only_begun(tmp_path):
    run = RunDirectory.create(tmp_path / "run", synthetic.card((4,)), {})
    page = Page(write_report(run.root))
    assert not page.pictures
    assert "this run has no training" in page.text


def test_damaged_parts_are_named_and_the_rest_is_reported(tmp_path, chains):
    run = synthetic.trained_run(tmp_path / "run", (4, 4))
    synthetic.add_samples(run, chains)
    part = sorted((run.root / "samples").glob("*.h5"))[1]
    part.write_bytes(part.read_bytes()[:1000])
    run.stages_path.write_text("{")
    page = Page(write_report(run.root))
    assert f"{part}: is truncated or damaged" in page.text
    assert f"{run.stages_path}: is damaged" in page.text
    assert "training" in {path.stem for path in run.figures_path.glob("*.png")}


def test_no_run_directory(tmp_path):
    with pytest.raises(InputError, match="no such run directory"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize("lattice", [(4,), (4, 4, 4)])
def test_other_dimensions(tmp_path, lattice):
    run = synthetic.trained_run(tmp_path / "run", lattice)
    chains = synthetic.history(lattice, proposals=4000)
    synthetic.add_samples(run, chains)
    synthetic.add_measurements(run, chains, lattice)
    page = Page(write_report(run.root))
    assert {path.stem for path in run.figures_path.glob("*.png")} == FIGURES
    assert " × ".join(["4"] * len(lattice)) in page.text
    assert ("slice" in page.text) == (len(lattice) > 2)


def test_a_sampler_without_weights_has_its_chain_drawn(measured_run):
    random = np.random.default_rng(5)
    data = RunData(measured_run.root)
    add_history(data, synthetic.ArrayHistory({"magnetization": random.normal(size=(2, 500))}))
    assert data.log_weights is None
    assert data.chain.reweighted is None
    assert data.chain.histories.shape == (2, 500)


def test_collected_curves_are_the_analyzed_ones(measured_run, chains):
    results = synthetic.analyze(chains)
    data = collect(measured_run)
    np.testing.assert_allclose(data.curves.correlator[0], results.chain.value("correlator"), rtol=1e-12)
    np.testing.assert_allclose(data.curves.two_point[1], results.chain.error("two_point"), rtol=1e-6)
    assert data.reweighted["phi2"].value == pytest.approx(float(results.reweighted.value("phi2")), rel=1e-12)
    assert data.differences["phi2"].error == pytest.approx(float(results.difference.error("phi2")), rel=1e-6)
    mass, stages = 1 / float(results.chain.value("correlation_length_arccosh")), data.stages
    assert data.curves.plateau["value"] == pytest.approx(mass)
    relative = float(results.chain.error("correlation_length_arccosh")) * mass
    assert data.curves.plateau["error"] == pytest.approx(relative * mass, rel=1e-6)
    assert [stage.name for stage in stages] == ["base", "1 FourierDiagonal", "2 Rescale"]
    content = json.loads(measured_run.stages_path.read_text())
    np.testing.assert_array_equal(stages[1].two_point, content["stages"][1]["two_point"])
    base, output = data.configurations
    np.testing.assert_allclose(
        np.fft.fft2(output), np.fft.fft2(base) / np.sqrt(synthetic.Lattice((4, 4)).momentum_squared + 0.3), rtol=1e-9
    )
    # They are among those that the stages were measured on, whose largest modulus lies just below the histogram's end.
    for stage, fields in ((stages[0], base), (stages[-1], output)):
        assert fields.shape == (4, 4, 4) and np.max(np.abs(fields)) < stage.field.edges[-1] / 1.04


def test_ess_of_a_few_samples_is_no_result(tmp_path):
    sampling = {"ess": 0.004, "ess_error": 0.002, "proposals": 1000}
    data = RunData(tmp_path, summary={"sampling": sampling})
    assert data.judged["sampling"]["ess"] == {"value": 0.004, "error": 0.002}
    assert {tile.name: tile.value for tile in tiles(data.judged, [])} == {"ESS per proposal": "0.0040(20)"}
    data.untrusted = {"log_z": "few effective samples"}
    assert {tile.name: tile.value for tile in tiles(data.judged, [])} == {"ESS per proposal": "not trusted"}


def test_milestones_come_from_the_evaluations_while_there_is_no_summary():
    found = training_log(synthetic.metrics(), {})
    # acceptance 1 - exp(-step / 100) - 0.005 at 100, 200, 300, 400.
    assert found.milestones == {"0.5": 100, "0.7": 200, "0.9": 300}
    assert found.log["step"].tolist() == list(range(10, 401, 10))
    np.testing.assert_array_equal(found.evaluations["acceptance_error"], 0.005)
    assert np.isnan(training_log([{"step": 1}], {}).log["loss"]).all()


def test_evaluations_on_lines_of_their_own_tear_no_holes():
    evaluation = {"acceptance": {"value": 0.6, "error": 0.01}}
    lines = [{"step": 10, "loss": 1.0}, {"step": 10, "evaluation": evaluation}, {"step": 20, "loss": 0.5}]
    found = training_log(lines, {})
    np.testing.assert_array_equal(found.log["loss"], [1.0, 0.5])
    np.testing.assert_array_equal(found.evaluations["step"], [10])
    np.testing.assert_array_equal(found.evaluations["acceptance"], [0.6])
