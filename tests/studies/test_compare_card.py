import copy

import pytest

from trivmap.cards.card import RunCard, load_card
from trivmap.cards.presets import presets
from trivmap.cards.yaml_text import parse
from trivmap.errors import InputError
from trivmap.streams import derived_seed
from trivmap.studies.compare_card import PRESETS, CompareCard, is_comparison, load_compare_card

NAMES = {"compare-L8", "compare-L32", "compare-critical-L32"}
CARD = {
    "name": "small",
    "seed": 7,
    "lattice": [4],
    "action": {"kind": "phi4", "notation": "bosetti2015", "beta": 0.5, "lam": 0.5},
    "timing": {"rounds": 3, "seconds": 0.02},
    "samplers": {
        "flow": {
            "model": {"base": {"kind": "free-field"}, "maps": []},
            "training": {"steps": 4, "batch": 16, "optimizer": {"kind": "sgd", "learning_rate": 1e-3}},
            "sampling": {"kind": "flow", "chains": 2, "proposals": 4000, "batch": 500},
            "measure": {"stages": {"proposals": 64}},
        },
        "cluster": {"sampling": {"kind": "cluster", "chains": 2, "proposals": 4000, "warmup": 20}},
        "through": {
            "map_of": "flow",
            "sampling": {"kind": "trivialized-hmc", "chains": 2, "proposals": 2000, "warmup": 40},
            "measure": {"stages": {"proposals": 64}},
        },
    },
}


def changed(**entries):
    data = copy.deepcopy(CARD)
    for path, value in entries.items():
        *parents, last = path.split("__")
        holder = data
        for parent in parents:
            holder = holder[parent]
        holder[last] = value
    return data


class TestCards:
    def test_every_sampler_is_a_run_card_with_a_seed_of_its_own(self):
        cards = CompareCard.from_data(CARD).cards
        assert list(cards) == ["flow", "cluster", "through"]
        assert [card.seed for card in cards.values()] == [derived_seed(7, position) for position in range(3)]
        assert all(isinstance(card, RunCard) and card.lattice == [4] for card in cards.values())
        assert cards["cluster"].model is None and cards["flow"].training.steps == 4

    def test_comparisons_of_neighboring_seeds_have_no_seed_in_common(self):
        seeds = [card.seed for seed in (0, 1) for card in CompareCard.from_data(CARD | {"seed": seed}).cards.values()]
        assert len(set(seeds)) == 6

    def test_with_common_noise_all_have_the_seed_of_the_card(self):
        cards = CompareCard.from_data(CARD | {"common_noise": True}).cards.values()
        assert [(card.seed, card.common_noise) for card in cards] == [(7, True)] * 3

    def test_a_map_taken_over_is_not_trained_again(self):
        cards = CompareCard.from_data(CARD).cards
        assert cards["through"].training is None
        assert cards["through"].digest() == cards["flow"].digest()

    def test_written_out_it_comes_back(self):
        card = CompareCard.from_data(CARD)
        again = CompareCard.from_data(parse(card.to_yaml(), "again"))
        assert again.cards == card.cards and again.to_data() == card.to_data()

    def test_use_takes_the_model_and_training_of_a_preset(self):
        entry = {"use": "phi4-L8", "sampling": {"kind": "flow", "proposals": 4000}}
        data = changed(samplers__flow=entry, lattice=[8, 8], action=dict(CARD["action"], beta=0.576))
        found, preset = CompareCard.from_data(data).cards["flow"], load_card("phi4-L8")
        assert (found.model, found.training, found.digest()) == (preset.model, preset.training, preset.digest())

    def test_null_leaves_a_sampler_out(self):
        assert list(CompareCard.from_data(changed(samplers__cluster=None)).cards) == ["flow", "through"]

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"samplers__cluster__samplin": {}}, "samplers.cluster.samplin: unknown key; did you mean sampling?"),
            ({"sampler": {}}, "sampler: unknown key; did you mean samplers?"),
            ({"samplers": {"one": CARD["samplers"]["cluster"]}}, "samplers: needs at least two samplers to compare"),
            ({"samplers__cluster__sampling__kind": "clustr"}, "samplers.cluster.sampling.kind: 'clustr' is unknown"),
            ({"samplers__cluster__sampling__chainz": 3}, "samplers.cluster.sampling.chainz: unknown key; did you"),
            ({"samplers__cluster": {}}, "samplers.cluster.sampling: missing; give a section such as {kind: hmc"),
            ({"samplers__through__map_of": "flw"}, "samplers.through.map_of: 'flw' is not a sampler here with a map;"),
            ({"samplers__through__model": {}}, "samplers.through: its map is that of flow; leave model and"),
            ({"samplers__a/b": CARD["samplers"]["cluster"]}, "a/b: cannot be a directory of its own"),
            *(
                ({f"samplers__{name}": CARD["samplers"]["cluster"]}, f"{name}: is the name of a file")
                for name in ("rates.json", "environment.json", "comparison.html", "figures", "Comparison.YAML")
            ),
            (
                {"samplers": {f"s{n}": {"use": "phi4-L8", "sampling": {"kind": "flow"}} for n in range(2000)}},
                "samplers: has at most 64 entries, got 2000",
            ),
            ({"samplers__flow__use": "phi4-L9"}, "samplers.flow.use: phi4-L9: no preset of that name, did you"),
            ({"action__lam": -1.0}, "action.lam: must be at least 0, got -1.0"),
            ({"lattice": [4, 1]}, "lattice: needs at least one extent and every extent >= 2, got [4, 1]"),
            ({"timing__rounds": 1}, "timing.rounds: must be at least 3, got 1"),
            ({"schema": 2}, "schema 2 is newer than this trivmap, which reads 1: upgrade trivmap"),
        ],
    )  # fmt: skip
    def test_mistakes(self, changes, said):
        with pytest.raises(InputError) as caught:
            CompareCard.from_data(changed(**changes), "card.yaml")
        assert str(caught.value).startswith(f"card.yaml: {said}")


