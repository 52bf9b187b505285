"""What an objective of a user's own must be."""

import jax
import jax.numpy as jnp
import pytest

from trivmap import Flow, InputError, Lattice
from trivmap.actions import Phi4
from trivmap.bases import FreeField
from trivmap.bijections import Chain, Rescale
from trivmap.objectives import AbstractObjective, ForwardKL, Mixture, PathGradient, Variance
from trivmap.objectives.contract import require_objective

LATTICE = Lattice((4,))
ACTION = Phi4.from_couplings("bosetti2015", 1, beta=0.5, lam=0.5)
FLOW = Flow(FreeField(LATTICE, mass=1.0, dtype=jnp.float32), Chain(LATTICE, [Rescale(LATTICE, dtype=jnp.float32)]))


def objective(function, needed=frozenset({"noise"})):
    class Mine(AbstractObjective):
        draws = needed

        def __call__(self, flow, action, draws, temperature):
            return function(jax.vmap(lambda z: flow.residual(action, z))(draws.noise))

    return Mine()


@pytest.mark.parametrize("known", [PathGradient(), Variance(), ForwardKL(), Mixture()])
def test_objectives_of_the_library_keep_it(known):
    require_objective(known, FLOW, ACTION)


@pytest.mark.parametrize(
    ("mine", "sentence"),
    [
        (
            objective(jnp.mean),
            r"Mine must return \(surrogate, residuals\), a real number and one for each configuration",
        ),
        (objective(lambda r: (jnp.mean(r), jnp.mean(r))), r"for a batch of 3 got float64\[\], float64\[\]"),
        (objective(lambda r: (r, r)), r"for a batch of 3 got float64\[3\], float64\[3\]"),
        (objective(lambda r: (jnp.mean(r), r), {"noises"}), r"Mine.draws must be a set of noise and data, got"),
        (objective(lambda r: (jnp.mean(r) + r[:2], r)), "for a batch of 3 got"),
        (objective(lambda r: (float(jnp.mean(r)), r)), "Mine cannot be traced by JAX"),
    ],
)
def test_what_is_no_objective_is_refused(mine, sentence):
    with pytest.raises(InputError, match=sentence):
        require_objective(mine, FLOW, ACTION)
