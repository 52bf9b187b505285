"""What is lost or altered in a finished run: what is written again, and what no command passes over."""

import getpass
import json
import os
import shutil
import sys

import h5py
import pytest

import trivmap
from tests.runs.small_run import copied, created
from tests.runs.support import contents
from trivmap.cli.results import describe, print_results
from trivmap.errors import InputError
from trivmap.reports.collect import collect
from trivmap.runs import pipeline, sampling
from trivmap.runs.progress import NoProgress
from trivmap.runs.train import train
from trivmap.store.directory import RunDirectory
from trivmap.trust import trusting

pytestmark = pytest.mark.usefixtures("optax_mixes_dtypes")

CLOCKS = {"wall_seconds", "sha256", "compile_seconds", "evaluation_seconds"}


@pytest.fixture(scope="module")
def measured(sampled, tmp_path_factory):
    run = copied(sampled, tmp_path_factory.mktemp("runs") / "measured")
    pipeline.measure(run)
    return run


@pytest.fixture
def run(measured, tmp_path):
    return copied(measured, tmp_path / "run")


def timeless(summary):
    """Without what a clock says."""
    return {
        key: timeless(value) if isinstance(value, dict) else value
        for key, value in summary.items()
        if key not in CLOCKS
    }


def resume(run):
    train(run)
    sampling.sample(run)
    return pipeline.measure(run)


class TestWrittenAgain:
    @pytest.mark.parametrize("lost", ["header.json", "weights", "model"])
    def test_the_model(self, run, measured, lost):
        if lost == "model":
            shutil.rmtree(run.model_path)
        elif lost == "weights":
            (weights,) = run.model_path.glob("*.eqx")
            weights.write_bytes(weights.read_bytes()[:-1])
            with pytest.raises(InputError, match=f"or run trivmap run --resume {run.root}, which writes it again"):
                sampling.sample(run)
        else:
            (run.model_path / lost).unlink()
        train(run)
        assert contents(run.model_path) == contents(measured.model_path)
        assert run.summary() == measured.summary()

    def test_the_summary(self, run, measured):
        run.summary_path.unlink()
        for read in (run.summary, lambda: describe(run), lambda: pipeline.measure(run), lambda: sampling.sample(run)):
            with pytest.raises(InputError) as caught:
                read()
            assert str(caught.value) == (
                f"{run.summary_path}: is missing; run trivmap run --resume {run.root}, which writes it again"
            )
        assert timeless(resume(run)) == timeless(measured.summary())
        ours, theirs = (each.summary()["training"]["wall_seconds"] for each in (run, measured))
        assert ours == pytest.approx(theirs, rel=0.5)

    def test_a_map_that_is_not_trained(self, tmp_path):
        run = created(tmp_path / "run", training=None)
        before = contents(run.model_path)
        shutil.rmtree(run.model_path)
        run.summary_path.unlink()
        assert sampling.sample(run)["lattice"] == [4]
        assert contents(run.model_path) == before

    def test_samples(self, run, measured):
        run.samples_path.unlink()
        shutil.rmtree(run.root / "samples")
        assert timeless(resume(run)) == timeless(measured.summary())


