"""Arguments and their bounds, as constructors and run cards read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from trivmap.arguments import (
    Bounds,
    CheckerboardLattice,
    Count,
    Index,
    LayerWidth,
    Odd,
    OneOf,
    Positive,
    Ratio,
    Width,
    bounded,
    require_fields,
)
from trivmap.errors import InputError
from trivmap.lattice import Lattice


@bounded
def make(
    count: Count = 1,
    start: Index = 0,
    width: Positive | None = None,
    share: Ratio = 0.5,
    kernel: Annotated[int, Bounds(least=1, most=9), Odd()] = 3,
    widths: Sequence[Positive] = (),
    hidden: Sequence[Width] = (),
    name: Annotated[str, OneOf(("tanh", "sine"))] = "tanh",
    shape: Literal["linear", "cosine"] = "linear",
    coupling: Annotated[float, Bounds(least=-2, most=2, why="nothing is left")] = 0.0,
    lattice: CheckerboardLattice = Lattice((4,)),  # noqa: B008
):
    return count


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 0}, "count: must be at least 1, got 0"),
        ({"start": -1}, "start: must be at least 0, got -1"),
        ({"width": 0.0}, "width: must be greater than 0, got 0.0"),
        ({"width": float("inf")}, "width: must be a finite number, got inf"),
        ({"share": 1.5}, "share: must be between 0 and 1, got 1.5"),
        ({"kernel": 4}, "kernel: must be odd so that there is a center, got 4"),
        ({"kernel": 11}, "kernel: must be between 1 and 9, got 11"),
        ({"widths": [1.0, float("nan")]}, "widths: must be a finite number, got nan"),
        ({"widths": (1.0, -1.0)}, "widths: must be greater than 0, got -1.0"),
        ({"hidden": [0]}, "hidden: must be at least 1, got 0"),
        (
            {"hidden": [4, "V"]},
            "hidden: must be a number of units like 32, or a positive multiple of the sites like 1.0V, got 'V'",
        ),
        ({"hidden": ["1e9V"]}, "hidden: must be a number of units like 32, or a positive multiple of the sites like "),
        ({"hidden": [f"{10**9}V"]}, "hidden: must be at most 16777216V, got '1000000000V'"),
        ({"name": "sin"}, "name: 'sin' is unknown; did you mean sine?"),
        ({"shape": "quadratic"}, "shape: 'quadratic' is unknown; known here: linear, cosine"),
        ({"coupling": 3.0}, "coupling: must be between -2 and 2, beyond which nothing is left, got 3.0"),
        ({"lattice": Lattice((3,))}, "lattice: a checkerboard needs every extent even, but [3] has 3; use even"),
    ],
)
def test_what_is_out_of_bounds_is_named(arguments, sentence):
    with pytest.raises(InputError) as caught:
        make(**arguments)
    assert str(caught.value).startswith(sentence)


def test_what_is_within_is_taken():
    assert make(3, 0, 1e-30, 1.0, 9, (0.1, 2), (3, "1.0V", ".5V"), "sine", "cosine", -2.0, Lattice((2, 4))) == 3
    assert make(width=None) == 1


def test_a_call_that_python_refuses_says_so():
    with pytest.raises(TypeError, match="unexpected keyword argument 'cuont'"):
        make(cuont=0)


def test_fields_of_a_dataclass():
    @dataclass(frozen=True)
    class Settings:
        width: Positive = 1.0

        def __post_init__(self):
            require_fields(self)

    assert Settings(2.0).width == 2.0
    with pytest.raises(InputError, match=r"^width: must be greater than 0, got -1"):
        Settings(-1.0)


def test_units_of_widths():
    assert LayerWidth().units([3, "1.0V", ".01V", "2V"], 36) == [3, 36, 1, 72]
    assert LayerWidth().units(["1V"], 4096 * 4096) == [2**24]
    with pytest.raises(InputError, match=r"^hidden: 2V stands for 33554432 units"):
        LayerWidth().units(["2V"], 2**24)