class TestPresets:
    def test_all_are_there_and_documented(self):
        listed = presets(PRESETS)
        assert {preset.name for preset in listed} == NAMES
        assert all(min(len(text) for text in preset) > 5 for preset in listed)
        assert all(is_comparison(name) for name in NAMES) and not is_comparison("phi4-L8")

    @pytest.mark.parametrize("name", sorted(NAMES))
    def test_each_compares_every_sampler(self, name):
        card = load_compare_card(name)
        assert card.name == name
        kinds = {card.sampling.kind for card in card.cards.values()}
        assert kinds == {"flow", "hmc", "cluster", "trivialized-hmc", "annealed"}
        assert CompareCard.from_data(card.to_data()).cards == card.cards

    def test_overrides_reach_the_samplers_and_drop_a_ladder_that_does_not_fit(self):
        card = load_compare_card(
            "compare-L32", ["lattice=[6, 6]", "samplers.hmc.sampling.chains=8", "samplers.cluster=null"]
        )
        assert card.cards["hmc"].sampling.chains == 8 and "cluster" not in card.cards
        assert card.cards["flow"].training.ladder == []
        assert [note.split(": ")[0] for note in card.notes] == ["flow"]

    def test_each_kind_of_card_names_the_other_command(self, tmp_path):
        (tmp_path / "card.yaml").write_text(CompareCard.from_data(CARD).to_yaml())
        with pytest.raises(InputError, match="compares several samplers; run it with trivmap compare"):
            load_card(tmp_path / "card.yaml")
        with pytest.raises(InputError, match="phi4-L8: is the card of one run, run it with trivmap run phi4-L8"):
            load_compare_card("phi4-L8")
        (tmp_path / "run.yaml").write_text(load_card("phi4-L8").to_yaml())
        with pytest.raises(InputError, match="is the card of one run, run it with trivmap run"):
            load_compare_card(tmp_path / "run.yaml")
        with pytest.raises(InputError, match="no preset of that name, did you mean compare-L"):
            load_compare_card("compare-L9")
