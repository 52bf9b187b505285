"""Values that no machine or number format can do are refused by the card, in one short sentence with the reason."""

import math
import time

import pytest

from tests.runs.support import CARD
from trivmap.cards.card import RunCard, load_card
from trivmap.cards.training import LEAST_BINS
from trivmap.errors import InputError, shown
from trivmap.observables import ArrayHistory, analyze

BITS = "must be at most 2147483647, as it is counted in 32 bits, got"


def validation_error(data, *overrides) -> str:
    begun = time.monotonic()
    with pytest.raises(InputError) as caught:
        RunCard.from_data(data, "my.yaml").with_overrides(overrides)
    assert time.monotonic() - begun < 2
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 300
    return sentence


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.steps=1e20", f"training.steps: {BITS} 1e+20"),
        ("training.batch=9223372036854775808", f"training.batch: {BITS} 9223372036854775808"),
        ("training.evaluate.batch=18446744073709551616", f"training.evaluate.batch: {BITS} 18446744073709551616"),
        ("sampling.batch=9223372036854775808", f"sampling.batch: {BITS} 9223372036854775808"),
        (f"threads={'9' * 40}", f"threads: {BITS} {'9' * 40}"),
        ("threads=100000", "threads: must be at most 65536, got 100000"),
        (
            "sampling.proposals=1e24",
            "sampling.proposals: must be at most 9007199254740992, as it is counted in 64 bits, got ",
        ),
        (
            "sampling.proposals=9e15",
            "sampling.proposals: must be at most 2147483647 for each of the 2 chains, whose steps are counted in 32 "
            "bits, got 9000000000000000",
        ),
        (
            "training.optimizer.learning_rate=1e308",
            "training.optimizer.learning_rate.peak: must be between -1e+30 and 1e+30, as its powers overflow float32 "
            "beyond that, got 1e+308",
        ),
        (
            "action.beta=1e18",
            "action.beta: must be between -1e+12 and 1e+12, beyond which rounding swallows everything else, got 1e+18",
        ),
        (f"action.lam=1{'0' * 399}", "action.lam: must be between -1e+30 and 1e+30, as its powers overflow float32"),
        ("lattice=[1000000, 1000000]", "lattice: has 1000000000000 sites; at most 16777216, as the table of its"),
        ("lattice=[2147483648, 4]", f"lattice.0: {BITS} 2147483648"),
        ("lattice=[1e308, 4]", f"lattice.0: {BITS} 1e+308"),
        (f"lattice={[2] * 17}", "lattice: has 17 dimensions; at most 16, as an array has an axis for each"),
        (
            "model.maps.0.couplings=1000000",
            "model.maps: has 1000000 layers; at most 512, as each is compiled separately",
        ),
        ("model.maps.0.network.hidden=[9223372036854775808]", f"model.maps.0.network.hidden.0: {BITS} 9223372036"),
        (
            "model.maps.0.network.hidden=[1000000000]",
            "model.maps.0.network.hidden: 1000000000 stands for 1000000000 units, and a layer has at most 16777216: "
            "two such layers would have more weights than memory has bytes",
        ),
        (
            f"model.maps.0.network.hidden=[{'9' * 400}V]",
            "model.maps.0.network.hidden.0: must be at most 16777216V, got '99",
        ),
        ("model.maps.0.network.hidden=[9999999V]", "model.maps.0.network.hidden: 9999999V stands for 159999984 units"),
        (
            "model.maps.0={kind: continuous, kernel: {radius: 2000000000, masses: [1]}}",
            None,
        ),
        ("measure.bins=1", "measure.bins: 1 bins over 2 chains are too few for an error; give at least 10, or null"),
        ("measure.stages.proposals=7", "measure.stages.proposals: must be at least 8, got 7"),
        (
            "sampling={proposals: 8, chains: 2, warmup: 0}",
            "sampling.proposals: leaves 4 steps of each chain to measure, and an error needs 5; raise it",
        ),
        # Values are cut where they are shown.
        (f"training.steps={'x' * 9000}", "training.steps: must be a whole number, got 'xxxx"),
        (f"action.kind={'x' * 9000}", "xxx' is unknown; known here: phi4, free, xy (or your own, my_module:MyClass)"),
        (f"{'x' * 9000}=1", f"{'x' * 97}...: unknown key"),
        ("training.steps=[[1, 2], [3, 4]]", "training.steps: must be a whole number, got [[1, 2], [3, 4]]"),
        (f"training.steps={[7] * 1000}", "must be a whole number, got [7, 7, 7, 7, 7, 7, 7, 7, ...]"),
        ("lattice.²=8", "--set lattice.²: lattice is a list, give a number from 0 to 2 instead of '²'"),
        (f"{'.'.join('a' * 2000)}=1", "no key of a card has more than 16 parts, got 2000"),
    ],
)
def test_absurd_values(override, sentence):
    if sentence is None:
        assert RunCard.from_data(CARD).with_overrides([override])
    else:
        assert sentence in validation_error(CARD, override)


def test_tables_of_a_continuous_map_that_do_not_fit():
    assert validation_error(
        load_card("phi4-L8").to_data(), "lattice=[1024, 1024]", "model.maps.0.kernel.radius=null"
    ) == (
        "phi4-L8: model.maps.0.kernel.radius: stands for 131846 functions on 1048576 sites, more than their table of "
        "spectra has room for; choose a smaller radius, masses reach as far"
    )


@pytest.mark.parametrize("key", ["name", "training.start"])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("../../escaped", "names a directory: use letters, digits, '.', '_', '+' and '-', a letter or"),
        ("/absolute", "names a directory: use letters"),
        ("-rf", "names a directory: use letters"),
        ("..", "names a directory: use letters"),
        ('"a\\nb"', "names a directory: use letters"),
        ('"a\\u202eb"', "names a directory: use letters"),
        ('"<script>"', "names a directory: use letters"),
        ('""', "names a directory: use letters"),
        ("5", "must be text, got 5"),
        ("x" * 300, "must have at most 200 characters, as it names a directory, got 300"),
    ],
)
def test_names_are_no_paths(key, value, sentence):
    assert f"{key}: {sentence}" in validation_error(CARD, f"{key}={value}")


@pytest.mark.parametrize("value", ["1e5-run", "my.run_2+b", "2024-01-02", "x" * 200])
def test_names(value):
    card = RunCard.from_data(CARD).with_overrides([f"name={value}"])
    assert card.name == value
    assert RunCard.from_data(card.to_data()) == card


def test_bins_that_the_analysis_wants():
    history = ArrayHistory({"phi2": [[0.1, 0.2, 0.4, 0.3, 0.1, 0.5, 0.2]] * 2})
    analyze(history, bins=2 * LEAST_BINS)
    with pytest.raises(InputError, match=f"give at least {2 * LEAST_BINS}, or null"):
        analyze(history, bins=2 * LEAST_BINS - 1)


def test_shown():
    assert shown(None) == "nothing" and shown("a") == "'a'" and shown(10**30) == str(10**30)
    deep = []
    for _ in range(10_000):
        deep = [deep] * 9
    assert len(shown(deep)) <= 80


def test_the_largest_seed():
    assert RunCard.from_data({**CARD, "seed": 2**32 - 1}).seed == 2**32 - 1
    assert "seed: must be less than" in validation_error({**CARD, "seed": 2**32})
    assert math.isfinite(RunCard.from_data(CARD).with_overrides(["action.lam=1e12"]).action.lam)
