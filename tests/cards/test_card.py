import copy
from pathlib import Path

import pytest

from tests.runs.support import CARD
from trivmap.cards import yaml_text
from trivmap.cards.card import RunCard, load_card
from trivmap.cards.optimizer import OPTIMIZERS
from trivmap.errors import InputError


def changed(**sections):
    """The card's data with whole sections replaced."""
    return {**copy.deepcopy(CARD), **sections}


def validation_error(data) -> str:
    with pytest.raises(InputError) as caught:
        RunCard.from_data(data, "my.yaml")
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_defaults_are_written_out_and_the_card_comes_back():
    card = RunCard.from_data(CARD)
    text = card.to_yaml()
    again = RunCard.from_data(yaml_text.parse(text, "text"))
    assert again == card
    assert again.to_yaml() == text
    data = yaml_text.parse(text, "text")
    assert data["seed"] == 0 and data["dtype"] == "float32" and data["device"] is None
    assert data["action"] == {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5}
    assert data["model"]["base"] == {"kind": "gaussian", "learnable": True}
    assert data["training"]["optimizer"]["b2"] == 0.999
    assert data["training"]["optimizer"]["learning_rate"] == {"schedule": "constant", "peak": 0.001, "warmup": 0}
    assert data["training"]["checkpoint"] == {"every": 100}
    assert data["sampling"]["warmup"] == 200
    assert data["measure"] == {"bins": None, "stages": {"proposals": 8192}, "observables": []}


def test_attributes():
    card = RunCard.from_data(CARD)
    assert card.schema_number == 1
    assert card.action.kind == "phi4" and (card.action.beta, card.action.lam) == (0.5, 0.5)
    assert card.model.maps[0].network.hidden == ["0.5V"]
    assert card.training.phases == [(200, 64)]
    assert card.training.optimizer.arguments["b1"] == 0.9


def test_batch_phases_and_annealing():
    training = CARD["training"] | {
        "batch": [{"steps": 150, "batch": 32}, {"steps": 50, "batch": 64}],
        "temperature": {"start": 2.0},
    }
    card = RunCard.from_data(changed(training=training))
    assert card.training.phases == [(150, 32), (50, 64)]
    assert card.training.temperature.steps == 100


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "+.1e-2", "1.e-3", "0.001", "'1e-3'", "1.0e-3"])
def test_every_spelling_of_a_small_number(text):
    training = yaml_text.parse(f"{{steps: 200, batch: 8, optimizer: {{kind: adam, learning_rate: {text}}}}}", "text")
    rate = RunCard.from_data(changed(training=training)).training.optimizer.learning_rate
    assert rate.peak == 0.001


