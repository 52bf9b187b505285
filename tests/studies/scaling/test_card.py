"""The grid that a study card stands for, and what it refuses."""

import pytest

from tests.studies.scaling.small_study import series, small
from trivmap.cards import yaml_text
from trivmap.cards.presets import preset_names
from trivmap.errors import InputError
from trivmap.studies.scaling.card import PRESETS, StudyCard, load_study_card


def test_every_point_of_the_grid_is_a_run_card_of_its_own():
    grid = {
        "training.batch": [32, 64],
        "rate": {"low": ["training.optimizer.learning_rate=1e-4"], "high": ["training.optimizer.learning_rate=1e-2"]},
    }
    card = StudyCard.from_data(small(seeds=[3, 5], series=series(grid=grid)))
    assert len(card.runs) == 2 * 2 * 2 * 2
    run = card.runs["fourier_64_high_L6_seed5"]
    assert (run.extent, run.seed, run.settings) == (6, 5, {"training.batch": "64", "rate": "high"})
    assert run.card.seed == 5 and run.card.lattice == [6] and run.card.threads == 1
    assert run.card.to_data()["action"] == {"kind": "free", "m_sq": 0.6}
    assert run.card.training.batch == 64
    assert run.card.training.optimizer.learning_rate.peak == 1e-2
    assert card.runs["fourier_32_low_L4_seed3"].card.training.optimizer.learning_rate.peak == 1e-4


def test_with_transfer_a_run_starts_from_the_next_smaller_lattice():
    card = StudyCard.from_data(small())
    assert [run.after for run in card.runs.values()] == [None, "fourier_L4_seed0"]
    assert card.runs["fourier_L6_seed0"].card.training.start == "fourier_L4_seed0"
    alone = StudyCard.from_data(small(series=series(transfer=False)))
    assert {run.after for run in alone.runs.values()} == {None}


def test_a_series_may_have_lattices_and_seeds_of_its_own():
    card = StudyCard.from_data(small(series=series(extents=[6], seeds=[1, 2, 4])))
    assert list(card.runs) == [f"fourier_L6_seed{seed}" for seed in (1, 2, 4)]


def test_some_lattices_may_have_other_seeds():
    card = StudyCard.from_data(small(seeds=[0, 1], series=series(seeds_at={6: [1]})))
    assert list(card.runs) == ["fourier_L4_seed0", "fourier_L4_seed1", "fourier_L6_seed1"]
    assert list(StudyCard.from_data(yaml_text.parse(card.to_yaml(), "again")).runs) == list(card.runs)


def test_some_lattices_may_have_other_settings_which_the_grid_can_still_vary(tmp_path):
    entry = {"set": ["training.steps=50"], "set_at": {6: ["training.steps=30", "training.batch=16"]}}
    varied = {"training.batch": [64, 128]}
    card = StudyCard.from_data(small(series=series(**entry, grid=varied)))
    found = {(run.extent, run.card.training.steps, run.card.training.batch) for run in card.runs.values()}
    assert found == {(4, 50, 64), (4, 50, 128), (6, 30, 64), (6, 30, 128)}
    (tmp_path / "study.yaml").write_text(card.to_yaml())
    again = load_study_card(tmp_path / "study.yaml", ["series.fourier.set_at.6=[training.steps=20]"])
    assert {(run.extent, run.card.training.steps) for run in again.runs.values()} == {(4, 50), (6, 20)}
    again = load_study_card(tmp_path / "study.yaml", ["series.fourier.set_at.6.0=training.steps=40"])
    assert {(run.extent, run.card.training.steps) for run in again.runs.values()} == {(4, 50), (6, 40)}


def test_a_preset_gives_model_and_training():
    entry = {"use": "del-debbio-2021-affine-L8", "set": ["training.steps=10", "training.evaluate.every=5"]}
    card = StudyCard.from_data(small(dimension=2, series={"affine": entry}))
    run = card.runs["affine_L6_seed0"].card
    assert run.training.steps == 10 and run.training.batch == 4000 and run.model.maps[0].kind == "affine"


def test_the_written_card_gives_the_same_runs(tmp_path):
    card = StudyCard.from_data(small(threads=None, series=series(grid={"training.batch": [32, 64]})))
    assert {run.card.threads for run in card.runs.values()} == {None}
    (tmp_path / "study.yaml").write_text(card.to_yaml())
    again = load_study_card(tmp_path / "study.yaml")
    assert {name: run.card for name, run in again.runs.items()} == {name: run.card for name, run in card.runs.items()}


