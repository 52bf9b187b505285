"""The symmetries of a periodic lattice, written out: what is asked of a map that claims to be equivariant."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

Element = tuple[tuple[int, ...], tuple[int, ...]]


def point_group(shape: Sequence[int]) -> Iterator[Element]:
    """(order of the axes, signs of the axes) of every reflection and exchange of equal extents; the identity first."""
    axes = range(len(shape))
    for order in itertools.permutations(axes):
        if all(shape[axis] == shape[source] for axis, source in zip(axes, order, strict=True)):
            for signs in itertools.product((1, -1), repeat=len(shape)):
                yield order, signs


def transformed(element: Element, fields: np.ndarray) -> np.ndarray:
    """Fields (..., *lattice), site 0 held: reflected along the axes of sign -1, then with their axes reordered."""
    order, signs = element
    leading, first = fields.ndim - len(order), np.asarray(fields)
    for axis, sign in enumerate(signs):
        if sign < 0:
            first = np.roll(np.flip(first, leading + axis), 1, leading + axis)
    return np.transpose(first, (*range(leading), *(leading + axis for axis in order)))