class TestNothingAltered:
    """A changed number is refused by all that would quote it."""

    def test_of_the_summary(self, run):
        content = json.loads(run.summary_path.read_text())
        content["observables"]["phi2"]["value"] += 1
        run.summary_path.write_text(json.dumps(content))
        for read in (lambda: describe(run), lambda: collect(run), lambda: trivmap.load(run.root).summary):
            with pytest.raises(InputError, match=r"summary\.json: was altered, its checksum does not fit; restore it"):
                read()
        trusted = trivmap.load(run.root, trust=True).summary
        assert trusted["observables"]["phi2"]["value"] == content["observables"]["phi2"]["value"]

    @pytest.mark.parametrize(("name", "read"), [("observables", "results"), ("stages", "stages")])
    def test_of_what_was_measured(self, run, name, read):
        path = run.root / f"{name}.json"
        text = path.read_text()
        place = text.rindex("0.") + 2
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        with pytest.raises(InputError) as caught:
            getattr(trivmap.load(run.root), read)
        assert str(caught.value) == (
            f"{path}: was altered, its checksum does not fit; run trivmap measure {run.root}, or trust it as it is "
            "with --trust"
        )
        assert getattr(trivmap.load(run.root, trust=True), read)
        assert str(path) in collect(run).missing[name]

    def test_of_the_state(self, run):
        """What a chain continues from."""
        last = run.root / "samples" / "part-00002.h5"
        with h5py.File(last, "a") as file:
            file["state/log_weight"][0] += 4
        with pytest.raises(
            InputError, match=r"part-00002\.h5: was altered, its checksum does not fit; move it and the"
        ):
            sampling.sample(run, card=run.card().with_overrides(["sampling.proposals=3000"]))

    def test_of_the_log(self, run, capsys):
        run.metrics_path.write_bytes(run.metrics_path.read_bytes()[:100])
        print_results(run, as_json=False)
        assert "metrics.jsonl: has lost lines since the training ended" in " ".join(capsys.readouterr().out.split())
        with pytest.raises(InputError, match="has lost lines"):
            trivmap.load(run.root).metrics  # noqa: B018
        assert "has lost lines" in collect(run).missing["training"]


def _edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


SUMMARIES = [
    lambda y: y["training"].update(steps="x"),
    lambda y: y["training"].update(metrics={"bytes": "x", "sha256": 1}),
    lambda y: y["training"].update(metrics=[1]),
    lambda y: y["training"].update(evaluation=[1]),
    lambda y: y["sampling"].update(acceptance=3),
    lambda y: y["observables"].update(phi2=3),
    lambda y: y["observables"].update(phi2={"value": "x", "error": 1}),
    lambda y: y.update(action="x"),
    lambda y: y.update(lattice="ab"),
    lambda y: y.update(untrusted={"phi2": 3}),
    lambda y: y.update(untrusted={"phi2": "\ud800"}),
]


@pytest.mark.parametrize("change", SUMMARIES)
def test_a_summary_of_another_shape(run, change):
    _edited(run.summary_path, change)
    with trusting(), pytest.raises(InputError, match=r"summary\.json: is damaged; restore it from a backup, or delete"):
        run.summary()


def test_a_summary_that_says_less(run, capsys):
    _edited(run.summary_path, lambda y: (y["training"].pop("steps"), y["sampling"].pop("wall_seconds")))
    with trusting():
        print_results(run, as_json=False)
    said = capsys.readouterr().out
    assert "phi2" in said
    assert "sampling:" not in said


@pytest.mark.parametrize(
    "content",
    [
        {"devices": [{"a": 1}]},
        {"git": {"trivmap": {"commit": 5}}},
        {"versions": [1]},
        {"a": [[[[{}]]]] * 2, "devices": 3},
    ],
)
def test_a_record_of_the_machine_of_another_shape(run, content):
    run.environment_path.write_text(json.dumps(content))
    with trusting():
        assert "environment.json: is damaged" in collect(run).missing["environment"]


def test_a_log_of_another_shape(run):
    lines = [
        {"step": "x", "loss": 1},
        {"step": [1]},
        {"loss": 2},
        {"step": 1, "evaluation": [1]},
        {"step": 2, "loss": 0.5},
    ]
    run.metrics_path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with trusting():
        assert run.metrics() == [{"loss": 2}, {"step": 2, "loss": 0.5}]
        assert list(collect(run).training.log["loss"]) == [2, 0.5]


STAGES = [
    lambda y: y["stages"][0].update(two_point=[1]),
    lambda y: y["stages"][0].update(two_point="abc"),
    lambda y: y["stages"][0].update(correlation_length="x"),
    lambda y: y["stages"][0]["field"]["edges"].pop(),
    lambda y: y.update(lattice=[100000]),
    lambda y: y.update(stages={}),
]
RESULTS = [
    lambda y: y["obsdata"].__setitem__(0, {"type": "Foo", "layout": "x"}),
    lambda y: y["description"]["description"]["info"].update(configurations="x"),
    lambda y: y["description"].update(description=3),
    lambda y: y.update(obsdata=3),
]


