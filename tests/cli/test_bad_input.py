"""Every mistake gets one sentence on stderr, exit code 2, no traceback, and nothing on disk changes."""

import json
import os
import shutil

import h5py
import jax
import pytest
import yaml

from tests.cli.conftest import CARD
from tests.runs.support import contents, trivmap
from trivmap.store.directory import RunDirectory


def refused(*arguments, folder, changed=(), **options):
    """The sentence; the content of `folder` is as before, but for files below `changed`."""
    before = contents(folder)
    done = trivmap(*arguments, folder=folder, **options)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    after = contents(folder)
    lasting = {
        name for name in before.keys() | after.keys() if not name.endswith("/.lock") and not name.startswith(changed)
    }
    assert {name: after.get(name) for name in lasting} == {name: before.get(name) for name in lasting}
    said = [line for line in done.err.splitlines() if line.startswith("trivmap: ")]
    assert len(said) == 1
    assert done.err.splitlines()[-1] == said[0]
    return said[0].removeprefix("trivmap: ")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(CARD))
    return tmp_path


class TestCards:
    @pytest.mark.parametrize(
        ("override", "sentence"),
        [
            (
                "lattice=[5]",
                "lattice: a checkerboard needs every extent even, but [5] has 5; use even extents, or maps",
            ),
            ("lattice=[4, 1]", "lattice: needs at least one extent and every extent >= 2, got [4, 1]"),
            ("training.stepps=5", "training.stepps: unknown key; did you mean steps?"),
            ("trainign.steps=5", "trainign: unknown key; did you mean training?"),
            ("training.batch=-4", "training.batch: must be at least 1, got -4"),
            ("training.steps=0", "training.steps: must be at least 1, got 0"),
            (
                "training.optimizer.kind=adamm",
                "training.optimizer.kind: 'adamm' is unknown; did you mean adam",
            ),
            ("training.optimizer.b1=much", "optimizer: adam refused its keywords"),
            ("training.evaluate.proposals=256", "training.evaluate.proposals: must be at least 4096, got 256"),
            ("action.lam=-0.5", "action.lam: must be at least 0, got -0.5: exp(-S) would have no integral"),
            ("action.beta=nan", "action.beta: must be a finite number, got nan"),
            ("action.beta=.inf", "action.beta: must be a finite number, got inf"),
            ("action.kappa=0.1", "action.kappa: unknown key"),
            ("action.notation=nicoli2020", "action.kappa: missing; give the hopping parameter, for example 0.3"),
            ("sampling.proposals=4001", "sampling.proposals: must be divisible by the number of chains, got 4001"),
            ("model.maps.0.couplings=0", "model.maps.0.couplings: must be at least 1, got 0"),
            ("schema=99", "schema 99 is newer than this trivmap, which reads 1: upgrade trivmap"),
            ("device=abacus", "device: must be 'cpu', 'gpu' or 'tpu', got 'abacus'"),
            ("action.kind=no_such_module:Action", "action.kind: cannot import 'no_such_module'"),
            ("steps", "--set steps: write key=value, for example --set training.steps=500"),
        ],
    )
    def test_a_value_that_makes_no_sense(self, folder, override, sentence):
        said = refused("train", "card.yaml", "--out", "run", "--set", override, folder=folder)
        assert sentence in said
        assert [path.name for path in folder.iterdir()] == ["card.yaml"]

    def test_a_missing_coupling(self, folder):
        action = {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5}
        (folder / "card.yaml").write_text(yaml.safe_dump({**CARD, "action": action}))
        for command in (("validate", "card.yaml"), ("run", "card.yaml", "--out", "run")):
            said = refused(*command, folder=folder)
            assert (
                said
                == "card.yaml: action.lam: missing; give the coupling of (phi^2 - 1)^2, not negative, for example 0.5"
            )

    def test_files_and_names(self, folder):
        assert refused("run", "missing.yaml", folder=folder) == "missing.yaml: no such run card"
        assert "did you mean quickstart?" in refused("run", "quickstar", folder=folder)
        (folder / "torn.yaml").write_text("lattice: [4\n")
        assert refused("validate", "torn.yaml", folder=folder).startswith("torn.yaml, line 2, column 1: not valid YAML")

    def test_an_action_whose_integral_does_not_exist(self, folder):
        free = {"kind": "free", "m_sq": 0.0}
        (folder / "card.yaml").write_text(yaml.safe_dump({**CARD, "action": free}))
        assert "m_sq: must be at least 1e-08, got 0.0: a massless field has no integral" in refused(
            "run", "card.yaml", folder=folder
        )

    def test_a_mass_that_single_precision_loses(self, folder):
        free = {"kind": "free", "m_sq": 1e-6}
        (folder / "card.yaml").write_text(yaml.safe_dump({**CARD, "action": free, "dtype": "float32"}))
        said = refused("run", "card.yaml", folder=folder)
        assert said.startswith("dtype: float32 loses the smallest eigenvalue of this action, 1e-06, to rounding")

    def test_nothing_to_train(self, folder):
        data = {key: value for key, value in CARD.items() if key != "training"}
        (folder / "card.yaml").write_text(yaml.safe_dump(data))
        said = refused("train", "card.yaml", "--out", "run", folder=folder)
        assert said == "card.yaml: has no section training; trivmap run samples the flow as it is"

    @pytest.mark.skipif(any(d.platform != "cpu" for d in jax.devices()), reason="there is another device here")
    def test_a_device_that_is_not_there(self, folder):
        said = refused("train", "card.yaml", "--out", "run", "--set", "device=gpu", folder=folder)
        assert said.startswith("device: gpu is not available here (")
        assert said.endswith("); leave it out or use cpu")