def test_every_first_order_optimizer_of_optax():
    names = OPTIMIZERS.table.keys() - {"gauss-newton"}
    assert {"adam", "adamw", "sgd", "lion", "rmsprop"} <= names and "lbfgs" not in names
    for name in names:
        training = CARD["training"] | {"optimizer": {"kind": name, "learning_rate": 0.01}}
        card = RunCard.from_data(changed(training=training))
        assert RunCard.from_data(card.to_data()) == card


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"batch": 3}, "batch: unknown key; did you mean training.batch?"),
        ({"trainig": {}}, "trainig: unknown key; did you mean training?"),
        (
            {"training": CARD["training"] | {"betch": 3}},
            "training.betch: unknown key; did you mean batch?",
        ),
        ({"training": CARD["training"] | {"batch": -4}}, "training.batch: must be at least 1, got -4"),
        ({"training": CARD["training"] | {"batch": "many"}}, "training.batch: must be a whole number, got 'many'"),
        (
            {"training": CARD["training"] | {"optimizer": {"kind": "adam", "learning_rate": 0.1, "eps": float("nan")}}},
            "training.optimizer.eps: must be a finite number, got nan",
        ),
        ({"training": CARD["training"] | {"steps": 1.5}}, "training.steps: must be a whole number, got 1.5"),
        ({"training": CARD["training"] | {"steps": True}}, "training.steps: must be a whole number, got True"),
        (
            {"training": {"batch": 4, "optimizer": {"kind": "adam", "learning_rate": 1.0}}},
            "training.steps: missing; give the number of optimizer steps, for example 2000",
        ),
        (
            {"training": CARD["training"] | {"batch": [{"steps": 10, "batch": 4}]}},
            "training.batch: its phases have 10 steps in all, but training.steps is 200",
        ),
        (
            {"training": CARD["training"] | {"temperature": {"start": 2, "steps": 300}}},
            "training.temperature.steps: must be at most training.steps = 200, got 300",
        ),
        (
            {"training": CARD["training"] | {"evaluate": {"proposals": 256}}},
            "training.evaluate.proposals: must be at least 4096, got 256",
        ),
        (
            {"training": CARD["training"] | {"stop": {"acceptance": 1.5}}},
            "training.stop.acceptance: must be less than 1, got 1.5",
        ),
        (
            {"training": CARD["training"] | {"objective": "path-gradent"}},
            "training.objective.kind: 'path-gradent' is unknown; did you mean path-gradient? (or your own, "
            "my_module:MyClass)",
        ),
        (
            {"training": CARD["training"] | {"optimizer": {"kind": "adamm", "learning_rate": 1.0}}},
            "training.optimizer.kind: 'adamm' is unknown; did you mean adam? (or your own, my_module:MyClass)",
        ),
        (
            {"training": CARD["training"] | {"optimizer": {"kind": "adam", "learning_rate": 1.0, "epsilon": 1}}},
            "training.optimizer.epsilon: unknown key; did you mean eps?",
        ),
        (
            {"training": CARD["training"] | {"optimizer": {"kind": "adam", "learning_rate": -1.0}}},
            "training.optimizer.learning_rate.peak: must be greater than 0, got -1.0",
        ),
        (
            {"training": CARD["training"] | {"optimizer": {"kind": "sgd", "learning_rate": {"schedule": "cosin"}}}},
            "training.optimizer.learning_rate.schedule: 'cosin' is unknown; did you mean cosine? (or your "
            "own, my_module:MyClass)",
        ),
        (
            {
                "training": CARD["training"]
                | {"optimizer": {"kind": "sgd", "learning_rate": {"schedule": "cosine", "peak": 1, "warmup": 200}}}
            },
            "training.optimizer.learning_rate.warmup: must be less than training.steps = 200, got 200",
        ),
        (
            {"action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5}},
            "action.lam: missing; give the coupling of (phi^2 - 1)^2, not negative, for example 0.5",
        ),
        (
            {"action": {"kind": "phi4", "notation": "standard", "m_sq": -4, "lam": 1}},
            "action.lam: unknown key; known here: kind, notation, m_sq, g",
        ),
        (
            {"action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": -0.5}},
            "action.lam: must be at least 0, got -0.5: exp(-S) would have no integral",
        ),
        (
            {"action": {"kind": "phi4", "notation": "standard", "m_sq": 0.5, "g": -24}},
            "action.g: must be at least 0, got -24.0: exp(-S) would have no integral",
        ),
        (
            {"action": {"kind": "phi4", "notation": "bosetti2015", "beta": float("nan"), "lam": 0.5}},
            "action.beta: must be a finite number, got nan",
        ),
        (
            {"action": {"kind": "phi4", "notation": "bosetti2015", "beta": "nan", "lam": 0.5}},
            "action.beta: must be a finite number, got nan",
        ),
        (
            {"action": {"kind": "phi4", "notation": "bosetti", "beta": 0.5, "lam": 0.5}},
            "action.notation: 'bosetti' is unknown; did you mean bosetti2015?",
        ),
        (
            {"action": {"kind": "phi4", "notation": ["standard"], "beta": 0.5, "lam": 0.5}},
            "action.notation: ['standard'] is unknown; did you mean standard?",
        ),
        (
            {"action": {"kind": "fi4"}},
            "action.kind: 'fi4' is unknown; did you mean phi4? (or your own, my_module:MyClass)",
        ),
        ({"action": None}, "action: must be a section such as {kind: phi4, ...}, got nothing"),
        ({"action": {}}, "action.kind: missing; give one of phi4, free, xy"),
        (
            {"lattice": [4, 5]},
            "lattice: a checkerboard needs every extent even, but [4, 5] has 5; use even extents, or maps without a "
            "checkerboard",
        ),
        ({"lattice": 8}, "lattice: must be a list in square brackets, got 8"),
        ({"lattice": [8, "8"]}, "lattice.1: must be a whole number, got '8'"),
        ({"lattice": [8, 1]}, "lattice: needs at least one extent and every extent >= 2, got [8, 1]"),
        (
            {"sampling": {"chains": 4, "proposals": 1001}},
            "sampling.proposals: must be divisible by the number of chains, got 1001 for 4 chains; 1000 would do",
        ),
        (
            {"sampling": {"chains": 4, "proposals": 1000, "warmup": 250}},
            "sampling.warmup: leaves nothing to measure: 250 of 250 proposals in each chain",
        ),
        (
            {"sampling": {"kind": "hmcc"}},
            "sampling.kind: 'hmcc' is unknown; did you mean hmc? (or your own, my_module:MyClass)",
        ),
        (
            {"sampling": {"kind": "hmc"}},
            "model: of no use: hmc samples without a map; leave model and training out",
        ),
        (
            {"sampling": {"kind": "trivialized-hmc"}, "model": None},
            "model: missing; sampling by trivialized-hmc needs the section {base: ..., maps: [...]}",
        ),
        (
            {
                "sampling": {"kind": "cluster"},
                "model": None,
                "training": {"steps": 1, "batch": 1, "optimizer": {"kind": "adam", "learning_rate": 1e-3}},
            },
            "training: given without a model; there is nothing to train",
        ),
        ({"model": None}, "model: missing; sampling by flow needs the section {base: ..., maps: [...]}"),
        ({"dtype": "float16"}, "dtype: must be 'float32' or 'float64', got 'float16'"),
        ({"seed": -1}, "seed: must be at least 0, got -1"),
        ({"threads": 0}, "threads: must be at least 1, got 0"),
        ({"name": 3}, "name: must be text, got 3"),
        ({"schema": 2}, "schema 2 is newer than this trivmap, which reads 1: upgrade trivmap"),
        (
            {"training": CARD["training"] | {"ladder": [{"lattice": [4, 4]}] * 300}},
            "training.ladder: has at most 64 entries, got 300",
        ),
        ({"schema": "new"}, "schema: must be a whole number, got 'new'"),
    ],
)
def test_refusals(sections, sentence):
    assert validation_error(changed(**sections)) == f"my.yaml: {sentence}"


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"kind": "affin"}, "kind: 'affin' is unknown; did you mean affine? (or your own, my_module:MyClass)"),
        ({"kind": "affine"}, "couplings: missing; give the number of couplings, for example 8"),
        (
            {"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": ["1.0W"]}},
            "network.hidden.0: must be a number of units like 32, or a positive multiple of the sites like 1.0V, got "
            "'1.0W'",
        ),
        (
            {"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": [0]}},
            "network.hidden.0: must be at least 1, got 0",
        ),
        (
            {"kind": "affine", "couplings": 2, "network": {"kind": "dense", "hidden": [8], "kernel": 3}},
            "network.kernel: unknown key; known here: kind, hidden, activation",
        ),
        (
            {"kind": "affine", "couplings": 2, "network": {"kind": "conv", "hidden": [8], "kernel": 4}},
            "network.kernel: must be odd so that there is a center, got 4",
        ),
        (
            {"kind": "affine", "couplings": 2, "network": {"kind": "conv", "hidden": [8], "activation": "than"}},
            "network.activation: 'than' is unknown; did you mean tanh?",
        ),
        (
            {"kind": "affine", "couplings": 2, "z2": 1, "network": {"kind": "conv", "hidden": [8]}},
            "z2: must be true or false, got 1",
        ),
        ({"kind": "fourier", "start": "idenity"}, "start: unknown key; it is called mass_squared now"),
        ({"kind": "fourier", "mass_squared": 0}, "mass_squared: must be greater than 0, got 0.0"),
        ({"kind": "rescale", "scale": 2}, "scale: unknown key; known here: kind"),
    ],
)
def test_refusals_of_maps(part, sentence):
    model = {"base": {"kind": "free-field"}, "maps": [{"kind": "rescale"}, part]}
    assert validation_error(changed(model=model)) == f"my.yaml: model.maps.1.{sentence}"


