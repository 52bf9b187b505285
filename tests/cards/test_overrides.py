import pytest

from trivmap.cards.card import load_card
from trivmap.errors import InputError


def test_values_are_yaml():
    card = load_card(
        "couplings-L8",
        [
            "seed=7",
            "lattice=[4, 6, 8]",
            "training.optimizer.learning_rate.peak=2e-3",
            "training.stop.acceptance=0.9",
            "model.maps.0.couplings=4",
            "model.maps.1.network={kind: dense, hidden: [1.0V]}",
            "model.maps.3={kind: zero-mode}",
            "device=cpu",
        ],
    )
    assert card.seed == 7 and card.lattice == [4, 6, 8] and card.device == "cpu"
    assert card.training.optimizer.learning_rate.peak == 0.002
    assert card.training.stop.acceptance == 0.9
    assert card.model.maps[0].couplings == 4
    assert card.model.maps[1].network.hidden == ["1.0V"]
    assert card.model.maps[3].bins == 16


def test_optional_sections_are_made():
    text = load_card("free-L8").to_yaml().replace("temperature: {start: 1.0", "temperature: {start: 2.0")
    assert "temperature: {start: 2.0" in text
    card = load_card("couplings-L8", ["training=null", "measure.stages.proposals=100"])
    assert card.training is None and card.measure.stages.proposals == 100


def test_a_new_notation_forgets_the_old_couplings():
    overrides = ["action.notation=albergo2019", "action.m_sq=-4", "action.lam=6.008"]
    for order in (overrides, overrides[::-1]):
        card = load_card("couplings-L8", order)
        assert card.action.notation == "albergo2019"
        assert (card.action.m_sq, card.action.lam) == (-4.0, 6.008)
    # lam of one notation is not lam of another: it has to be given.
    with pytest.raises(InputError, match=r"action\.lam: missing; give the coupling of phi\^4"):
        load_card("couplings-L8", overrides[:2])


def test_another_kind_forgets_what_it_does_not_know():
    card = load_card("couplings-L8", ["action.kind=free", "action.m_sq=0.25"])
    assert card.action.m_sq == 0.25
    assert load_card("free-L8", ["action.kind=phi4", "action.notation=standard", "action.m_sq=-1", "action.g=3"])
    with pytest.raises(InputError, match=r"action\.m_sq: missing"):
        load_card("free-L8", ["action.kind=phi4", "action.notation=standard", "action.g=3"])
    card = load_card(
        "couplings-L8", ["model.base.kind=gaussian", "model.maps.1.kind=affine", "model.maps.0.network.kind=dense"]
    )
    assert card.model.base.learnable
    assert card.model.maps[1].kind == "affine" and card.model.maps[1].couplings == 2
    assert card.model.maps[0].network.hidden == [8]
    card = load_card("couplings-L8").with_overrides(["training.optimizer.kind=sgd", "training.optimizer.momentum=0.9"])
    assert card.training.optimizer.arguments == {"momentum": 0.9, "nesterov": False}
    assert card.training.optimizer.learning_rate.schedule == "cosine"
    card = load_card("couplings-L8", ["model.maps.0.kind=my_module:Mine", "model.maps.0.size=3"])
    assert card.model.maps[0].arguments == {"size": 3}


def test_schedules():
    set_rate = "training.optimizer.learning_rate"
    card = load_card("albergo-tutorial-L8", [f"{set_rate}.schedule=cosine"])
    assert card.training.optimizer.learning_rate.peak == 0.001
    card = load_card(
        "couplings-L8", [f"{set_rate}.schedule=restarts", f"{set_rate}.period=500", f"{set_rate}.decay=0.5"]
    )
    assert card.training.optimizer.learning_rate.period == 500
    card = load_card("couplings-L8", [f"{set_rate}=5e-4"])
    assert card.training.optimizer.learning_rate.schedule == "constant"
    assert card.training.optimizer.learning_rate.peak == 5e-4


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.betch=4", "couplings-L8: training.betch: unknown key; did you mean batch?"),
        ("training.stap.acceptance=0.9", "couplings-L8: training.stap: unknown key; did you mean stop?"),
        ("beta=0.5", "couplings-L8: beta: unknown key; did you mean action.beta?"),
        ("training.steps", "--set training.steps: write key=value, for example --set training.steps=500"),
        ("training..steps=4", "--set training..steps=4: write key=value, for example --set training.steps=500"),
        (
            "model.maps.9.couplings=4",
            "--set model.maps.9.couplings: model.maps is a list, give a number from 0 to 3 instead of '9'",
        ),
        (
            "model.maps.first.couplings=4",
            "--set model.maps.first.couplings: model.maps is a list, give a number from 0 to 3 instead of 'first'",
        ),
        ("training.steps.x=4", "--set training.steps.x: training.steps is 800, which has no keys of its own"),
        pytest.param(
            "seed\udcff=1", "--set 'seed\\udcff=1': the key has bytes that are not text; write it in UTF-8", id="torn"
        ),
        ("sampling=5", "couplings-L8: sampling: must be a section such as {kind: flow, ...}, got 5"),
        (
            "lattice=[4,",
            "--set lattice=[4,, line 1, column 4: not valid YAML: expected the node content, but found '<stream end>'",
        ),
    ],
)
def test_refusals(override, sentence):
    with pytest.raises(InputError) as caught:
        load_card("couplings-L8", [override])
    assert str(caught.value) == sentence


@pytest.mark.parametrize("section", ["null", "5", "[]", "hmc"])
def test_a_kind_cannot_be_given_to_what_is_no_section(section):
    with pytest.raises(InputError, match="sampling"):
        load_card("phi4-L8", [f"sampling={section}", "sampling.kind=hmc"])
