"""A free field: normal, translation invariant, with one variance per momentum orbit."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float

from trivmap._types import Field, Scalar, changed, site_sum
from trivmap.actions import AbstractAction
from trivmap.actions.action import scalar_coefficients
from trivmap.actions.symmetry import EVERY
from trivmap.arguments import Positive, bounded
from trivmap.bases.base import AbstractBase
from trivmap.bases.hartree import hartree_mass
from trivmap.errors import InputError
from trivmap.fourier import apply_spectrum, interpolate_spectrum, orbit_sum
from trivmap.lattice import Lattice
from trivmap.support import Support


class AbstractFreeField(AbstractBase):
    """A normal density with one variance per orbit of momenta, at all sites or at the even ones."""

    @abc.abstractmethod
    def log_width(self) -> Float[Array, " orbits"]:
        """1/2 log of the variance of every orbit."""

    def push(self, z: Field) -> tuple[Field, Scalar, Field]:
        log_width = self.log_width()
        z = self.support.restrict(self.lattice, z)
        x = apply_spectrum(self.lattice, jnp.exp(log_width), z)
        score = -apply_spectrum(self.lattice, jnp.exp(-log_width), z)
        return x, self._log_density(z, log_width), jax.lax.stop_gradient(score)

    def log_density(self, x: Field) -> Scalar:
        log_width = self.log_width()
        x = self.support.restrict(self.lattice, x)
        return self._log_density(apply_spectrum(self.lattice, jnp.exp(-log_width), x), log_width)

    def _log_density(self, z: Field, log_width: Float[Array, " orbits"]) -> Scalar:
        normalization = orbit_sum(self.lattice, log_width) + 0.5 * math.log(2 * math.pi) * self.lattice.volume
        if self.support is Support.EVEN:
            # The orbits count every mode of the even sites twice.
            normalization = 0.5 * normalization
        return -0.5 * site_sum(z * z) - normalization


class FreeField(AbstractFreeField):
    """q(x) ~ exp(-1/2 V^-1 sum_k |x_k|^2 / v_k), v_k = e^{2 a_k} / (stiffness khat^2 + mass).

    The start 1 / (stiffness khat^2 + mass), a = 0, is the Hartree spectrum for stiffness = -c1 and `hartree_mass`, or
    the spectrum of a free field of that mass. `learnable` gives one a_k per momentum orbit.

    Raises `InputError` unless the spectrum is positive at every momentum.
    """

    log_factor: Float[Array, " orbits"] | None
    stiffness: float = eqx.field(static=True)
    mass: float = eqx.field(static=True)
    from_action: bool = eqx.field(static=True)
    """True if stiffness and mass are those of the Hartree propagator, and follow the action."""
    lattice: Lattice = eqx.field(static=True)
    dtype: str = eqx.field(static=True)

    def __init__(
        self,
        lattice: Lattice,
        *,
        mass: float,
        stiffness: float = 1.0,
        learnable: bool = True,
        from_action: bool = False,
        dtype: DTypeLike,
    ):
        _require_positive(lattice, stiffness, mass)
        self.lattice, self.dtype = lattice, jnp.dtype(dtype).name
        self.stiffness, self.mass, self.from_action = float(stiffness), float(mass), from_action
        self.log_factor = jnp.zeros(len(lattice.orbit_sizes), dtype) if learnable else None

    @classmethod
    def hartree(
        cls,
        lattice: Lattice,
        action: AbstractAction,
        *,
        temperature: float = 1.0,
        learnable: bool = True,
        dtype: DTypeLike,
    ) -> "FreeField":
        """The free field nearest to exp(-S/T) in reverse KL, see `hartree_mass`.

        Raises `InputError` for an action without `coefficients`.
        """
        found = scalar_coefficients(action)
        if found is None:
            raise InputError(
                "mass_squared: null starts at the best Gaussian, which needs an action with coefficients (c1, c2, c4); "
                "give the mass squared of the starting spectrum"
            )
        c1, c2, c4 = (c / temperature for c in found)
        mass = hartree_mass(lattice, c1, c2, c4)
        return cls(lattice, mass=mass, stiffness=-c1, learnable=learnable, from_action=True, dtype=dtype)

    @classmethod
    @bounded
    def untrained(
        cls,
        lattice: Lattice,
        action: AbstractAction,
        *,
        learnable: bool = True,
        mass_squared: Positive | None = None,
        temperature: float = 1.0,
        dtype: DTypeLike,
    ) -> "FreeField":
        """The free field that a training towards exp(-S) begins with: one variance per orbit of momenta.

        Args:
            lattice: the lattice.
            action: S.
            learnable: whether its variances are trained
            mass_squared: null: the Gaussian of least reverse KL to exp(-S); else it starts at 1 / (khat^2 + it)
            temperature: T, if the training begins with exp(-S/T). Only the parameters differ from the base at T = 1.
            dtype: the precision of noise and parameters.

        Raises `InputError` for an action without `coefficients`, unless `mass_squared` is given.
        """
        if mass_squared is not None:
            return cls(lattice, mass=mass_squared, learnable=learnable, dtype=dtype)
        base = cls.hartree(lattice, action, learnable=learnable, dtype=dtype)
        if base.log_factor is None or temperature == 1:
            return base
        hot = cls.hartree(lattice, action, temperature=temperature, dtype=dtype)
        momenta = lattice.orbit_momenta
        ratio = (base.stiffness * momenta + base.mass) / (hot.stiffness * momenta + hot.mass)
        return eqx.tree_at(lambda b: b.log_factor, base, jnp.asarray(0.5 * np.log(ratio), dtype))

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY

    def astype(self, dtype: DTypeLike) -> "FreeField":
        cast = None if self.log_factor is None else self.log_factor.astype(dtype)
        return changed(self, log_factor=cast, dtype=jnp.dtype(dtype).name)

    def resize(self, lattice: Lattice, action: AbstractAction | None = None) -> "FreeField":
        """a_k is interpolated in khat^2; a Hartree start is that of the new lattice and action, if one is given."""
        if self.from_action and action is not None:
            start = FreeField.hartree(lattice, action, learnable=False, dtype=self.dtype)
        else:
            _require_positive(lattice, self.stiffness, self.mass)
            start = changed(self, lattice=lattice)
        if self.log_factor is None:
            return start
        return changed(start, log_factor=interpolate_spectrum(self.lattice, lattice, self.log_factor))

    def log_width(self) -> Float[Array, " orbits"]:
        """1/2 log v_k."""
        start = -0.5 * np.log(self.stiffness * self.lattice.orbit_momenta + self.mass)
        start = jnp.asarray(start, self.dtype)
        return start if self.log_factor is None else start + self.log_factor


def _require_positive(lattice: Lattice, stiffness: float, mass: float) -> None:
    inverse = stiffness * lattice.orbit_momenta + mass
    if not np.all((inverse > 0) & np.isfinite(inverse)):
        raise InputError(
            f"mass: the spectrum 1/({stiffness:g} khat^2 + {mass:g}) must be positive and finite at every momentum; "
            "raise the mass"
        )
