"""Ways to apply a translation-invariant kernel to the features of a field, y = sum_f W_f * h_f, on one core.

`fft` and `matrix` are those of `trivmap.fourier.Modes`; `axes` is the matrix's product form, one L x L matrix per axis;
`circulant` is one V x (f V) matrix, written out again for the coefficients of every call; `slices` sums shifted windows
of the wrapped field, and is for kernels of compact support only: its time is for |dx|, |dy| <= 1, and those of the
others hold for every kernel. All give the same to rounding, which is checked here first.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.clock import in_turn, medians
from experiments.benchmarks.options import benchmark
from experiments.benchmarks.results import keep
from trivmap import fourier
from trivmap.bijections import KernelBasis
from trivmap.fourier import Modes
from trivmap.lattice import Lattice

PACKAGES = ("trivmap", "jax", "jaxlib", "numpy")
RADIUS = 1
LARGEST_MATRIX = 400
"""Sites above which the V x V matrices are left out: they lose by more than a factor of two there."""
EXACT = jax.lax.Precision.HIGHEST
Apply = Callable[[jax.Array, jax.Array], jax.Array]


def with_modes(lattice: Lattice, method: str) -> Apply:
    """As the library does it: eigenvalues from the coefficients, modes of all features, one field back."""
    modes = Modes(lattice, method)
    basis = jnp.asarray(modes.expand(KernelBasis(RADIUS, ()).spectra(lattice)), jnp.float32)

    def one(coefficients, values):
        eigenvalues = jnp.einsum("fj,j...->f...", coefficients, basis, precision=EXACT)
        return modes.inverse(jnp.sum(modes.scale(modes.forward(values), eigenvalues), axis=0))

    return jax.vmap(one, in_axes=(None, 0))


def with_axes(lattice: Lattice) -> Apply:
    """The orthogonal matrix of cosines and sines, axis after axis; two axes of one extent."""
    matrix, momenta = (np.asarray(x) for x in fourier._real_modes(lattice.shape[0]))
    matrix = jnp.asarray(matrix, jnp.float32)
    labels = lattice.orbits[np.ix_(momenta, momenta)]
    basis = jnp.asarray(KernelBasis(RADIUS, ()).spectra(lattice)[:, labels], jnp.float32)

    def both(fields, matrix):
        for _ in range(2):
            fields = jnp.swapaxes(jnp.matmul(fields, matrix, precision=EXACT), -1, -2)
        return fields

    def apply(coefficients, values):
        eigenvalues = jnp.einsum("fj,jxy->fxy", coefficients, basis, precision=EXACT)
        return both(jnp.sum(both(values, matrix.T) * eigenvalues, axis=1), matrix)

    return apply


def with_circulant(lattice: Lattice) -> Apply:
    """One matrix of all displacements."""
    kernels = KernelBasis(RADIUS, ())
    shifts = np.array([np.unravel_index(n, lattice.shape) for n in range(lattice.volume)])
    difference = (shifts[:, None] - shifts[None]) % np.array(lattice.shape)
    labels = lattice.orbits[tuple(np.moveaxis(difference, -1, 0))]
    place = np.full(len(lattice.orbit_sizes), len(kernels.orbits(lattice)))
    place[kernels.orbits(lattice)] = np.arange(len(kernels.orbits(lattice)))
    norms = jnp.asarray(1 / np.sqrt(lattice.orbit_sizes[kernels.orbits(lattice)]), jnp.float32)

    def apply(coefficients, values):
        entries = jnp.pad(coefficients * norms, ((0, 0), (0, 1)))
        matrix = jnp.swapaxes(entries[:, place[labels]], 1, 2).reshape(-1, lattice.volume)
        flat = jnp.matmul(values.reshape(len(values), -1), matrix, precision=EXACT)
        return flat.reshape(-1, *lattice.shape)

    return apply


def with_slices(lattice: Lattice) -> Apply:
    """Features are mixed into one field per orbit, of which windows of the wrapped copy are summed."""
    orbits = KernelBasis(RADIUS, ()).orbits(lattice)
    norms = jnp.asarray(1 / np.sqrt(lattice.orbit_sizes[orbits]), jnp.float32)
    steps = range(-RADIUS, RADIUS + 1)
    shifts = [[(a, b) for a in steps for b in steps if lattice.orbits[a, b] == orbit] for orbit in orbits]
    height, width = lattice.shape

    def apply(coefficients, values):
        mixed = jnp.einsum("fj,bfxy->jbxy", coefficients * norms, values, precision=EXACT)
        wrapped = jnp.pad(mixed, ((0, 0), (0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)), mode="wrap")
        total = jnp.zeros_like(mixed[0])
        for j, displacements in enumerate(shifts):
            for a, b in displacements:
                total += wrapped[j, :, RADIUS + a : RADIUS + a + height, RADIUS + b : RADIUS + b + width]
        return total

    return apply


def table(extent: int, features: int, rounds: int) -> dict:
    """Nanoseconds per site and configuration of each way."""
    lattice = Lattice((extent, extent))
    ways = {"fft": with_modes(lattice, "fft"), "axes": with_axes(lattice), "slices": with_slices(lattice)}
    if lattice.volume <= LARGEST_MATRIX:
        ways |= {"matrix": with_modes(lattice, "matrix"), "circulant": with_circulant(lattice)}
    batch = max(16, 2**14 // lattice.volume)
    rng = np.random.default_rng(extent)
    values = jnp.asarray(rng.normal(size=(batch, features, extent, extent)), jnp.float32)
    orbits = len(KernelBasis(RADIUS, ()).orbits(lattice))
    coefficients = jnp.asarray(rng.normal(size=(features, orbits)), jnp.float32)
    compiled = {name: partial(jax.jit(way), coefficients, values) for name, way in ways.items()}
    expected = np.asarray(compiled["fft"]())
    for name, call in compiled.items():
        np.testing.assert_allclose(call(), expected, atol=1e-5 * np.abs(expected).max(), err_msg=name)
    turns = in_turn(compiled, rounds=rounds, least=0.02)
    cost = {name: 1e9 * medians(turns[name]).processor / (batch * lattice.volume) for name in ways}
    return {
        "extent": extent,
        "features": features,
        "batch": batch,
        "chosen": Modes(lattice).method,
        "nanoseconds": cost,
    }


def main(arguments: list[str]) -> None:
    """Measure, print and keep."""
    parser = benchmark("kernels", __doc__)
    parser.add_argument("--quick", action="store_true", help="two sizes, two rounds; nothing is kept")
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which every way takes its turn")
    options = parser.parse_args(arguments)
    extents = (4, 8) if options.quick else (4, 6, 8, 10, 12, 16, 32, 64)
    names = ("matrix", "circulant", "axes", "fft", "slices")
    print("processor nanoseconds per site and configuration; slices: radius 1 only")
    print(f"{'L':>4} {'features':>9}" + "".join(f"{name:>11}" for name in names) + "   the library's choice")
    entries = []
    for extent in extents:
        for features in (4, 8, 16):
            entry = table(extent, features, 2 if options.quick else options.rounds)
            cells = [entry["nanoseconds"].get(name) for name in names]
            row = "".join(f"{'':>11}" if cell is None else f"{cell:11.1f}" for cell in cells)
            print(f"{extent:4d} {features:9d}{row}   {entry['chosen']}", flush=True)
            entries.append(entry)
    if not options.quick:
        keep("kernels", PACKAGES, {"radius": RADIUS, "cases": entries})