class TestDirectories:
    @pytest.mark.parametrize("what", ["folder", "file", "link"])
    def test_an_output_that_exists(self, folder, what):
        taken = folder / "run"
        if what == "folder":
            taken.mkdir()
            (taken / "precious.txt").write_text("kept")
        elif what == "file":
            taken.write_text("kept")
        else:
            taken.symlink_to("nowhere")
        said = refused("run", "card.yaml", "--out", "run", folder=folder)
        assert said == "run: exists already; give another --out, or continue it with trivmap run --resume run"

    def test_neither_card_nor_run(self, folder):
        for arguments in (("run",), ("train", "card.yaml", "--resume", "run")):
            assert "give either a run card" in refused(*arguments, folder=folder)
        said = refused("train", "--resume", "run", "--set", "seed=1", folder=folder)
        assert said == "--resume continues a run as its config.yaml says; --out and --set are for a new one"

    @pytest.mark.parametrize("command", ["sample", "measure", "report", "show"])
    def test_no_run_there(self, folder, command):
        assert refused(command, "run", folder=folder) == "run: no such run directory; trivmap run makes one"
        (folder / "empty").mkdir()
        said = refused(command, "empty", folder=folder)
        assert said == "empty: is not a run directory, it has no config.yaml; trivmap run makes one"

    def test_two_at_once(self, copy):
        with RunDirectory.open(copy / "run").locked():
            for command in (("train", "--resume", "run"), ("sample", "run"), ("measure", "run")):
                assert "is working in this run; wait for it or stop it first" in refused(*command, folder=copy)

    def test_a_directory_that_may_not_be_written(self, folder):
        (folder / "locked").mkdir(mode=0o500)
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        said = refused("train", "card.yaml", "--out", "locked/run", folder=folder)
        assert said.startswith("locked/run: cannot be written")