@pytest.mark.parametrize(
    ("name", "change"), [("stages", each) for each in STAGES] + [("observables", each) for each in RESULTS]
)
def test_measurements_of_another_shape(run, name, change):
    path = run.root / f"{name}.json"
    _edited(path, change)
    with trusting():
        assert str(path) in collect(run).missing[name]


def test_results_that_say_nothing_of_their_chains(run):
    _edited(run.observables_path, lambda y: y["description"]["description"].update(info={}))
    with trusting():
        assert "observables" not in collect(run).missing


@pytest.mark.parametrize("spoil", [b"{", b"[]"])
def test_a_report_needs_no_record_of_the_machine(run, spoil):
    run.environment_path.write_bytes(spoil)
    assert collect(run).missing["environment"] == f"{run.environment_path}: is damaged; it only describes the machine"


class Meanwhile(NoProgress):
    """Does something to the run at the second update."""

    def __init__(self, work):
        self._work, self._updates = work, 0

    def update(self, done, **figures):
        self._updates += 1
        if self._updates == 2:
            self._work()


@pytest.mark.parametrize("how", ["moved", "replaced", "removed"])
@pytest.mark.parametrize("step", [train, sampling.sample])
def test_a_directory_that_goes_away(trained, sampled, tmp_path, how, step):
    run = created(tmp_path / "run") if step is train else copied(trained, tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    before = {}

    def work():
        run.root.rename(elsewhere)
        if how == "replaced":
            shutil.copytree(sampled.root, run.root)
        elif how == "removed":
            shutil.rmtree(elsewhere)
        before.update(contents(tmp_path))

    with pytest.raises(InputError) as caught:
        step(run, Meanwhile(work))
    assert str(caught.value) == (
        f"{run.root}: was moved, removed or replaced while this command worked in it; nothing more is written, so "
        "start the command again where the directory is now"
    )
    assert contents(tmp_path) == before
    assert run.root.exists() == (how == "replaced")
    if how == "moved":
        assert not list(elsewhere.rglob(".trivmap-*"))


def test_fewer_proposals_than_there_are(sampled, tmp_path):
    run = copied(sampled, tmp_path / "run")
    before = contents(run.root)
    with pytest.raises(InputError, match=r"sampling\.proposals: is 1200, but 2400 are stored"):
        sampling.sample(run, card=run.card().with_overrides(["sampling.proposals=1200"]))
    assert contents(run.root) == before | {".lock": contents(run.root)[".lock"]}


def test_what_is_sampled_is_not_measured_yet(sampled, run, capsys):
    print_results(sampled, as_json=False)
    assert f"not measured yet; run trivmap measure {sampled.root}" in " ".join(capsys.readouterr().out.split())
    print_results(run, as_json=False)
    assert "not measured yet" not in capsys.readouterr().out


def test_another_generator(sampled, tmp_path):
    run = copied(sampled, tmp_path / "run")
    more = run.card().with_overrides(["sampling.proposals=3000"])
    import jax

    with jax.threefry_partitionable(False), pytest.raises(InputError) as caught:
        sampling.sample(run, card=more)
    assert "was drawn with generator = threefry2x32, the run now has threefry2x32, not partitionable" in str(
        caught.value
    )


def test_a_user_without_a_name(sampled, tmp_path, monkeypatch):
    run = copied(sampled, tmp_path / "run")

    def nobody():
        raise KeyError("getpwuid(): uid not found: 4001")

    monkeypatch.setattr(getpass, "getuser", nobody)
    pipeline.measure(run)
    content = json.loads(run.observables_path.read_text())
    assert content["who"] == "" and os.uname().nodename not in run.observables_path.read_text()
    assert len(trivmap.load(run.root).results) > 10


@pytest.mark.skipif(os.geteuid() == 0 or sys.platform == "win32", reason="root may read everything")
@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "summary.json"])
def test_what_may_not_be_read(run, name):
    (run.root / name).chmod(0)
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(Permission denied\); check its permissions"):
        train(RunDirectory.open(run.root))
    (run.root / name).chmod(0o700)
