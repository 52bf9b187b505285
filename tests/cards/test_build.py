"""From the card's words to objects: everything a card can say arrives where it belongs."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.runs.support import CARD
from trivmap import InputError, Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases import FreeField, Gaussian, hartree_mass
from trivmap.bijections import Affine, Chain, FourierDiagonal, Rescale, ZeroMode
from trivmap.cards.build import build_action, build_flow, build_training, default_chunk
from trivmap.cards.card import RunCard
from trivmap.objectives import PathGradient, ReverseKL

KEY = jax.random.key(0)


def card(**changes) -> RunCard:
    data = {**CARD, "training": {**CARD["training"]}, "model": {**CARD["model"]}}
    for path, value in changes.items():
        section, _, key = path.rpartition("__")
        (data[section] if section else data)[key] = value
    return RunCard.from_data(data)


def untrained(own_card):
    return build_flow(own_card, build_action(own_card), KEY)


def flow_of(**changes):
    return untrained(card(**changes))


@pytest.fixture(scope="module", autouse=True)
def optax_mixes_dtypes():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A user's module `own_parts`, importable for the length of a test."""

    def write(text):
        (tmp_path / "own_parts.py").write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    sys.modules.pop("own_parts", None)


class TestAction:
    def test_notations(self):
        action = build_action(card(action={"kind": "phi4", "notation": "nicoli2020", "kappa": 0.3, "lam": 0.2}))
        assert isinstance(action, Phi4)
        assert action.coefficients == (-0.6, 0.6, 0.2)

    def test_standard_notation_knows_the_dimension(self):
        section = {"kind": "phi4", "notation": "standard", "m_sq": 0.5, "g": 12.0}
        assert build_action(card(action=section)).coefficients == (-1.0, 2.25, 0.5)
        assert build_action(card(action=section, lattice=[2, 2, 4])).coefficients == (-1.0, 3.25, 0.5)

    def test_free(self):
        action = build_action(card(action={"kind": "free", "m_sq": 0.7}))
        assert isinstance(action, FreeScalar) and action.m_sq == 0.7


class TestFlow:
    def test_maps_in_their_order(self):
        network = {"kind": "dense", "hidden": ["0.5V"]}
        flow = flow_of(
            model__maps=[
                {"kind": "fourier", "mass_squared": 0.4},
                {"kind": "affine", "couplings": 3, "z2": False, "network": network},
                {"kind": "zero-mode", "bins": 6, "interval": 2.0, "z2": False},
                {"kind": "rescale"},
            ]
        )
        kinds = [type(part) for part in flow.bijection.maps]
        assert kinds == [FourierDiagonal, Chain, Chain, ZeroMode, Rescale]
        fourier, first, last, zero_mode, _ = flow.bijection.maps
        assert fourier.mass_squared == 0.4
        assert [coupling.active for coupling in (*first.maps, *last.maps)] == [0, 1, 0]
        assert all(isinstance(coupling.transformer, Affine) for coupling in first.maps)
        assert (zero_mode.spline.bins, zero_mode.spline.interval) == (6, 2.0)
        assert zero_mode.odd is not None
        assert flow.lattice == Lattice((4, 4))

    def test_widths_in_volumes(self):
        """Half of 16 sites is 8 hidden units: from 8 frozen sites to s and t at 8 active ones."""
        network = {"kind": "dense", "hidden": ["0.5V"]}
        flow = flow_of(
            model__base={"kind": "gaussian", "learnable": False},
            model__maps=[{"kind": "affine", "couplings": 1, "z2": False, "network": network}],
        )
        assert flow.parameters == (8 * 8 + 8) + (8 * 16 + 16)

    def test_dtype(self):
        for dtype in ("float32", "float64"):
            flow = flow_of(dtype=dtype)
            assert {leaf.dtype.name for leaf in jax.tree.leaves(flow)} == {dtype}
            assert flow.noise(KEY).dtype == dtype

    def test_every_network_has_its_own_numbers(self):
        network = {"kind": "dense", "hidden": [4]}
        affine = {"kind": "affine", "couplings": 2, "network": network}
        flow = flow_of(model__maps=[affine, affine])
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(flow.bijection) if leaf.ndim == 2 and np.any(leaf)]
        assert len(leaves) == 4
        assert len({leaf.tobytes() for leaf in leaves}) == 4

    def test_gaussian(self):
        assert isinstance(flow_of().base, Gaussian)
        assert flow_of(model__base={"kind": "gaussian", "learnable": False}).base.log_width is None

    def test_free_field(self):
        base = flow_of(model__base={"kind": "free-field", "mass_squared": 0.3}).base
        assert isinstance(base, FreeField)
        assert (base.mass, base.stiffness) == (0.3, 1.0)
        assert base.log_factor.shape == (len(base.lattice.orbit_sizes),)
        fixed = flow_of(model__base={"kind": "free-field", "learnable": False, "mass_squared": 0.3}).base
        assert fixed.log_factor is None

    def test_hartree(self):
        base = flow_of(model__base={"kind": "free-field"}).base
        assert base.stiffness == 0.5
        assert base.mass == hartree_mass(Lattice((4, 4)), *build_action(card()).coefficients)

    def test_without_a_model(self):
        bare = card().model_copy(update={"model": None})
        with pytest.raises(InputError, match=r"^model: missing"):
            untrained(bare)


