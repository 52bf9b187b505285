"""What an action of a user's own must be, beyond its force and its symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.actions import XY, AbstractAction, Phi4, require_action
from trivmap.spaces import Angle, Real

LATTICE = Lattice((4, 4))


def action_of(function, *, space=Real(), symmetries=frozenset({"z2"})):  # noqa: B008
    """An action of somebody's own, made of its parts."""
    given = space, symmetries

    class Mine(AbstractAction):
        space = given[0]
        symmetries = given[1]

        def __call__(self, field):
            return function(field)

    return Mine()


@pytest.mark.parametrize("action", [XY(1.0, 2), Phi4(-0.9, 0.3, 0.5, 2)])
def test_actions_of_the_library_keep_it(action):
    require_action(action, LATTICE, np.float32)


def test_it_holds_where_double_precision_is_disabled():
    with jax.enable_x64(False):
        require_action(XY(1.0, 2), LATTICE, np.float32)


def square(field):
    return jnp.sum(field**2)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            {"function": lambda field: field**2},
            r"S of Mine must be one real number, got .* of shape \[4, 4\]",
        ),
        ({"function": lambda field: np.sum(np.asarray(field))}, "S of Mine cannot be traced on a field of one real"),
        (
            {"function": lambda field: jnp.sum(jnp.log(field))},
            "S of Mine, or its derivative, is not finite",
        ),
        ({"function": lambda field: jnp.sum(field[0] ** 2)}, "S of Mine does not depend on every number of its fields"),
        ({"function": square, "space": Angle()}, "S of Mine has two values at one point: its fields are angles"),
        ({"function": square, "space": Angle}, r"the space of Mine must be an object such as Angle\(\), got <class"),
        ({"function": square, "symmetries": frozenset({"Z2"})}, "the symmetries of Mine must be a set of names among"),
        ({"function": square, "symmetries": "z2"}, "the symmetries of Mine must be a set of names among"),
        ({"function": square, "symmetries": ["z2"]}, "the symmetries of Mine must be a set of names among"),
    ],
)
def test_what_is_no_action_is_refused(parts, sentence):
    with pytest.raises(InputError, match=sentence):
        require_action(action_of(**parts), LATTICE, np.float64)
