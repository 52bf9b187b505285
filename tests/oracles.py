"""Exact answers that the tests compare with: free field, transfer matrix in d=1, quadrature on 2x2.

All but the last are for S = sum_x [ c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4 ], periodic, coefficients
(c1, c2, c4).
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import iv


class FreeFieldOracle:
    """c4 = 0: S = 1/2 V^-1 sum_k K(k) |phi_k|^2 with K(k) = 2 c2 + 2 c1 sum_mu cos k_mu, in any dimension."""

    def __init__(self, shape: tuple[int, ...], c1: float, c2: float):
        self.shape, self.volume = shape, int(np.prod(shape))
        cosines = [np.cos(2 * np.pi * np.arange(extent) / extent) for extent in shape]
        self.inverse_spectrum = 2 * c2 + 2 * c1 * np.asarray(sum(np.ix_(*cosines)))
        assert np.all(self.inverse_spectrum > 0)

    @property
    def log_z(self) -> float:
        return float(0.5 * np.sum(np.log(2 * np.pi / self.inverse_spectrum)))

    @property
    def propagator(self) -> np.ndarray:
        """<phi(0) phi(x)> at every x, shape `shape`."""
        return np.fft.ifftn(1 / self.inverse_spectrum).real

    def correlator(self, axis: int = 0) -> np.ndarray:
        """Zero-momentum correlator C(t) = sum over the other axes of <phi(0) phi(x)>, all L times."""
        return self.propagator.sum(axis=tuple(a for a in range(len(self.shape)) if a != axis))

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent configurations, shape (count, *shape)."""
        axes = tuple(range(1, len(self.shape) + 1))
        modes = np.fft.fftn(rng.normal(size=(count, *self.shape)), axes=axes) / np.sqrt(self.inverse_spectrum)
        return np.fft.ifftn(modes, axes=axes).real


