"""Langevin dynamics, made exact."""

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Integer

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.arguments import Positive, bounded
from trivmap.lattice import Lattice
from trivmap.samplers.hmc import HMC
from trivmap.samplers.integrators import LEAPFROG
from trivmap.samplers.kinetic import FourierMass
from trivmap.samplers.potentials import ActionPotential


class Langevin(HMC):
    """Metropolis-adjusted Langevin dynamics: trajectories of one leapfrog step with fresh momenta (arXiv:1206.1901).

    phi' = phi + (eps^2 / 2) F(phi) + eps xi with the force F and unit normal xi, accepted as a trajectory of hybrid
    Monte Carlo is. It serves the fields of any space. An acceptance of 0.57 is best in large volumes.

    Args:
        action: S.
        lattice: the lattice.
        dtype: the precision of the fields.
        step_size: eps, where the warm-up begins to tune it
        fourier_mass: m^2 of momenta with covariance khat^2 + m^2 (Fourier acceleration); null: unit mass

    Raises `InputError` for a number out of bounds.
    """

    @bounded
    def __init__(
        self,
        action: AbstractAction,
        lattice: Lattice,
        dtype: DTypeLike,
        *,
        step_size: Positive = 0.1,
        fourier_mass: Positive | None = None,
    ):
        kinetic = None if fourier_mass is None else FourierMass(lattice, m_sq=fourier_mass, dtype=dtype)
        potential = ActionPotential(action, lattice, dtype)
        super().__init__(potential, step_size=step_size, integrator=LEAPFROG, kinetic=kinetic)

    def shared(self, key: Key) -> Integer[Array, ""]:
        """The number of integration steps: one."""
        return jnp.ones((), jnp.int32)

    def facts(self) -> dict[str, object]:
        """The kinetic energy, and the number of steps of a trajectory."""
        return {"integrator": "leapfrog", "kinetic": type(self.kinetic).__name__, "mean_steps": 1}
