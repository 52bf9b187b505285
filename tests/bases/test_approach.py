"""Steps in a coupling towards the ordered phase."""

import itertools
import math

import pytest

from trivmap import Lattice
from trivmap.actions import FreeScalar, Phi4
from trivmap.bases.approach import approach, hartree_extent

LATTICE = Lattice((8, 8))


def at(beta):
    return Phi4.from_couplings("bosetti2015", 2, beta=beta, lam=0.5)


def test_the_extent_of_a_free_field_is_its_mass_times_its_side():
    assert hartree_extent(Lattice((6, 8)), FreeScalar(0.25, 2)) == pytest.approx(0.5 * 6)


def test_none_where_nothing_orders():
    assert hartree_extent(LATTICE, Phi4(1.0, 0.5, 0.5, 2)) == math.inf
    assert approach(LATTICE, lambda s: at(0.576 * s)) == []


@pytest.mark.parametrize("beta", [0.72, 0.8, 1.5])
def test_steps_rise_and_divide_the_way_evenly(beta):
    found = approach(LATTICE, lambda s: at(beta * s))
    assert found == sorted(found) and found[0] > 0 and found[-1] < 1
    extents = [hartree_extent(LATTICE, at(beta * s)) for s in (*found, 1.0)]
    assert extents[0] == pytest.approx(6.8, rel=1e-6)
    ratios = [after / before for before, after in itertools.pairwise(extents)]
    assert max(ratios) - min(ratios) < 1e-6
    assert min(ratios) >= 0.85 or len(found) == 12


def test_none_where_the_way_begins_in_the_ordered_phase():
    assert approach(LATTICE, lambda s: at(0.9 + 0.1 * s)) == []