def test_overrides_are_read_once_for_all_runs(monkeypatch):
    read = []
    parse = yaml_text.parse
    monkeypatch.setattr(yaml_text, "parse", lambda text, source: [read.append(source), parse(text, source)][1])
    changes = ["training.optimizer={kind: adam}", "training.optimizer.learning_rate=0.5"]
    runs = StudyCard.from_data(small(seeds=list(range(20)), series=series(set=changes))).runs
    assert len(runs) == 40 and sorted(read) == sorted(f"--set {change}" for change in changes)
    assert {run.card.training.optimizer.learning_rate.peak for run in runs.values()} == {0.5}


@pytest.mark.parametrize("name", preset_names(PRESETS))
def test_presets_are_whole(name):
    card = load_study_card(name)
    assert card.name == name and len(card.runs) > 5
    assert yaml_text.parse(card.to_yaml(), name)["series"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"series": {}}, "series: empty; name at least one architecture"),
        ({"series": {"no/name": {}}}, "cannot be part of a file's name"),
        ({"series": {"x": {"use": "affine"}}}, "series.x.use: affine: no preset of that name"),
        ({"extents": []}, "extents: empty; give at least one"),
        ({"extents": [4, 4]}, "extents: one value is given twice"),
        ({"extents": [4, 10]}, "couplings: nothing for L = 10, which series fourier runs at; add its line"),
        ({"seeds": []}, "seeds: empty; give at least one"),
        ({"targets": [1.5]}, "targets"),
        ({"series": series(grid={"training.batch": []})}, "series.fourier.grid.training.batch: empty"),
        ({"series": series(seeds=[])}, "series.fourier.seeds: empty; leave it out"),
        ({"series": series(extents=[6, 6])}, "series.fourier.extents: one value is given twice"),
        ({"series": series(seeds_at={6: []})}, "series.fourier.seeds_at.6: empty; leave it out"),
        ({"series": series(seeds_at={6: [0, 0]})}, "series.fourier.seeds_at.6: one value is given twice"),
        ({"series": series(seeds_at={8: [0]})}, "series.fourier.seeds_at.8: series fourier does not run at L = 8"),
        ({"series": series(set_at={8: []})}, "series.fourier.set_at.8: series fourier does not run at L = 8"),
        ({"series": series(set_at={6: ["training.stepz=3"]})}, "training.stepz"),
        ({"series": series(seeds_at={6: [0, 3]})}, "seeds_at: seed 3 at L = 6 has no run at L = 4 to start from"),
        ({"series": series(model={"base": {"kind": "gauss"}, "maps": []})}, "fourier_L4_seed0: model.base.kind"),
        ({"series": series(training=None)}, "has no section training; a study asks what training costs"),
        ({"series": series(grid={"training.bath": [3]})}, "training.bath: unknown key; did you mean batch?"),
        ({"action": "free"}, "action: "),
        ({"series": {"x": {"training": 5}}}, "series.x.training"),
        ({"series": series(grid={"training.batch": 3})}, "series.fourier.grid.training.batch: must be the list"),
        ({"series": series(set=["training.batch=8"] * 4000)}, "series.fourier: has 4000 overrides for a run; at most"),
        ({"series": series(set=["training.batch"])}, "series.fourier: --set training.batch: write key=value"),
        ({"serie": {}}, "serie: unknown key; did you mean series?"),
        ({"series": series(set_at={6: ["training=5"]})}, "fourier_L6_seed0: training: "),
        ({"series": series(set=["training.start=abc"])}, "training.start: transfer: true gives the start; leave one"),
        (
            {"action": {"kind": "free", "m_sq": "abc"}},
            "action.m_sq: couplings give it for L = 4; leave one of them out",
        ),
        ({"schema": 99}, "schema 99 is newer than this trivmap"),
        ({"series": series(grid={"a": {"x y": [], "x+y": [], "x-y": []}})}, "two runs would be called"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(changes, sentence):
    with pytest.raises(InputError) as error:
        StudyCard.from_data(small(**changes), "mine.yaml")
    assert sentence in str(error.value) and str(error.value).startswith("mine.yaml: ")


def test_cards_of_another_kind_are_sent_to_their_command():
    with pytest.raises(InputError, match="run it with trivmap run quickstart"):
        load_study_card("quickstart")
    for key, command in (("sampling", "run"), ("samplers", "compare")):
        with pytest.raises(InputError, match=f"run it with trivmap {command}"):
            StudyCard.from_data({key: {}})


def test_an_override_reaches_a_coupling(tmp_path):
    (tmp_path / "card.yaml").write_text(StudyCard.from_data(small()).to_yaml())
    card = load_study_card(tmp_path / "card.yaml", ["couplings.4.m_sq=0.9"])
    assert card.couplings == {4: {"m_sq": 0.9}, 6: {"m_sq": 0.6}}
