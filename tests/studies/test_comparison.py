"""One small comparison from end to end: finished once, and continued from wherever it was killed."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from tests.oracles import ChainOracle
from tests.runs.small_run import Signaling
from tests.runs.support import contents
from tests.studies.test_compare_card import CARD, changed
from trivmap.cli.main import cli
from trivmap.diagnostics.autocorrelation import autocorrelation_time
from trivmap.errors import InputError
from trivmap.observables.history import chain_series
from trivmap.reports.comparison import write_comparison
from trivmap.runs.progress import Interrupted
from trivmap.store.samples import SampleReader
from trivmap.store.weights import model_digest
from trivmap.studies.compare_card import CompareCard
from trivmap.studies.comparison import ComparisonDirectory, compare
from trivmap.studies.comparison_result import COMPARED

pytestmark = pytest.mark.slow


def reported(run):
    run.report_path.write_text("")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Interrupted at its second update, then continued."""
    folder = tmp_path_factory.mktemp("studies") / "finished"
    directory = ComparisonDirectory.create(folder, CompareCard.from_data(CARD))
    with pytest.raises(Interrupted, match=r"continue with trivmap compare --resume .*finished$"):
        compare(directory, Signaling(at=2), report=reported)
    assert not directory.result_path.exists()
    compare(directory, report=reported)
    write_comparison(directory)
    return directory


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished.root, tmp_path / "copy")
    return ComparisonDirectory.open(tmp_path / "copy")


class TestResult:
    def test_is_complete(self, finished):
        result = finished.result()
        assert list(result["samplers"]) == ["flow", "cluster", "through"]
        assert result["lattice"] == [4] and result["action"] == CARD["action"]
        for entry in result["samplers"].values():
            assert set(entry["observables"]) == set(COMPARED)
            assert entry["seconds_per_step"]["value"] > 0 and len(entry["rounds"]) == 3
            for found in entry["observables"].values():
                rate = 1 / (2 * found["tau_int"]["value"] * entry["seconds_per_step"]["value"])
                assert found["independent_per_second"]["value"] == pytest.approx(rate)
                assert found["seconds_of_one"]["value"] == pytest.approx(1 / rate)
                assert found["tau_int"]["error"] > 0

    def test_values_are_those_of_the_transfer_matrix(self, finished):
        # c1 = -beta, c2 = 1 - 2 lam, c4 = lam
        exact = 4 * ChainOracle(4, -0.5, 0.0, 0.5).magnetization_squared
        for name, entry in finished.result()["samplers"].items():
            found = entry["observables"]["susceptibility"]
            assert abs(found["value"] - exact) < 4 * found["error"], name
            assert found["error"] < 0.1 * exact

    def test_training_is_paid_once_and_counts_for_both(self, finished):
        flow, through = (finished.result()["samplers"][name] for name in ("flow", "through"))
        assert flow["training"] == through["training"] and flow["training"]["configurations"] > 0
        assert model_digest(finished.root / "flow" / "model") == model_digest(finished.root / "through" / "model")
        assert not (finished.root / "through" / "checkpoints").exists()
        for entry in (flow, through):
            before = entry["training"]["seconds"] + entry["warmup"]["seconds"]
            assert entry["seconds_before_first_sample"] == pytest.approx(before)

    def test_break_even_of_every_trained_sampler_against_every_other(self, finished):
        result = finished.result()
        pairs = {(entry["sampler"], entry["against"]) for entry in result["break_even"]}
        assert pairs == {("flow", "cluster"), ("through", "cluster")}
        assert {entry["verdict"] for entry in result["break_even"]} <= {"at", "never", "undecided", "from the start"}

    def test_weights_say_more_of_the_flow_only(self, finished):
        entries = finished.result()["samplers"]
        assert entries["flow"]["ess"]["value"] > 0 and entries["flow"]["log_z"]["error"] > 0
        assert entries["cluster"]["ess"] is None and entries["cluster"]["log_z"] is None
        rate = entries["flow"]["ess"]["value"] / entries["flow"]["seconds_per_step"]["value"]
        assert entries["flow"]["effective_samples_per_second"] == pytest.approx(rate)

    def test_pulls_are_those_of_the_values(self, finished):
        result = finished.result()
        assert len(result["consistency"]) == 12
        pull = result["consistency"][0]
        values = [result["samplers"][pull[side]]["observables"][pull["observable"]] for side in ("first", "second")]
        difference = values[0]["value"] - values[1]["value"]
        assert pull["pull"] == pytest.approx(difference / np.hypot(values[0]["error"], values[1]["error"]))

    def test_series_of_the_flow_is_that_of_the_chain(self, finished):
        with SampleReader(finished.root / "flow") as reader:
            series = chain_series(reader, "magnetization")
            accepted = reader.read("accepted", 1, reader.warmup, reader.n)
        assert np.all(np.diff(series[1])[~accepted[1:]] == 0)
        assert np.all(np.diff(series[1])[accepted[1:]] != 0)
        found = finished.result()["samplers"]["flow"]["observables"]["abs_magnetization"]["tau_int"]
        assert found == pytest.approx(autocorrelation_time(np.abs(series))._asdict())