class TestPlan:
    def test_defaults(self):
        plan = build_training(card())
        assert isinstance(plan.objective, PathGradient)
        assert plan.phases == [(200, 64)]
        assert (plan.evaluate_every, plan.checkpoint_every, plan.evaluate_proposals) == (100, 100, 4096)
        assert (plan.moving_average, plan.stop_acceptance, plan.stop_seconds) == (None, None, None)
        assert float(plan.temperature(0)) == float(plan.temperature(10**6)) == 1.0
        assert float(plan.optimizer.learning_rate(7)) == pytest.approx(1e-3)

    def test_everything_said(self):
        plan = build_training(
            card(
                training__objective="reverse-kl",
                training__steps=60,
                training__batch=[{"steps": 20, "batch": 8}, {"steps": 40, "batch": 16}],
                training__ema=0.9,
                training__temperature={"start": 4.0, "steps": 10, "schedule": "geometric"},
                training__stop={"acceptance": 0.7, "seconds": 5.0},
                training__evaluate={"every": 20, "proposals": 5000, "batch": 500},
                training__checkpoint={"every": 4},
                training__chunk=7,
            )
        )
        assert isinstance(plan.objective, ReverseKL)
        assert plan.phases == [(20, 8), (40, 16)]
        assert plan.moving_average == 0.9
        assert (float(plan.temperature(5)), float(plan.temperature(10))) == (pytest.approx(2.0), 1.0)
        assert (plan.stop_acceptance, plan.stop_seconds) == (0.7, 5.0)
        assert (plan.evaluate_every, plan.evaluate_proposals, plan.evaluate_batch) == (20, 5000, 500)
        assert (plan.checkpoint_every, plan.chunk) == (4, 7)

    @pytest.mark.parametrize(
        ("rate", "steps", "values"),
        [
            ({"schedule": "constant", "peak": 0.1, "warmup": 4}, (0, 3, 99), (0.025, 0.1, 0.1)),
            (
                {"schedule": "cosine", "peak": 0.1, "warmup": 20, "final": 0.5},
                (19, 20, 110, 200),
                (0.1, 0.1, 0.075, 0.05),
            ),
            (
                {"schedule": "restarts", "peak": 0.1, "period": 50, "decay": 0.5},
                (0, 25, 50, 100),
                (0.1, 0.05, 0.05, 0.025),
            ),
            (0.2, (0, 199), (0.2, 0.2)),
        ],
    )
    def test_learning_rates(self, rate, steps, values):
        plan = build_training(card(training__optimizer={"kind": "sgd", "learning_rate": rate}))
        assert [float(plan.optimizer.learning_rate(step)) for step in steps] == pytest.approx(values, rel=1e-5)

    def step(self, **changes):
        """The first update from gradient 2, then from gradient 4."""
        optimizer = optax.with_extra_args_support(build_training(card(**changes)).optimizer.transformation)
        parameter = jnp.asarray([1.0], jnp.float32)
        state, updates = optimizer.init(parameter), []
        for gradient in (2.0, 4.0):
            update, state = optimizer.update(
                jnp.asarray([gradient], jnp.float32), state, parameter, value=jnp.float32(3)
            )
            updates.append(float(update[0]))
        return updates

    def test_keywords_and_clipping_reach_the_optimizer(self):
        sgd = {"kind": "sgd", "learning_rate": 0.1}
        assert self.step(training__optimizer=sgd) == pytest.approx([-0.2, -0.4])
        assert self.step(training__optimizer={**sgd, "momentum": 0.5}) == pytest.approx([-0.2, -0.5])
        assert self.step(training__optimizer=sgd, training__clip=1.0) == pytest.approx([-0.1, -0.1])

    @pytest.mark.parametrize("kind", ["rprop", "sm3"])
    def test_an_optimizer_that_takes_only_a_number_gets_one(self, kind):
        assert self.step(training__optimizer={"kind": kind, "learning_rate": 0.1})[1] < 0
        with pytest.raises(InputError, match=f"{kind} takes no schedule"):
            build_training(
                card(training__optimizer={"kind": kind, "learning_rate": {"schedule": "cosine", "peak": 0.1}})
            )

    def test_an_own_optimizer_that_wants_the_loss(self, own):
        """Polyak's step: gradient * (value - f_min) / |gradient|^2."""
        own(
            "import optax\n"
            "def polyak(learning_rate, floor) -> optax.GradientTransformation:\n"
            "    return optax.polyak_sgd(max_learning_rate=10.0, f_min=floor)\n"
        )
        section = {"kind": "own_parts:polyak", "learning_rate": 0.1, "floor": 1.0}
        assert self.step(training__optimizer=section) == pytest.approx([-2 * 2 / 4, -4 * 2 / 16])
        assert self.step(training__optimizer=section, training__clip=1.0) == pytest.approx([-2.0, -2.0])
        with pytest.raises(InputError, match=r"training.optimizer.wrong: unknown key; known here: floor"):
            build_training(card(training__optimizer={**section, "wrong": 1}))

    def test_without_training(self):
        with pytest.raises(InputError, match=r"^training: missing; give the section"):
            build_training(card().model_copy(update={"training": None}))

    @pytest.mark.parametrize(
        ("steps", "every", "chunk"), [(8000, 100, 25), (2000, 100, 10), (100, 10, 1), (50_000, 70, 35), (10**6, 101, 1)]
    )
    def test_default_chunk(self, steps, every, chunk):
        """About 200 of them in all, at most 50 steps, a whole number between evaluations."""
        assert default_chunk(steps, every) == chunk


