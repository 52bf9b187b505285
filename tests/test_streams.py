import subprocess
import sys

import equinox as eqx
import jax
import numpy as np
import pytest

from trivmap import Lattice
from trivmap.actions import Decimated, FreeScalar, Phi4
from trivmap.streams import derived_seed, distinct

KEY = jax.random.key(3)


class Windowed(eqx.Module):
    """A module with what actions may hold: numbers, arrays, text, functions."""

    width: float
    table: jax.Array
    name: str = eqx.field(static=True)
    shape: object = eqx.field(static=True)


def data(*facts):
    return tuple(np.asarray(jax.random.key_data(distinct(KEY, *facts))))


FACTS = [
    (),
    (None,),
    ([8, 8],),
    ([8, 6],),
    (8, 8),
    ("8, 8",),
    ({"a": 1, "b": 2},),
    ({"a": 2, "b": 1},),
    (1,),
    (1.5,),
    (True,),
    (np.arange(3),),
    (np.arange(3.0),),
    (Lattice((4, 4)),),
    (Lattice((4, 6)),),
    (Phi4(-1.0, 1.0, 0.5, 2),),
    (Phi4(-1.0, 1.0, 0.6, 2),),
    (FreeScalar(0.5, 2),),
    (FreeScalar(0.6, 2),),
    (Decimated(Phi4(-1.0, 1.0, 0.5, 2), Lattice((4, 4))),),
    (Windowed(1.0, np.arange(2.0), "a", np.cos),),
    (Windowed(1.0, np.arange(2.0), "b", np.cos),),
    (Windowed(1.0, np.arange(1.0, 3.0), "a", np.cos),),
]


def test_other_facts_give_other_keys():
    assert len({data(*facts) for facts in FACTS}) == len(FACTS)


def test_equal_facts_give_equal_keys():
    for facts in FACTS:
        assert data(*facts) == data(*facts)
    assert data({"a": 1, "b": 2}) == data({"b": 2, "a": 1})
    assert data(Phi4(-1.0, 1.0, 0.5, 2)) == data(Phi4(-1.0, 1.0, 0.5, 2))
    assert data((4, 4)) == data([4, 4])


@pytest.mark.parametrize("seed", [0, 1])
def test_streams_of_neighboring_facts_do_not_depend_on_each_other(seed):
    key, n = jax.random.key(seed), 40_000
    first, second = (np.asarray(jax.random.normal(distinct(key, [L, L]), (n,))) for L in (6, 8))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(n)


def test_the_same_in_every_process():
    """No hash that Python salts, no address."""
    program = (
        "import jax, numpy as np; from trivmap.streams import distinct; from tests.test_streams import FACTS, KEY;"
        "print([int(w) for f in FACTS for w in jax.random.key_data(distinct(KEY, *f))])"
    )
    expected = str([int(word) for facts in FACTS for word in data(*facts)])
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout.strip() == expected


def test_seeds_of_the_members_of_neighboring_groups_differ():
    seeds = [derived_seed(seed, position) for seed in range(50) for position in range(20)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**32 for seed in seeds)
