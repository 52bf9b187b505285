"""A continuous, equivariant flow: the field moves along an ordinary differential equation."""

import functools
from collections.abc import Iterator
from typing import Annotated, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, DTypeLike, Float, Int

from trivmap._types import Field, Scalar, changed, site_sum
from trivmap.actions.symmetry import EVERY
from trivmap.arguments import Bounds, Count, OneOf, bounded
from trivmap.bijections.bijection import AbstractBijection
from trivmap.bijections.features import Features
from trivmap.bijections.integrators import SCHEMES, Velocity, integrate
from trivmap.bijections.kernels import KernelBasis
from trivmap.errors import InputError
from trivmap.fourier import Modes
from trivmap.lattice import Lattice
from trivmap.support import Support

_FEATURES, _KERNEL = Features(), KernelBasis()


class Continuous(AbstractBijection):
    """y = phi(1) of d phi(x)/dt = sum_f sum_y W_f(x - y; t) h_f(phi)(y), phi(0) = x (arXiv:2207.00283, extended).

    h_f are odd `Features` of the field or of the smeared field, W_f(.; t) = sum_n cos(pi n t) sum_j c_nfj K_j with
    n < times and the basis K_j of `KernelBasis`: equivariant under translations, point group and Z2, in any dimension.
    The divergence is exact, d log det / dt = sum_f (W_f A_f)(0; t) sum_x h_f'(x), with A_f the feature's filter; the
    integration is not: `steps` of a Runge-Kutta `scheme`, whose error `diagnostics.certificate` measures.
    `perturbed(u)` shifts the time grid at random, so that training cannot learn to exploit that error. The inverse
    integrates backward. It starts at the identity, c = 0. See `l2_weights` for `smoothness`.

    With `even` it is a map of the even sites of the checkerboard: x runs over the even sites and y over all sites. phi
    is zero at the odd sites, but smeared fields are not. The sum over x in the divergence is then of the products of
    W_f and A_f at even displacements for even sites, at odd ones for the others.

    Args:
        lattice: the lattice.
        features: section
        kernel: section
        times: time functions cos(pi n t), n = 0 ... times - 1
        steps: integration steps in training; sampling chooses its own
        scheme: Runge-Kutta of low storage: `rk4`, five stages of order 4, or `rk3`, three of order 3
        smoothness: ridge smoothness n^4 on the coefficients of cos(pi n t), in Gauss-Newton only
        even: whether it maps only the even sites.
        dtype: the precision of the coefficients.

    Raises `InputError` for an argument out of bounds, and with `even` for an odd extent.
    """

    coefficients: Float[Array, "times features basis"]
    offset: Scalar | None
    """Shift of the time grid in units of a step, set by `perturbed` only; never a parameter."""
    features: Features = eqx.field(static=True)
    kernel: KernelBasis = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    smoothness: float = eqx.field(static=True)
    even: bool = eqx.field(static=True)
    lattice: Lattice = eqx.field(static=True)

    @bounded
    def __init__(
        self,
        lattice: Lattice,
        *,
        features: Features = _FEATURES,
        kernel: KernelBasis = _KERNEL,
        times: Count = 3,
        steps: Count = 6,
        scheme: Annotated[str, OneOf(SCHEMES)] = "rk4",
        smoothness: Annotated[float, Bounds(least=0)] = 1e-3,
        even: bool = False,
        dtype: DTypeLike,
    ):
        if even:
            lattice.require_checkerboard()
        self.lattice, self.features, self.kernel, self.even = lattice, features, kernel, even
        self.steps, self.scheme, self.smoothness, self.offset = steps, scheme, smoothness, None
        self.coefficients = jnp.zeros((times, features.number, len(kernel.spectra(lattice))), dtype)

    @property
    def equivariant_under(self) -> frozenset[str]:
        return EVERY - {"translations"} if self.even else EVERY

    def forward(self, x: Field) -> tuple[Field, Scalar]:
        return self._integrate(self._flow, (x, _zero()))

    def inverse(self, y: Field) -> tuple[Field, Scalar]:
        return self._integrate(self._flow, (y, _zero()), span=(1.0, 0.0))

    def stages(self, x: Field) -> Iterator[tuple[str, Field, Scalar]]:
        """At a quarter, half, three quarters of the time, and at the end."""
        state, quarter = (x, _zero()), -(-self.steps // 4)
        for end in (0.25, 0.5, 0.75, 1.0):
            state = integrate(self._flow, state, steps=quarter, scheme=self.scheme, span=(end - 0.25, end))
            yield f"Continuous t={end:g}", *state

    def forward_with_score(self, x: Field, score: Field) -> tuple[Field, Scalar, Field]:
        """The score moves by ds/dt = -(dv/dphi)^T s - grad div v along the same trajectory (arXiv:2206.09016)."""
        fixed = jax.lax.stop_gradient(self)

        def velocity(state: tuple[Field, Scalar, Field], time: Scalar) -> tuple[Field, Scalar, Field]:
            field, _, score = state
            v, divergence = self._velocity(field, time)
            held = jax.lax.stop_gradient(field)
            (_, divergence_there), pull = jax.vjp(lambda phi: fixed._velocity(phi, time), held)
            (change,) = pull((score, jnp.ones_like(divergence_there)))
            return v, divergence, -change

        return self._integrate(velocity, (x, _zero(), jax.lax.stop_gradient(score)))

    def resize(self, lattice: Lattice) -> "Continuous":
        """Kernels are carried in displacement space, see `KernelBasis.carry`."""
        if lattice.dimension != self.lattice.dimension:
            raise InputError(
                f"Continuous: cannot be carried from {self.lattice.dimension} to {lattice.dimension} dimensions"
            )
        carry = jnp.asarray(self.kernel.carry(self.lattice, lattice), self.coefficients.dtype)
        if self.even:
            lattice.require_checkerboard()
        carried = jnp.matmul(self.coefficients, carry, precision=jax.lax.Precision.HIGHEST)
        return changed(self, lattice=lattice, coefficients=carried, offset=None)

    def l2_weights(self) -> "Continuous":
        """smoothness n^4 for the coefficients of cos(pi n t), since fast variation in time costs integration steps."""
        weights = self.smoothness * np.arange(len(self.coefficients)) ** 4.0
        weights = jnp.broadcast_to(jnp.asarray(weights)[:, None, None], self.coefficients.shape)
        return changed(self, coefficients=weights.astype(self.coefficients.dtype))

    def perturbed(self, u: Scalar) -> "Continuous":
        return changed(self, offset=u)

    @property
    def supports(self) -> frozenset[Support]:
        return frozenset({self._support})

    @property
    def _support(self) -> Support:
        return Support.EVEN if self.even else Support.ALL

    @property
    def integration_steps(self) -> int | Int[Array, ""]:
        return self.steps

    def with_integration_steps(self, steps: int | Int[Array, ""]) -> "Continuous":
        if isinstance(steps, int) and steps < 1:
            raise InputError(f"continuous.steps: must be at least 1, got {steps}")
        return changed(self, steps=steps)

    def _integrate(self, velocity: Velocity, state: Any, span: tuple[float, float] = (0.0, 1.0)) -> Any:
        return integrate(velocity, state, steps=self.steps, scheme=self.scheme, offset=self.offset, span=span)

    def _flow(self, state: tuple[Field, Scalar], time: Scalar) -> tuple[Field, Scalar]:
        return self._velocity(state[0], time)

    def _velocity(self, field: Field, time: Scalar) -> tuple[Field, Scalar]:
        """(v, div v) at one time."""
        dtype, exact = field.dtype, jax.lax.Precision.HIGHEST
        modes, basis = Modes(self.lattice), self.kernel.spectra(self.lattice)
        frequencies = jnp.asarray(np.pi * np.arange(len(self.coefficients)), time.dtype)
        at_time = jnp.einsum("n,nfj->fj", jnp.cos(frequencies * time).astype(dtype), self.coefficients, precision=exact)
        values, slopes = self.features(modes, self._held(field))
        expanded = jnp.asarray(modes.expand(basis), dtype)
        eigenvalues = jnp.einsum("fj,j...->f...", at_time, expanded, precision=exact)
        moved = self._held(modes.inverse(jnp.sum(modes.scale(modes.forward(values), eigenvalues), axis=0)))
        central = [jnp.sum(at_time * jnp.asarray(table, dtype), axis=1) for table in self._at_zero(basis)]
        if self.even:
            colors = self.lattice.parity == 0
            central = [jnp.where(colors, even, odd) for even, odd in zip(*central, strict=True)]
        else:
            (central,) = central
        weighted = functools.reduce(jnp.add, [weight * slope for weight, slope in zip(central, slopes, strict=True)])
        return moved, _rows_sum(weighted)

    def _held(self, field: Field) -> Field:
        """The field where the map acts, zero elsewhere."""
        return self._support.restrict(self.lattice, field)

    def _at_zero(self, basis: np.ndarray) -> list[np.ndarray]:
        """(K_j A_f)(0), shape (features, basis); with `even`, its parts from even and from odd displacements."""
        filters = self.features.filters(self.lattice)
        # The value at 0 is the mean over all momenta of the product of eigenvalues.
        weights = self.lattice.orbit_sizes / self.lattice.volume
        whole = np.einsum("fo,jo,o->fj", filters, basis, weights)
        if not self.even:
            return [whole]
        signed = np.einsum("fo,jo,o->fj", filters, basis[:, self.lattice.shifted_orbits], weights)
        return [(whole + signed) / 2, (whole - signed) / 2]


def _zero() -> Scalar:
    return jnp.zeros((), jax.dtypes.canonicalize_dtype(jnp.float64))


def _rows_sum(values: Field) -> Scalar:
    """Sum over sites: each row in its own precision, the sum of rows in float64 if enabled.

    Rows are summed as a product with ones, which is several times faster on a CPU than a reduction.
    """
    if values.ndim == 1:
        return site_sum(values)
    ones = jnp.ones(values.shape[-1], values.dtype)
    rows = jnp.matmul(values, ones, precision=jax.lax.Precision.HIGHEST)
    return site_sum(rows)
