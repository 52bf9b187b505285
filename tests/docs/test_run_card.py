"""docs/run-card.md against the schema: every section and key, with its default."""

import types
from dataclasses import asdict
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic_core import PydanticUndefined

from tests.docs.pages import ROOT, code, rows
from trivmap.networks.activations import ACTIVATIONS
from trivmap.optimisers import GaussNewton
from trivmap.runs import card_continuous, card_model, card_optimiser, card_sampling, card_training
from trivmap.runs.card import RunCard
from trivmap.runs.card_fields import Section

SECTIONS = {
    "The card": RunCard,
    "action, kind: phi4": card_model.Phi4Action,
    "action, kind: free": card_model.FreeAction,
    "action, your own": card_model.OwnAction,
    "model": card_model.Model,
    "model.base, kind: gaussian": card_model.GaussianBase,
    "model.base, kind: free-field": card_model.FreeFieldBase,
    "model.base.start": card_model.MassStart,
    "model.base, your own": card_model.OwnBase,
    "model.maps, kind: additive or affine": card_model.CouplingMap,
    "model.maps, kind: spline": card_model.SplineMap,
    "model.maps, kind: continuous": card_continuous.ContinuousMap,
    "continuous, features": card_continuous.FeatureList,
    "continuous, features.smeared": card_continuous.SmearedScale,
    "continuous, kernel": card_continuous.KernelBasis,
    "model.maps, kind: rescale": card_model.RescaleMap,
    "model.maps, kind: fourier": card_model.FourierMap,
    "model.maps, kind: zero-mode": card_model.ZeroModeMap,
    "model.maps, your own": card_model.OwnMap,
    "network, kind: dense": card_model.DenseNetwork,
    "network, kind: conv": card_model.ConvolutionalNetwork,
    "training": card_training.Training,
    "training.batch, a phase": card_training.Phase,
    "training.optimiser": card_optimiser.Optimiser,
    "learning_rate, schedule: constant": card_optimiser.ConstantRate,
    "learning_rate, schedule: cosine": card_optimiser.CosineRate,
    "learning_rate, schedule: restarts": card_optimiser.RestartsRate,
    "training.ladder, a rung": card_training.Rung,
    "training.temperature": card_training.Temperature,
    "training.stop": card_training.Stop,
    "training.evaluate": card_training.Evaluate,
    "training.checkpoint": card_training.Checkpoint,
    "sampling, kind: flow": card_sampling.FlowSampling,
    "sampling, kind: hmc": card_sampling.HmcSampling,
    "sampling, kind: trivialised-hmc": card_sampling.TrivialisedSampling,
    "sampling, kind: cluster": card_sampling.ClusterSampling,
    "sampling, kind: annealed": card_sampling.AnnealedSampling,
    "measure": card_training.Measure,
    "measure.stages": card_training.Stages,
}
GAUSS_NEWTON = "training.optimiser, kind: gauss-newton"
"""Its settings are those of a class of the library; the section itself only passes them on."""
TABLE = rows(ROOT / "docs" / "run-card.md")


def inside(annotation):
    """The sections and the words that a field may hold."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType, list):
        for argument in get_args(annotation):
            yield from inside(argument)
    elif get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation


def reachable(section):
    found = {section}
    for field in section.model_fields.values():
        for other in inside(field.annotation):
            if isinstance(other, type):
                found |= reachable(other)
    return found


def test_every_section_has_a_table():
    assert {row.heading for row in TABLE} == {*SECTIONS, GAUSS_NEWTON}
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


def plain(value):
    """A default as it stands in a card."""
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value.model_dump() if isinstance(value, Section) else value


def test_settings_of_gauss_newton():
    documented = {code(row.cells[0])[0]: code(row.cells[1]) for row in TABLE if row.heading == GAUSS_NEWTON}
    assert {name: yaml.safe_load(default) for name, (default,) in documented.items()} == asdict(GaussNewton())


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_choice_is_named(heading):
    fields = {field.alias or name: field for name, field in SECTIONS[heading].model_fields.items()}
    said = {row.cells[0].strip("`"): set(code(" ".join(row.cells[1:]))) for row in TABLE if row.heading == heading}
    for key, field in fields.items():
        words = {word for word in inside(field.annotation) if isinstance(word, str)}
        assert words <= said[key], key
        if key == "activation" and "as above" not in str([row.cells for row in TABLE if row.heading == heading]):
            assert set(ACTIVATIONS) <= said[key]