def test_an_odd_lattice_without_a_checkerboard_is_fine():
    model = {"base": {"kind": "free-field"}, "maps": [{"kind": "fourier"}, {"kind": "zero-mode"}]}
    assert RunCard.from_data(changed(lattice=[3, 5], model=model)).lattice == [3, 5]


def test_own_classes_take_any_argument():
    data = changed(
        action={"kind": "my_module:MyAction", "mu": 1.0},
        model={"base": {"kind": "a.b:Base", "x": [1]}, "maps": [{"kind": "my_module:MyMap", "deep": {"y": 2}}]},
        training=CARD["training"] | {"optimizer": {"kind": "my_module:factory", "learning_rate": 1e-3, "z": 4}},
    )
    card = RunCard.from_data(data)
    assert card.action.arguments == {"mu": 1.0}
    assert card.model.base.arguments == {"x": [1]}
    assert card.model.maps[0].arguments == {"deep": {"y": 2}}
    assert card.training.optimizer.arguments == {"z": 4}
    assert RunCard.from_data(card.to_data()) == card


def test_the_digest_is_of_the_model_alone():
    card = RunCard.from_data(CARD)
    assert card.with_overrides(["training.steps=300", "seed=5"]).digest() == card.digest()
    for override in ["action.beta=0.6", "lattice=[4, 6]", "dtype=float64", "model.maps.0.couplings=4"]:
        assert card.with_overrides([override]).digest() != card.digest()


def test_files(tmp_path: Path):
    path = tmp_path / "my.yaml"
    path.write_text(RunCard.from_data(CARD).to_yaml())
    assert load_card(path) == load_card(str(path)) == RunCard.from_data(CARD)
    with pytest.raises(InputError, match=r"no\.yaml: no such run card$"):
        load_card(tmp_path / "no.yaml")
    with pytest.raises(InputError, match="is a directory; give the run card itself"):
        load_card(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a run card"):
        load_card(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lattice: [4, 4\naction: {}\n", "line 2, column 7: not valid YAML: expected ',' or ']', but got ':'"),
        ("seed: 1\nlattice: [4, 4]\nseed: 2\n", "line 3, column 1: not valid YAML: key 'seed' is given twice"),
        (
            "seed: 1\n\tdtype: x\n",
            "line 2, column 1: not valid YAML: found character '\\t' that cannot start any token",
        ),
    ],
)
def test_yaml_errors_have_file_and_line(tmp_path: Path, text, sentence):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_card(path)
    assert str(caught.value) == f"{path}, {sentence}"


@pytest.mark.parametrize("text", ["", "[1, 2]", "phi4"])
def test_a_card_that_is_no_mapping(tmp_path: Path, text):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="a run card is a list of keys and values"):
        load_card(path)