class TestDamage:
    def test_a_truncated_checkpoint(self, copy):
        newest = sorted((copy / "run" / "checkpoints").iterdir())[-1]
        torn = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
        torn.write_bytes(torn.read_bytes()[:-7])
        said = refused("train", "--resume", "run", folder=copy)
        assert said.startswith(f"{torn.relative_to(copy)}: is truncated or damaged")
        assert said.endswith(f"move {newest.relative_to(copy)} away to resume from the intact step-00000030")

    @pytest.mark.parametrize("part", ["part-00000.h5", "part-00003.h5"])
    def test_a_truncated_part_of_the_samples(self, copy, part):
        torn = copy / "run" / "samples" / part
        torn.write_bytes(torn.read_bytes()[:-1000])
        for command in ("sample", "measure"):
            said = refused(command, "run", folder=copy)
            assert said.startswith(f"run/samples/{part}: is truncated or damaged; move it and the later parts away")

    def test_a_truncated_index_is_made_again(self, copy):
        index = copy / "run" / "samples.h5"
        whole = index.read_bytes()
        index.write_bytes(whole[: len(whole) // 2])
        said = refused("measure", "run", folder=copy)
        assert said.startswith("run/samples.h5: is truncated or damaged; run trivmap sample run")
        assert trivmap("sample", "run", folder=copy).code == 0
        assert trivmap("measure", "run", folder=copy).code == 0

    def test_truncated_weights(self, copy):
        (weights,) = (copy / "run" / "model").glob("weights-*.eqx")
        weights.write_bytes(weights.read_bytes()[:-1])
        said = refused("sample", "run", folder=copy)
        assert said.startswith(f"{weights.relative_to(copy)}: is truncated, ")

    def test_a_torn_summary(self, copy):
        (copy / "run" / "summary.json").write_text('{"schema": 1,')
        for command in ("show", "sample"):
            assert refused(command, "run", folder=copy).startswith("run/summary.json: is damaged; ")

    def test_a_newer_schema(self, copy):
        path = copy / "run" / "config.yaml"
        path.write_text(path.read_text().replace("schema: 1", "schema: 2"))
        for command in (("train", "--resume", "run"), ("sample", "run"), ("measure", "run"), ("show", "run")):
            said = refused(*command, folder=copy)
            assert said == "run/config.yaml: schema 2 is newer than this trivmap, which reads 1: upgrade trivmap"

    def test_newer_samples(self, copy):
        with h5py.File(copy / "run" / "samples" / "part-00001.h5", "a") as file:
            file.attrs["schema"] = 2
        said = refused("measure", "run", folder=copy)
        assert said.endswith("part-00001.h5: schema 2 is newer than this trivmap, which reads 1: upgrade trivmap")

    @pytest.mark.parametrize("change", [("lam: 0.5", "lam: 0.6"), ("couplings: 2", "couplings: 3")])
    def test_a_changed_model(self, copy, change):
        path = copy / "run" / "config.yaml"
        assert change[0] in path.read_text()
        path.write_text(path.read_text().replace(*change))
        said = refused("train", "--resume", "run", folder=copy)
        assert "step-00000040: belongs to another model than the run card describes (" in said
        for command in ("sample", "measure"):
            said = refused(command, "run", folder=copy)
            assert said.startswith("run/config.yaml: lattice, dtype, action or model differ from what run/model was")

    def test_other_chains_for_stored_samples(self, copy):
        said = refused("sample", "run", "--set", "sampling.chains=4", folder=copy)
        assert said.startswith("run/samples: was drawn with chains = 2, the run now has 4; move run/samples and")


class TestFullDisk:
    """Files that may not grow beyond a limit fail as on a full disk; with room made the run goes on unharmed."""

    def test_while_creating(self, folder):
        said = refused("train", "card.yaml", "--out", "run", folder=folder, file_limit=600)
        assert said.startswith("run/config.yaml: the file would exceed the size limit; nothing written before was lost")
        assert [path.name for path in folder.iterdir()] == ["card.yaml"]

    def test_while_training(self, folder, complete):
        said = refused("train", "card.yaml", "--out", "run", folder=folder, changed=("run/",), file_limit=4200)
        assert "the file would exceed the size limit; nothing written before was lost, make room and resume" in said
        run = folder / "run"
        assert 0 < len((run / "metrics.jsonl").read_bytes()) <= 4200
        assert all(json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
        assert trivmap("train", "--resume", "run", folder=folder).code == 0
        ours, theirs = (contents(path / "model") for path in (run, complete / "run"))
        assert ours == theirs

    def test_while_sampling_and_measuring(self, copy, complete):
        run = copy / "run"
        shutil.rmtree(run / "samples")
        for name in ("samples.h5", "observables.json", "stages.json"):
            (run / name).unlink()
        size = (complete / "run" / "samples" / "part-00000.h5").stat().st_size
        said = refused("sample", "run", folder=copy, file_limit=size - 1)
        assert said.startswith(
            "run/samples/part-00000.h5: the file would exceed the size limit; nothing written before"
        )
        assert trivmap("sample", "run", folder=copy).code == 0
        before = contents(run / "samples")
        assert before.keys() == contents(complete / "run" / "samples").keys()
        said = refused("measure", "run", folder=copy, file_limit=5000)
        assert said.startswith("run/observables.json: the file would exceed the size limit")
        assert contents(run / "samples") == before