class TestFiles:
    def test_table_has_a_line_for_each(self, finished):
        lines = list(csv.DictReader(finished.table_path.read_text().splitlines()))
        assert len(lines) == 3 * len(COMPARED)
        result = finished.result()["samplers"]
        for line in lines:
            found = result[line["sampler"]]["observables"][line["observable"]]
            assert float(line["tau_int"]) == found["tau_int"]["value"]
            assert float(line["independent_per_second"]) == found["independent_per_second"]["value"]

    def test_page_holds_its_pictures(self, finished):
        text = finished.page_path.read_text()
        assert text.count("data:image/png;base64,") == 2 and "http" not in text.split("<body>")[1]
        assert all(f">{name}<" in text for name in CARD["samplers"])
        assert {path.name for path in finished.figures_path.iterdir()} == {
            "rates.png",
            "rates.csv",
            "break_even.png",
            "break_even.csv",
            "written.json",
        }


class TestGoingOn:
    def test_what_is_finished_is_kept(self, copy):
        before = contents(copy.root)
        compare(copy, report=lambda run: pytest.fail("reported again"))
        after = contents(copy.root)
        assert {name: text for name, text in after.items() if before.get(name) != text} == {}

    def test_rates_are_measured_again_when_asked(self, copy):
        before = json.loads(copy.rates_path.read_text())
        compare(copy, report=reported, again=True)
        after = json.loads(copy.rates_path.read_text())
        assert before["samplers"] != after["samplers"] and before["proposals"] == after["proposals"]

    def test_another_theory_is_refused(self, copy):
        copy.card_path.write_text(CompareCard.from_data(changed(action__beta=0.4)).to_yaml())
        with pytest.raises(InputError, match=r"flow/config.yaml: action differs from comparison.yaml"):
            compare(copy)

    def test_untrusted_results_have_no_numbers(self, copy):
        run = copy.run("cluster")
        run.update_summary(untrusted={"chains": "the chains disagree"}, observables={})
        run.update_summary(untrusted={"chains": "the chains disagree", "magnetization": "the chains disagree"})
        result = compare(copy, report=reported)
        assert all(
            found == {"untrusted": "the chains disagree"}
            for found in result["samplers"]["cluster"]["observables"].values()
        )
        assert {entry["verdict"] for entry in result["break_even"]} == {"not trusted"}
        write_comparison(copy)
        printed = CliRunner().invoke(cli, ["compare", "--resume", str(copy.root)])
        assert printed.exit_code == 0, printed.output
        assert "not trusted: cluster, susceptibility" in printed.output

    def test_the_command_goes_on_and_prints_json(self, copy):
        done = CliRunner().invoke(cli, ["compare", "--resume", str(copy.root), "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["samplers"] == copy.result()["samplers"]


class TestCreation:
    def test_nothing_is_left_of_a_card_that_does_not_build(self, tmp_path):
        data = changed(action={"kind": "free", "m_sq": 0.5}, samplers__cluster__sampling__kind="cluster")
        data["action"] = {"kind": "phi4", "notation": "bosetti2015", "beta": -0.5, "lam": 0.5}
        with pytest.raises(InputError, match=r"samplers.cluster: .*ferromagnetic"):
            ComparisonDirectory.create(tmp_path / "out", CompareCard.from_data(data))
        assert list(tmp_path.iterdir()) == []

    def test_what_exists_is_not_overwritten(self, tmp_path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(InputError, match="exists already; give another --out"):
            ComparisonDirectory.create(tmp_path / "out", CompareCard.from_data(CARD))
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_run_is_no_comparison(self, tmp_path):
        with pytest.raises(InputError, match=r"is not a comparison, it has no comparison.yaml"):
            ComparisonDirectory.open(tmp_path)