class ChainOracle:
    """phi^4 on a ring of L sites: Z = tr T^L, T(a, b) = exp(-c1 a b - (U(a) + U(b)) / 2), U = c2 phi^2 + c4 phi^4.

    The trapezoidal rule in phi converges faster than any power for these integrands, and a uniform grid also serves
    for exact sampling: moments of the discrete variables are the integrals, to rounding.
    """

    def __init__(self, extent: int, c1: float, c2: float, c4: float, *, points: int = 300, reach: float | None = None):
        self.extent = extent
        reach = _reach(abs(c1), c2, c4) if reach is None else reach
        self.grid = np.linspace(-reach, reach, points)
        self.width = self.grid[1] - self.grid[0]
        site = c2 * self.grid**2 + c4 * self.grid**4
        exponent = -c1 * np.multiply.outer(self.grid, self.grid) - (site[:, None] + site) / 2
        self._shift = exponent.max()
        eigenvalues, states = np.linalg.eigh(np.exp(exponent - self._shift) * self.width)
        kept = np.abs(eigenvalues) > 1e-16 * np.abs(eigenvalues).max()
        self._eigenvalues, self._states = eigenvalues[kept], states[:, kept]

    @property
    def log_z(self) -> float:
        return float(self.extent * self._shift + np.log(np.sum(self._eigenvalues**self.extent)))

    def moment(self, *powers: int) -> float:
        """<phi(0)^p0 phi(1)^p1 ...> with the powers of consecutive sites from 0 on; omitted ones are 0."""
        padded = (*powers, *[0] * (self.extent - len(powers)))
        product = np.eye(len(self._eigenvalues))
        for power in padded:
            product = (product @ self._power(power)) * self._eigenvalues
        return float(np.trace(product) / np.sum(self._eigenvalues**self.extent))

    @property
    def phi2(self) -> float:
        return self.moment(2)

    @property
    def phi4(self) -> float:
        return self.moment(4)

    @property
    def two_point(self) -> np.ndarray:
        """<phi(0) phi(t)>, t = 0 ... L - 1."""
        return np.array([self.phi2, *(self.moment(1, *[0] * (t - 1), 1) for t in range(1, self.extent))])

    def magnetization_moment(self, order: int) -> float:
        """<m^order> from the power series of tr prod_x exp(s phi(x)) T, to that order in s."""
        site = [self._power(k) * self._eigenvalues / math.factorial(k) for k in range(order + 1)]
        series = site
        for _ in range(self.extent - 1):
            series = [sum(series[i] @ site[k - i] for i in range(k + 1)) for k in range(order + 1)]
        coefficient = np.trace(series[order]) / np.trace(series[0])
        return float(coefficient * math.factorial(order) / self.extent**order)

    @property
    def magnetization_squared(self) -> float:
        return self.magnetization_moment(2)

    @property
    def binder(self) -> float:
        return 1 - self.magnetization_moment(4) / (3 * self.magnetization_squared**2)

    @property
    def abs_magnetization(self) -> float:
        """<|m|> = (2/pi) int_0^inf (1 - <cos s m>) / s^2 ds, Gauss-Legendre up to where <cos s m> has died out."""
        nodes, weights = np.polynomial.legendre.leggauss(200)
        top = 30.0 / math.sqrt(self.magnetization_squared)
        s, weights = top * (nodes + 1) / 2, top * weights / 2
        steps = [(self._states.T * np.exp(1j * each * self.grid / self.extent)) @ self._states for each in s]
        cosine = [np.trace(np.linalg.matrix_power(step * self._eigenvalues, self.extent)).real for step in steps]
        cosine = np.array(cosine) / np.sum(self._eigenvalues**self.extent)
        return float(2 / np.pi * (np.sum(weights * (1 - cosine) / s**2) + 1 / top))

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Independent configurations, shape (count, L), site by site from the exact conditional distributions."""
        transfer = (self._states * self._eigenvalues) @ self._states.T
        remaining = [(self._states * self._eigenvalues**k) @ self._states.T for k in range(self.extent + 1)]
        sites = [_draw(rng, np.broadcast_to(np.diag(remaining[-1]), (count, len(self.grid))))]
        for t in range(1, self.extent):
            sites.append(_draw(rng, transfer[sites[-1]] * remaining[self.extent - t][:, sites[0]].T))
        return self.grid[np.stack(sites, axis=1)]

    def _power(self, power: int) -> np.ndarray:
        """phi^power between the eigenstates of T."""
        return (self._states.T * self.grid**power) @ self._states


class SquareMoments(NamedTuple):
    """Exact means on the 2x2 lattice, V = 4, named as the observables are."""

    log_z: float
    phi2: float
    phi4: float
    ising_energy: float
    susceptibility: float
    abs_magnetization: float
    binder: float
    action_density: float


def square_lattice(c1: float, c2: float, c4: float, *, points: int = 40) -> SquareMoments:
    """2x2 by direct quadrature over the four sites; the link x -> x + mu counts twice, as sum_x sum_mu says."""
    reach = _reach(2 * abs(c1), c2, c4)
    grid = np.linspace(-reach, reach, points)
    a, b, c, d = np.ix_(grid, grid, grid, grid)
    links = 2 * (a * b + c * d + a * c + b * d)
    sites2, sites4 = a**2 + b**2 + c**2 + d**2, a**4 + b**4 + c**4 + d**4
    action = c1 * links + c2 * sites2 + c4 * sites4
    lowest = action.min()
    weight = np.exp(lowest - action)
    total = weight.sum()
    m = (a + b + c + d) / 4

    def mean(values: np.ndarray) -> float:
        return float(np.sum(weight * values) / total)

    m2, m4 = mean(m**2), mean(m**4)
    return SquareMoments(
        log_z=float(np.log(total) - lowest + 4 * np.log(grid[1] - grid[0])),
        phi2=mean(sites2) / 4,
        phi4=mean(sites4) / 4,
        ising_energy=mean(links) / 8,
        susceptibility=4 * m2,
        abs_magnetization=_mean_modulus(weight, grid),
        binder=1 - m4 / (3 * m2**2),
        action_density=mean(action) / 4,
    )


def _mean_modulus(weight: np.ndarray, grid: np.ndarray) -> float:
    """<|m|> on 2x2: the sum over the grid, corrected for the kink of |m| as Euler and Maclaurin say."""
    points, width = len(grid), grid[1] - grid[0]
    index = sum(np.ix_(*[np.arange(points)] * 4))
    density = np.bincount(np.ravel(index), weights=np.ravel(weight))
    total = np.arange(len(density)) * width + 4 * grid[0]
    plain = np.sum(density * np.abs(total)) / density.sum()
    # sum_j |x_j| p(x_j) h with the kink on a node or half-way between two: -h^2 p(0) / 6 and + h^2 p(0) / 12.
    center = np.interp(0.0, total, density) / (density.sum() * width)
    on_node = np.min(np.abs(total)) < 1e-9
    return float((plain + width**2 * center * (1 / 6 if on_node else -1 / 12)) / 4)


def _reach(link: float, c2: float, c4: float) -> float:
    """Where the weight of a site, with neighbors as large as itself, has fallen to exp(-50)."""
    candidates = np.linspace(0.1, 60.0, 6000)
    exponent = (c2 - link) * candidates**2 + c4 * candidates**4
    return float(candidates[np.argmax(exponent - exponent.min() > 50)])


def _draw(rng: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """An index for each row of weights."""
    cumulative = np.cumsum(weights, axis=1)
    return np.argmax(cumulative > rng.random((len(weights), 1)) * cumulative[:, -1:], axis=1)


class XYChainOracle:
    """The XY ring of L sites by its transfer matrix: its eigenvalues are 2 pi I_l(beta), l = 0, +-1, +-2, ...

    Args:
        extent: L.
        beta: the coupling.
        reach: eigenvalues up to this |l|.
    """

    def __init__(self, extent: int, beta: float, *, reach: int = 60):
        self.extent = extent
        orders = np.arange(-reach, reach + 1)
        eigenvalues = iv(orders, beta)
        self.log_z = extent * np.log(2 * np.pi) + np.log(np.sum(eigenvalues**extent))
        total, raised = np.sum(eigenvalues**extent), iv(orders + 1, beta)
        # cos raises or lowers l on the links between the two sites.
        self.correlator = np.array(
            [np.sum(eigenvalues ** (extent - r) * raised**r) / total for r in range(extent)]
        )  # fmt: skip
        """<cos(theta(0) - theta(r))> at r = 0 ... L - 1."""

    @property
    def energy(self) -> float:
        """<cos(theta(x) - theta(x+1))>."""
        return float(self.correlator[1])

    def effective_mass(self, t: int) -> float:
        """arccosh((C(t-1) + C(t+1)) / 2 C(t))."""
        return float(np.arccosh((self.correlator[t - 1] + self.correlator[t + 1]) / (2 * self.correlator[t])))

    @property
    def susceptibility(self) -> float:
        """V <m . m>."""
        return float(self.correlator.sum())
