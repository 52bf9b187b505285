"""docs/run-card.md against the schema: every section and key, with its default."""

import types
from dataclasses import asdict
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic_core import PydanticUndefined

from tests.docs.pages import ROOT, code, rows
from trivmap.cards import continuous, model, optimizer, sampling, training
from trivmap.cards.card import RunCard
from trivmap.cards.fields import Section
from trivmap.networks.activations import ACTIVATIONS
from trivmap.optimizers import GaussNewton

SECTIONS = {
    "The card": RunCard,
    "action, kind: phi4": model.Phi4Action,
    "action, kind: free": model.FreeAction,
    "action, your own": model.OwnAction,
    "model": model.Model,
    "model.base, kind: gaussian": model.GaussianBase,
    "model.base, kind: free-field": model.FreeFieldBase,
    "model.base.start": model.MassStart,
    "model.base, your own": model.OwnBase,
    "model.maps, kind: additive or affine": model.CouplingMap,
    "model.maps, kind: spline": model.SplineMap,
    "model.maps, kind: continuous": continuous.ContinuousMap,
    "continuous, features": continuous.FeatureList,
    "continuous, features.smeared": continuous.SmearedScale,
    "continuous, kernel": continuous.KernelBasis,
    "model.maps, kind: rescale": model.RescaleMap,
    "model.maps, kind: fourier": model.FourierMap,
    "model.maps, kind: zero-mode": model.ZeroModeMap,
    "model.maps, your own": model.OwnMap,
    "network, kind: dense": model.DenseNetwork,
    "network, kind: conv": model.ConvolutionalNetwork,
    "training": training.Training,
    "training.batch, a phase": training.Phase,
    "training.optimizer": optimizer.Optimizer,
    "learning_rate, schedule: constant": optimizer.ConstantRate,
    "learning_rate, schedule: cosine": optimizer.CosineRate,
    "learning_rate, schedule: restarts": optimizer.RestartsRate,
    "training.ladder, a rung": training.Rung,
    "training.temperature": training.Temperature,
    "training.stop": training.Stop,
    "training.evaluate": training.Evaluate,
    "training.checkpoint": training.Checkpoint,
    "sampling, kind: flow": sampling.FlowSampling,
    "sampling, kind: hmc": sampling.HmcSampling,
    "sampling, kind: trivialized-hmc": sampling.TrivializedSampling,
    "sampling, kind: cluster": sampling.ClusterSampling,
    "sampling, kind: annealed": sampling.AnnealedSampling,
    "sampling, your own": sampling.OwnSampling,
    "measure": training.Measure,
    "measure.stages": training.Stages,
}
GAUSS_NEWTON = "training.optimizer, kind: gauss-newton"
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
