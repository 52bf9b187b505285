import pytest

from trivmap.cards.card import RunCard, load_card
from trivmap.cards.presets import preset_names, presets
from trivmap.cards.yaml_text import parse
from trivmap.errors import InputError

NAMES = {
    "quickstart",
    "del-debbio-2021-affine-L6",
    "del-debbio-2021-affine-L8",
    "del-debbio-2021-hybrid-L6",
    "del-debbio-2021-hybrid-L8",
    "albergo-2019-L6",
    "albergo-tutorial-L8",
    "free-L8",
    "broken-phase-L8",
    "couplings-L8",
    *(f"phi4-L{extent}" for extent in (8, 16, 20, 32, 64)),
}


def test_all_are_there_and_documented():
    listed = presets()
    assert {preset.name for preset in listed} == NAMES
    assert listed[0].name == "quickstart"
    for preset in listed:
        assert min(len(preset.description), len(preset.reference), len(preset.deviations)) > 3
        assert all("\n" not in text for text in preset)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_is_valid_and_comes_back(name):
    card = load_card(name)
    assert card.name == name
    assert RunCard.from_data(parse(card.to_yaml(), name)) == card


@pytest.mark.parametrize("name", sorted(NAMES))
@pytest.mark.parametrize("lattice", ["[8]", "[4, 10]", "[4, 4, 6]"])
def test_each_fits_other_even_lattices(name, lattice):
    strong = ["action.m_sq=1.0"] if name == "free-L8" else []
    assert load_card(name, [f"lattice={lattice}", *strong]).lattice == parse(lattice, "lattice")


def test_published_cards():
    affine = load_card("del-debbio-2021-affine-L8")
    assert (affine.action.beta, affine.action.lam) == (0.576, 0.5)
    assert [part.kind for part in affine.model.maps] == ["affine", "affine", "affine", "rescale"]
    assert all(part.network.hidden == ["1.0V"] and part.couplings == 2 and part.z2 for part in affine.model.maps[:3])
    assert affine.training.phases == [(8000, 4000)]
    assert affine.training.optimizer.learning_rate.peak == 5e-3
    hybrid = load_card("del-debbio-2021-hybrid-L6")
    assert (hybrid.action.beta, hybrid.action.lam) == (0.537, 0.5) and hybrid.lattice == [6, 6]
    assert [part.kind for part in hybrid.model.maps] == ["affine", "spline", "affine", "rescale"]
    assert hybrid.model.maps[1].bins == 8 and hybrid.model.maps[1].interval == 5.0
    assert hybrid.training.phases == [(4000, 2000)]
    albergo = load_card("albergo-2019-L6")
    assert (albergo.action.m_sq, albergo.action.lam) == (-4.0, 6.975)
    assert albergo.model.maps[0].network.hidden == ["2.0V"] and not albergo.model.maps[0].z2
    tutorial = load_card("albergo-tutorial-L8")
    assert tutorial.model.maps[0].couplings == 16 and tutorial.model.maps[0].network.hidden == [8, 8]
    assert tutorial.training.phases[0][1] == 64


def test_an_unknown_name():
    with pytest.raises(InputError) as caught:
        load_card("quickstrt")
    assert str(caught.value) == (
        "quickstrt: no preset of that name, did you mean quickstart? (a file's name must end in .yaml "
        "or contain a slash)"
    )
    with pytest.raises(InputError, match=r"^9{97}\.\.\.: no preset of that name"):
        load_card("9" * 775)


def test_a_file_does_not_shadow_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").write_text("seed: 99")
    (tmp_path / "quickstart.yaml").write_text(load_card("quickstart", ["seed=99"]).to_yaml())
    assert load_card("quickstart").seed == 0
    assert load_card("quickstart.yaml").seed == 99
    assert load_card("./quickstart.yaml").seed == 99
    assert set(preset_names()) == NAMES
