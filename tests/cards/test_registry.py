"""Sections that follow from signatures, for the library's components and for the user's own alike."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests.cards.test_card import CARD
from trivmap.cards.build import build_action, build_flow, build_training
from trivmap.cards.card import RunCard, load_card
from trivmap.cards.own import own_code
from trivmap.cards.registry import MAPS, build_own
from trivmap.cards.signature import described, section_of
from trivmap.errors import InputError
from trivmap.runs.keys import keys

OWN = '''
from collections.abc import Sequence
from typing import Annotated, Literal

import equinox as eqx
import jax.numpy as jnp

from trivmap.arguments import Bounds, Count, Positive
from trivmap.bijections import AbstractArchitecture, AbstractBijection, Features, FieldConditioner
from trivmap.lattice import Lattice
from trivmap.objectives import AbstractObjective, ReverseKL
from trivmap.training import Schedule


class Typed(AbstractBijection):
    """A map with an argument of every type."""

    lattice: Lattice = eqx.field(static=True)
    given: dict = eqx.field(static=True)

    def __init__(
        self,
        lattice,
        *,
        count: Count,
        width: Positive | None = None,
        share: Annotated[float, Bounds(least=0, most=1)] = 0.5,
        shape: Literal["round", "square"] = "round",
        widths: Sequence[Positive] = (1.0,),
        features: Features = Features(),
        network: AbstractArchitecture | None = None,
        odd: bool = True,
        anything=None,
    ):
        self.lattice = lattice
        self.given = {name: value for name, value in locals().items() if name not in ("self", "lattice")}

    def forward(self, x):
        return x, jnp.zeros(())

    inverse = forward


class Local(eqx.Module):
    weight: jnp.ndarray

    def __call__(self, x):
        return x * self.weight.reshape((1,) * (x.ndim - 1) + (-1,))


class Scaling(AbstractArchitecture):
    def __init__(self, start: float = 0.25):
        self.start = start

    def conditioner(self, lattice, transformer, *, active, z2, dtype, key):
        return FieldConditioner(Local(jnp.full(transformer.count, self.start, dtype)), active=active, odd=False)


class Doubled(AbstractObjective):
    factor: float = 2.0

    def __call__(self, flow, action, draws, temperature):
        value, residuals = ReverseKL()(flow, action, draws, temperature)
        return self.factor * value, residuals


def halves(steps: int, peak: Positive, every: Count = 10) -> Schedule:
    return lambda step: peak * 0.5 ** (step // every)


def bare(peak):
    return lambda step: peak
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    Path(tmp_path / "registered.py").write_text(OWN)
    yield "registered"
    sys.modules.pop("registered", None)


def card(maps=(), **training):
    model = {"base": {"kind": "free-field"}, "maps": list(maps)}
    return RunCard.from_data({**CARD, "model": model, "training": CARD["training"] | training})


def flow_of(*maps):
    made = card(maps)
    return build_flow(made, build_action(made), jax.random.key(0))


def typed(**arguments):
    return flow_of({"kind": "registered:Typed", **arguments}).bijection.maps[0].given


class TestOwn:
    def test_arguments_have_the_types_of_the_signature(self, own):
        given = typed(count=2.0, width="1e-3", widths=[1, 2], features={"widths": [3.0]}, anything={"x": [1]})
        assert given["count"] == 2 and isinstance(given["count"], int)
        assert given["width"] == 1e-3 and given["share"] == 0.5 and given["shape"] == "round"
        assert given["widths"] == (1.0, 2.0) and given["features"].widths == (3.0,)
        assert given["features"].family == "tanh" and given["anything"] == {"x": [1]}
        network = typed(count=1, network={"kind": "dense", "hidden": [3]})["network"]
        assert network.hidden == (3,)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({}, "model.maps.0.count: missing"),
            ({"count": 0}, "model.maps.0.count: must be at least 1, got 0"),
            ({"count": 1.5}, "model.maps.0.count: must be a whole number, got 1.5"),
            ({"count": 1, "witdh": 1}, "model.maps.0.witdh: unknown key; did you mean width?"),
            ({"count": 1, "width": -1}, "model.maps.0.width: must be greater than 0, got -1.0"),
            ({"count": 1, "share": 2}, "model.maps.0.share: must be between 0 and 1, got 2.0"),
            ({"count": 1, "shape": "rund"}, "model.maps.0.shape: 'rund' is unknown; did you mean round?"),
            ({"count": 1, "widths": [1, "x"]}, "model.maps.0.widths.1: must be a number, got 'x'"),
            ({"count": 1, "odd": 1}, "model.maps.0.odd: must be true or false, got 1"),
            ({"count": 1, "features": {"family": "relu"}}, "model.maps.0.features.family: 'relu' is unknown; known"),
            (
                {"count": 1, "features": {"widths": [], "smeared": [], "linear": False}},
                "model.maps.0.features.widths: at least one feature is needed",
            ),
            ({"count": 1, "network": {"kind": "dens"}}, "model.maps.0.network.kind: 'dens' is unknown; did you"),
            ({"count": 1, "lattice": [2]}, "model.maps.0.lattice: unknown key; known here: count, width"),
        ],
    )
    def test_mistakes_name_the_key(self, own, arguments, sentence):
        with pytest.raises(InputError) as caught:
            typed(**arguments)
        assert str(caught.value).startswith(sentence)

    def test_a_network(self, own):
        network = {"kind": "registered:Scaling", "start": 0.5}
        flow = flow_of({"kind": "additive", "couplings": 1, "z2": False, "network": network})
        x = jnp.zeros((4, 4), jnp.float32).at[0, 1].set(1.0)
        y, _ = flow.bijection.forward(x)
        # It gives the active sites, where the frozen field is zero, a shift of zero.
        assert jnp.array_equal(y, x)
        assert flow.bijection.maps[0].maps[0].conditioner.network.weight.tolist() == [0.5]

    def test_an_objective(self, own):
        plan = build_training(card(objective={"kind": "registered:Doubled", "factor": 3.0}))
        assert plan.objective.factor == 3.0
        assert build_training(card(objective="registered:Doubled")).objective.factor == 2.0
        with pytest.raises(InputError, match=r"^training\.objective\.fator: unknown key; did you mean factor"):
            build_training(card(objective={"kind": "registered:Doubled", "fator": 3.0}))

    def test_a_schedule(self, own):
        rate = {"schedule": "registered:halves", "peak": 1, "every": 5}
        plan = build_training(card(optimizer={"kind": "adam", "learning_rate": rate}))
        assert float(plan.optimizer.learning_rate(12)) == 0.25
        bare = card(optimizer={"kind": "adam", "learning_rate": {"schedule": "registered:bare", "peak": 1}})
        with pytest.raises(InputError, match=r"learning_rate\.schedule: registered:bare is not called; it must be"):
            build_training(bare)

    def test_all_of_them_are_code(self):
        network = {"kind": "a:B", "deep": {"kind": "c:D"}}
        maps = [{"kind": "additive", "couplings": 1, "network": network}]
        rate = {"schedule": "e:f", "peak": 1}
        named = own_code(card(maps, objective="g:H", optimizer={"kind": "adam", "learning_rate": rate}))
        assert set(named) == {"a:B", "c:D", "e:f", "g:H"}


class TestNames:
    """Names of arguments, and of modules."""

    @pytest.mark.parametrize("name", ["arguments", "make", "key", "build", "_hidden", "model_config", "json"])
    def test_an_argument_that_a_section_needs_for_itself_is_refused(self, own, tmp_path, name):
        text = f"def named({name}: float = 1.0) -> AbstractObjective:\n    return Doubled()\n"
        Path(tmp_path / "registered.py").write_text(f"{OWN}\n\n{text}")
        with pytest.raises(InputError, match=rf"^training\.objective\.kind: registered:named: the argument '{name}' c"):
            build_training(card(objective="registered:named"))

    def test_choices_that_are_no_text(self, own, tmp_path):
        text = "def ordered(order: Literal[2, 4] = 2) -> AbstractObjective:\n    return Doubled(order)\n"
        Path(tmp_path / "registered.py").write_text(f"{OWN}\n\n{text}")
        assert build_training(card(objective={"kind": "registered:ordered", "order": 4})).objective.factor == 4
        for wrong in (3, "4", True):
            with pytest.raises(
                InputError, match=r"^training\.objective\.order: .* is unknown; (known here: 2, 4|did you mean 4)"
            ):
                build_training(card(objective={"kind": "registered:ordered", "order": wrong}))

    def test_types_that_only_a_checker_sees(self, own, tmp_path):
        text = 'def typed(x: "np.nothing" = 1, factor: float = 2.0) -> AbstractObjective:\n    return Doubled(factor)\n'
        Path(tmp_path / "registered.py").write_text(f"{OWN}\n\n{text}")
        assert build_training(card(objective={"kind": "registered:typed", "factor": 3})).objective.factor == 3.0
        with pytest.raises(InputError, match=r"^training\.objective\.factor: must be a number, got 'x'"):
            build_training(card(objective={"kind": "registered:typed", "factor": "x"}))

    @pytest.mark.parametrize("name", ["evile\u0301:Name", "mod\u00fcle:Name", "a b:C", "a:b:c", "\uff41:B"])
    def test_a_name_that_is_not_of_plain_letters_is_no_reference(self, name):
        """Two readers of regular expressions would disagree about it, and one of them decides whether it is trusted."""
        for changes in ({"objective": name}, {"optimizer": {"kind": name, "learning_rate": 0.1}}):
            with pytest.raises(InputError, match=r"must be a reference like my_module:MyClass"):
                card(**changes)
        with pytest.raises(InputError, match=r"must be a reference like my_module:MyClass"):
            RunCard.from_data({**CARD, "action": {"kind": name}})

    def test_keys_that_are_no_text(self):
        with pytest.raises(
            InputError, match=r"training\.objective: has the key True, which is not text; put it in quotes"
        ):
            card(objective={"kind": "reverse-kl", True: 1})


def test_settings_of_an_objective_in_yaml(tmp_path):
    path = tmp_path / "card.yaml"
    text = card(objective="mixture", data={"kind": "walkers", "count": 4}).to_yaml()
    path.write_text(
        text.replace("objective: {kind: mixture, forward: 0.5}", "objective: {kind: log-variance, over: data}")
    )
    assert load_card(path).training.objective.over == "data"


def test_an_objective_stays_one_word():
    assert card(objective="reverse-kl").to_data()["training"]["objective"] == "reverse-kl"
    assert card(objective={"kind": "reverse-kl"}) == card(objective="reverse-kl")
    words, sections = (keys(card(objective=given)) for given in ("reverse-kl", {"kind": "reverse-kl"}))
    assert all(jnp.array_equal(words[use], sections[use]) for use in words)


def test_sections_are_made_once():
    section = MAPS.by_key.section({"kind": "zero-mode"})
    assert section is MAPS.by_key.section({"kind": "zero-mode", "bins": 3})
    assert section.model_fields["bins"].default == 16
    assert section.model_fields["bins"].description == "bins of the spline, from 2 to 500"


def test_the_list_of_arguments():
    def make(a: int, b: float):
        """A sum.

        Args:
            a: the first,
                on two lines
            b: the second

        Raises `InputError` never.
        """

    assert described(make) == {"a": "the first, on two lines", "b": "the second"}


def test_every_key_of_the_library_is_described():
    for registry in (MAPS,):
        for section in (*registry.by_key.table.values(), registry.by_key.own):
            for key, field in section.model_fields.items():
                assert key == registry.by_key.key or field.description, (section, key)


def test_a_constructor_that_takes_everything(own):
    def everything(lattice, **options):
        return options | {"lattice": lattice}

    section = section_of(everything, ("lattice", "dtype")).model_validate({"x": 1})
    assert section.build("here", lattice=3, dtype="float32", other=4) == {"x": 1, "lattice": 3, "dtype": "float32"}


def test_what_a_users_class_refuses_itself(own):
    class Kind:
        key, makes, called = "kind", dict, "dict"

    with pytest.raises(InputError, match=r"^here\.kind: math:sqrt is not called"):
        build_own("math:sqrt", {}, Kind, "here", {})