OWN = """
import jax.numpy as jnp
from trivmap.actions import AbstractAction, FreeScalar
from trivmap.bases import FreeField
from trivmap.bijections import AbstractBijection
from trivmap.errors import InputError
from trivmap.lattice import Lattice

class Quartic(AbstractAction):
    strength: float
    sites: int

    def __init__(self, strength, lattice):
        self.strength, self.sites = strength, lattice.volume

    def __call__(self, field):
        return self.strength * jnp.sum(field**4, dtype=jnp.float64)

    @property
    def symmetries(self):
        return frozenset({"z2"})

class Shift(AbstractBijection):
    amount: jnp.ndarray
    lattice: Lattice

    def __init__(self, by, **offered):
        self.lattice = offered["lattice"]
        self.amount = jnp.asarray(by, offered["dtype"])

    def forward(self, x):
        return x + self.amount, jnp.zeros(())

    def inverse(self, y):
        return y - self.amount, jnp.zeros(())

def heavy(lattice, dtype) -> FreeField:
    return FreeField(lattice, mass=9.0, dtype=dtype)

def picky(lattice, dtype) -> FreeField:
    raise InputError("base.picky: wants another lattice")

def number(**anything) -> AbstractAction:
    return 3
"""


class TestOwnParts:
    def test_action_base_and_map(self, own):
        own(OWN)
        own_card = card(
            action={"kind": "own_parts:Quartic", "strength": 0.25},
            model__base={"kind": "own_parts:heavy"},
            model__maps=[{"kind": "own_parts:Shift", "by": 0.5}],
        )
        action, flow = build_action(own_card), untrained(own_card)
        assert (action.strength, action.sites) == (0.25, 16)
        assert flow.base.mass == 9.0
        shifted, _ = flow.push(jnp.zeros((4, 4), jnp.float32))
        np.testing.assert_array_equal(shifted, 0.5)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"action": {"kind": "own_parts:Quartic"}}, "action.strength: missing"),
            (
                {"action": {"kind": "own_parts:Quartic", "strength": 1, "stength": 2}},
                "action.stength: unknown key; did you mean strength?",
            ),
            ({"action": {"kind": "own_parts:Quintic"}}, "action.kind: the module 'own_parts' has no 'Quintic'"),
            ({"action": {"kind": "no_such_module:Action"}}, "action.kind: cannot import 'no_such_module'"),
            (
                {"action": {"kind": "own_parts:number"}},
                "action.kind: own_parts:number must make a trivmap AbstractAction, got int",
            ),
            ({"model__base": {"kind": "own_parts:picky"}}, "base.picky: wants another lattice"),
            ({"model__maps": [{"kind": "own_parts:Shift"}]}, "model.maps.0.by: missing"),
            (
                {"model__maps": [{"kind": "rescale"}, {"kind": "own_parts:heavy"}]},
                "model.maps.1.kind: own_parts:heavy is not called; it must be a subclass of trivmap's "
                "AbstractBijection",
            ),
        ],
    )
    def test_mistakes_name_the_key(self, own, changes, message):
        own(OWN)
        with pytest.raises(InputError) as caught:
            flow_of(**changes)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("def broken(:\n", "action.kind: 'own_parts' fails while it is imported: SyntaxError: invalid syntax"),
            ("import math\nmath.nothing\n", "'own_parts' fails while it is imported: AttributeError: module 'math'"),
            ("import not_installed_here\n", "cannot import 'own_parts' (No module named 'not_installed_here')"),
        ],
    )
    def test_a_module_that_cannot_be_imported(self, own, text, message):
        own(text)
        with pytest.raises(InputError) as caught:
            build_action(card(action={"kind": "own_parts:Action"}))
        assert message in str(caught.value)

    def test_hartree_needs_coefficients(self, own):
        own(OWN)
        with pytest.raises(InputError, match=r"^model\.base\.mass_squared: null starts at the best Gaussian"):
            flow_of(action={"kind": "own_parts:Quartic", "strength": 1}, model__base={"kind": "free-field"})
