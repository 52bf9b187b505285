"""docs/reference/run-card.md against the schema: every section and key, with its default."""

from collections.abc import Iterator
from typing import Literal, get_args, get_origin

import pytest
import yaml
from pydantic_core import PydanticUndefined

from experiments import card_tables
from experiments.card_tables import plain
from tests.docs.pages import ROOT, code, rows
from trivmap.bijections import ConvolutionalNetwork, DenseNetwork
from trivmap.cards import kernels, optimizer, registry, sampling, training
from trivmap.cards.card import RunCard
from trivmap.cards.fields import ByKey, Section
from trivmap.cards.signature import described
from trivmap.networks.activations import ACTIVATIONS

BY_HAND = {
    "The card": RunCard,
    "action, your own": registry.ACTIONS.by_key.own,
    "model": training.Model,
    "model.base, your own": registry.BASES.by_key.own,
    "model.maps, your own": registry.MAPS.by_key.own,
    "network, your own": registry.NETWORKS.by_key.own,
    "objective, your own": registry.OBJECTIVES.by_key.own,
    "data, your own": registry.DATA.by_key.own,
    "training": training.Training,
    "training.batch, a phase": training.Phase,
    "training.optimizer": optimizer.FirstOrderOptimizer,
    "learning_rate, your own": registry.SCHEDULES.by_key.own,
    "training.ladder, a rung": training.Rung,
    "training.temperature": training.Temperature,
    "training.stop": training.Stop,
    "training.evaluate": training.Evaluate,
    "training.checkpoint": training.Checkpoint,
    "sampling, kind: flow": sampling.FlowSampling,
    "sampling, kind: hmc": sampling.HmcSampling,
    "sampling.start, given": sampling.GivenStart,
    "sampling, kind: trivialized-hmc": sampling.TrivializedSampling,
    "sampling, kind: cluster": sampling.ClusterSampling,
    "sampling, kind: annealed": sampling.AnnealedSampling,
    "sampling, your own": kernels.OwnSampling,
    "measure": training.Measure,
    "measure.stages": training.Stages,
}
FROM_SIGNATURES = {
    heading: section
    for block in card_tables.BLOCKS.values()
    for heading, section in card_tables.components(*block.args)
}
"""Their tables are written by `experiments.fill`, as test_pages checks."""
SECTIONS = BY_HAND | FROM_SIGNATURES
TABLE = rows(ROOT / "docs" / "reference" / "run-card.md")


def sections(several: ByKey) -> list[type[Section]]:
    """All sections that a key distinguishes."""
    found = [*several.table.values(), *([several.own] if several.own else [])]
    return [section for each in found for section in (sections(each) if isinstance(each, ByKey) else [each])]


def inside(annotation, metadata=()) -> Iterator[type[Section] | str]:
    """The sections and the words that a field may hold."""
    several = [mark for mark in (*metadata, *getattr(annotation, "__metadata__", ())) if isinstance(mark, ByKey)]
    if several:
        yield from sections(several[0])
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from inside(argument)


def reachable(section):
    found = {section}
    for field in section.model_fields.values():
        for other in inside(field.annotation, field.metadata):
            if isinstance(other, type) and other not in found:
                found |= reachable(other)
    return found


def test_every_section_has_a_table():
    assert {row.heading for row in TABLE} == {*SECTIONS}
    assert set(SECTIONS.values()) == reachable(RunCard)


@pytest.mark.parametrize("heading", SECTIONS)
def test_keys_and_defaults(heading):
    fields = {field.alias or name: field for name, field in SECTIONS[heading].model_fields.items()}
    documented = {code(row.cells[0])[0]: row.cells[1] for row in TABLE if row.heading == heading}
    assert list(documented) == list(fields)
    for key, field in fields.items():
        if field.is_required():
            assert documented[key] == "required", key
        elif isinstance(field.default, Section):
            assert documented[key] == "section", key
        else:
            assert field.default is not PydanticUndefined
            (default,) = code(documented[key])
            assert yaml.safe_load(default) == plain(field.default), key
            assert type(yaml.safe_load(default)) is type(field.default), key


@pytest.mark.parametrize("heading", BY_HAND)
def test_every_choice_is_named(heading):
    fields = {field.alias or name: field for name, field in SECTIONS[heading].model_fields.items()}
    said = {row.cells[0].strip("`"): set(code(" ".join(row.cells[1:]))) for row in TABLE if row.heading == heading}
    for key, field in fields.items():
        words = {word for word in inside(field.annotation) if isinstance(word, str)}
        assert words <= said[key], key


@pytest.mark.parametrize("network", [DenseNetwork, ConvolutionalNetwork])
def test_every_activation_is_named(network):
    assert code(described(network)["activation"]) == [*ACTIVATIONS, "z2"]
