"""What a card cites."""

import inspect
import re

import pytest
import yaml

from tests.docs.pages import ROOT
from trivmap.cards import registry
from trivmap.cards.card import load_card
from trivmap.cards.citations import ARXIV, bibtex, bibtex_of_trivmap, cited, key_of, known
from trivmap.cards.fields import ByKey
from trivmap.cards.keys import key_lines
from trivmap.cards.presets import preset_names
from trivmap.cards.signature import Constructed

REGISTRIES = [each for each in vars(registry).values() if isinstance(each, registry.Registry)]
ENTRIES = known()["entries"]


def constructors(several):
    for entry in several.table.values():
        if isinstance(entry, ByKey):
            yield from constructors(entry)
        elif issubclass(entry, Constructed):
            yield entry.make


def test_every_paper_that_a_component_names_has_an_entry():
    makes = [make for each in REGISTRIES for make in constructors(each.by_key)]
    numbers = {number for make in makes for number in ARXIV.findall(inspect.getdoc(make) or "")}
    assert len(numbers) > 10 and numbers <= ENTRIES.keys()


def test_every_paper_that_a_preset_follows_has_an_entry():
    numbers = {number for name in preset_names() for number in ARXIV.findall(load_card(name).reference or "")}
    assert numbers and numbers <= ENTRIES.keys()


def test_uses_are_keys_and_papers_that_exist():
    keys = {re.sub(r"\.0(?=\.|$)", ".*", line.split()[0]) for line in key_lines()}
    for use, numbers in known()["uses"].items():
        assert use.split("=")[0] in keys and set(numbers) <= ENTRIES.keys(), use
    assert {number for numbers in known()["always"].values() for number in numbers} <= ENTRIES.keys()
    assert len({key_of(number) for number in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("number", ENTRIES)
def test_entries_are_bibtex(number):
    text = bibtex(number, ["one", "two"])
    first, head, *fields, last = text.splitlines()
    assert first == "% one; two" and last == "}"
    assert re.fullmatch(r"@(article|misc)\{[A-Za-z]+:\d{4}(:[\d.]+)?,", head)
    assert all(re.fullmatch(r"  \w+ = \{.+\},", field) and field.count("{") == field.count("}") for field in fields)
    assert text.isascii()


def test_trivmap_is_cited_as_the_file_for_citations_says():
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    text = bibtex_of_trivmap()
    assert text.startswith("% the software itself\n@software{trivmap,\n")
    (author,) = content["authors"]
    assert author["name"] in text and content["title"] in text


def test_what_cards_use():
    reasons = cited(load_card("phi4-L64").to_data())
    assert "model.maps.kind: continuous" in reasons["2207.00283"] and "reference of the card" in reasons["2207.00283"]
    assert reasons["1506.08587"] == ["action.notation: bosetti2015"]
    assert "hep-lat/0306017" in reasons and "1605.08803" not in reasons
    couplings = cited(load_card("couplings-L8").to_data())
    assert "training.objective.kind: path-gradient" in couplings["2206.09016"]
    assert couplings["1412.6980"] == ["training.optimizer.kind: adam"]
    wolff = ["model=null", "training=null", "sampling={kind: cluster, algorithm: wolff}"]
    clusters = cited(load_card("phi4-L8", wolff).to_data())
    assert "10.1103/PhysRevLett.62.361" in clusters and "10.1103/PhysRevLett.58.86" not in clusters
    assert "2007.07115" not in clusters
