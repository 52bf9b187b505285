"""Compiled kernels on the host: embedded Ising clusters and local Metropolis updates of a nearest-neighbor field.

S = sum_x [ c1 sum_mu phi(x) phi(x+mu) + c2 phi^2 + c4 phi^4 ] with c1 < 0, on a periodic lattice of any dimension. A
field is an array (rows, L) of float64, L the last extent; `back` and `ahead`, (rows, d - 1), are the indices of the
neighboring rows along each of the other axes. All code is in one file, because numba's cache on disk does not notice
changes in other files. Only `trivmap.samplers.cluster` imports this module, on first use.
"""

import functools
import inspect
import math

import numba
import numpy as np

SWENDSEN_WANG = -1
"""For `clusters` in `run`: all clusters, each flipped with probability 1/2. 0 means none, n > 0 n single clusters."""

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ALTERNATING = np.uint64(0xAAAAAAAAAAAAAAAA)
_S1, _S12, _S27, _S30, _S31, _S63 = (np.uint64(shift) for shift in (1, 12, 27, 30, 31, 63))
_ONE, _ZERO = np.uint64(1), np.uint64(0)
_STEP = 2.0**-52
# exp(-40) is below the smallest uniform number, 2^-53, so larger exponents give the same decisions.
_LARGEST_EXPONENT = 40.0


def _inner(function):
    return numba.njit(nogil=True, error_model="numpy")(inspect.unwrap(function))


def _entry(function):
    """A kernel called from Python; its machine code is cached on disk if there is a writable place."""
    plain = inspect.unwrap(function)
    try:
        kernel = numba.njit(nogil=True, error_model="numpy", cache=True)(plain)
    except RuntimeError:  # numba found no such place
        kernel = numba.njit(nogil=True, error_model="numpy")(plain)

    @functools.wraps(plain)
    def call(*arguments):
        try:
            return kernel(*arguments)
        except OSError:  # for example, the disk is full; the compiled kernel exists all the same, and has not run yet
            return kernel(*arguments)

    return call


@_inner
def mix(z):
    """The finalizer of SplitMix64 (doi:10.1145/2660193.2660195): a bijection of 64 bits whose output looks random."""
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@_inner
def stream(seed, chain, step):
    """Start and increment of the SplitMix64 generator of one step of one chain."""
    hashed = mix(mix(mix(seed + _WEYL) + chain * _WEYL) + step * _WEYL)
    gamma = mix(hashed + _WEYL) | _ONE
    # An increment with few bit changes makes a poor generator; this is the rule of SplitMix64.
    changes, count = gamma ^ (gamma >> _S1), 0
    while changes != _ZERO:
        changes &= changes - _ONE
        count += 1
    return hashed, gamma ^ _ALTERNATING if count < 24 else gamma


@_inner
def uniform(bits):
    """A number of (0, 1) on a grid symmetric about 1/2, from 64 random bits: 52 of them, so that none rounds to 1."""
    return (np.float64(np.int64(bits >> _S12)) + 0.5) * _STEP


@_inner
def fill(out, count, counter, gamma):
    """Draw `count` uniform numbers; returns the generator's counter after them."""
    for i in range(count):
        out[i] = uniform(mix(counter + gamma * np.uint64(i)))
    return counter + gamma * np.uint64(count)


@_inner
def decay(x):
    """exp(-x) for x >= 0, to 1e-14 absolute: the Taylor series of exp(-x/64), squared six times; x is cut at 40.

    It has no branches or tables, so that loops over sites become vector instructions.
    """
    y = min(max(x, 0.0), _LARGEST_EXPONENT) * (-1 / 64)
    square = y * y
    high = (1 / 720 + y * (1 / 5040)) + square * (1 / 40320 + y * (1 / 362880))
    p = (1.0 + y) + square * ((1 / 2 + y * (1 / 6)) + square * ((1 / 24 + y * (1 / 120)) + square * high))
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p


@_inner
def hit(x, sums, draws, count, width, c1, c2, c4):
    """One Metropolis test of `count` sites that do not touch each other; returns the number accepted."""
    accepted = 0
    for i in range(count):
        change = width * (draws[i] - 0.5)
        y = x[i] + change
        cost = change * (c1 * sums[i] + (x[i] + y) * (c2 + c4 * (x[i] * x[i] + y * y)))
        taken = draws[count + i] < decay(cost)
        x[i] = y if taken else x[i]
        accepted += np.int64(taken)
    return accepted


@_inner
def sweep(field, back, ahead, c1, c2, c4, width, hits, rest, sums, x, draws, counter, gamma):
    """`hits` Metropolis tests of every site, row by row: every second site, then those in between.

    The last site of a row of odd length neighbors the first, and is updated alone.
    """
    rows, extent = field.shape
    accepted = 0
    for r in range(rows):
        row = field[r]
        rest[:] = 0.0
        for mu in range(back.shape[1]):
            one, other = field[back[r, mu]], field[ahead[r, mu]]
            for j in range(extent):
                rest[j] += one[j] + other[j]
        for part in range(2 + extent % 2):
            first, count = (part, extent // 2) if part < 2 else (extent - 1, 1)
            for i in range(count):
                j = first + 2 * i
                x[i] = row[j]
                left = row[j - 1] if j > 0 else row[extent - 1]
                right = row[j + 1] if j < extent - 1 else row[0]
                sums[i] = rest[j] + left + right
            for _ in range(hits):
                counter = fill(draws, 2 * count, counter, gamma)
                accepted += hit(x, sums, draws, count, width, c1, c2, c4)
            for i in range(count):
                row[first + 2 * i] = x[i]
    return accepted, counter


@_inner
def activate(field, ahead, coupling, bonds, products, draws, counter, gamma):
    """Bonds of probability 1 - exp(-coupling phi_x phi_y) on links of equal signs, (d, rows, L).

    `bonds[0, r, j]` joins j to j + 1 of row r, `bonds[1 + mu, r, j]` joins row r to `ahead[r, mu]`. At extent 2 each of
    the two links of a pair has its own bond.
    """
    rows, extent = field.shape
    for r in range(rows):
        row = field[r]
        for axis in range(bonds.shape[0]):
            if axis == 0:
                for j in range(extent - 1):
                    products[j] = row[j] * row[j + 1]
                products[extent - 1] = row[extent - 1] * row[0]
            else:
                other = field[ahead[r, axis - 1]]
                for j in range(extent):
                    products[j] = row[j] * other[j]
            counter = fill(draws, extent, counter, gamma)
            out = bonds[axis, r]
            for j in range(extent):
                out[j] = draws[j] > decay(coupling * products[j])
    return counter


@_inner
def join(parent, a, b):
    """Unite the clusters of two sites; a root is the lowest site of its cluster."""
    if parent[a] == parent[b]:
        return
    while parent[a] != a:
        parent[a] = parent[parent[a]]
        a = parent[a]
    while parent[b] != b:
        parent[b] = parent[parent[b]]
        b = parent[b]
    parent[max(a, b)] = min(a, b)


@_inner
def flip_all(field, ahead, bonds, parent, signs, sizes, counter, gamma):
    """Flip each cluster of the bonds with probability 1/2; returns sum of size^2, number of clusters, and counter."""
    rows, extent = field.shape
    for r in range(rows):
        start = r * extent
        parent[start] = start
        for j in range(1, extent):
            parent[start + j] = parent[start + j - 1] if bonds[0, r, j - 1] else start + j
        if bonds[0, r, extent - 1]:
            join(parent, start, start + extent - 1)
    for mu in range(ahead.shape[1]):
        for r in range(rows):
            start, other, row = r * extent, ahead[r, mu] * extent, bonds[1 + mu, r]
            for j in range(extent):
                if row[j]:
                    join(parent, start + j, other + j)
    flat = field.reshape(-1)
    clusters = weight = 0
    for i in range(flat.size):
        root = parent[i]
        if root == i:
            signs[i] = 1.0 - 2.0 * np.float64(np.int64(mix(counter + gamma * np.uint64(i)) >> _S63))
            sizes[i] = 0
            clusters += 1
        else:
            # Parents are lower sites, which already point to their roots.
            root = parent[root]
            parent[i] = root
        weight += 2 * sizes[root] + 1
        sizes[root] += 1
        flat[i] *= signs[root]
    return weight, clusters, counter + gamma * np.uint64(flat.size)


@_inner
def flip_one(flat, neighbors, coupling, stack, counter, gamma):
    """Grow a cluster from a random site and flip it (Wolff, doi:10.1103/PhysRevLett.62.361); returns its size."""
    site = int(uniform(mix(counter)) * flat.size)
    counter += gamma
    flat[site] = -flat[site]
    stack[0] = site
    pending = size = 1
    while pending:
        pending -= 1
        site = stack[pending]
        for k in range(neighbors.shape[1]):
            other = neighbors[site, k]
            product = -coupling * flat[site] * flat[other]
            if product > 0:
                if uniform(mix(counter)) > decay(product):
                    flat[other] = -flat[other]
                    stack[pending] = other
                    pending += 1
                    size += 1
                counter += gamma
    return size, counter


@_entry
def run(field, back, ahead, neighbors, c1, c2, c4, clusters, sweeps, hits, width, seed, chain, start, stop, out, info):
    """Steps `start` <= i < `stop` of a chain on `field`, in place: clusters, then Metropolis sweeps.

    `out` (stop - start, V), or of length 0: the field after each step. `info` (stop - start, 3), integers: Metropolis
    proposals accepted; the sum of size^2 over all clusters (Swendsen-Wang) or of size over those grown; clusters.
    """
    rows, extent = field.shape
    volume = rows * extent
    flat = field.reshape(-1)
    rest, sums, x, draws = np.empty(extent), np.empty(extent), np.empty(extent), np.empty(2 * extent)
    bonds = np.empty((1 + ahead.shape[1], rows, extent), np.bool_)
    parent, sizes, signs = np.empty(volume, np.int32), np.empty(volume, np.int64), np.empty(volume)
    for k in range(stop - start):
        counter, gamma = stream(seed, chain, np.uint64(start + k))
        grown = weight = accepted = 0
        if clusters == SWENDSEN_WANG:
            counter = activate(field, ahead, -2.0 * c1, bonds, rest, draws, counter, gamma)
            weight, grown, counter = flip_all(field, ahead, bonds, parent, signs, sizes, counter, gamma)
        for _ in range(clusters):
            size, counter = flip_one(flat, neighbors, -2.0 * c1, parent, counter, gamma)
            weight += size
            grown += 1
        for _ in range(sweeps):
            taken, counter = sweep(field, back, ahead, c1, c2, c4, width, hits, rest, sums, x, draws, counter, gamma)
            accepted += taken
        info[k, 0], info[k, 1], info[k, 2] = accepted, weight, grown
        if out.shape[0] > 0:
            out[k] = flat


@_entry
def scatter(flat, scale, seed, chain, step):
    """A hot start: Gaussian numbers of standard deviation `scale` (Box-Muller)."""
    counter, gamma = stream(seed, chain, step)
    for i in range(flat.size):
        radius = math.sqrt(-2.0 * math.log(uniform(mix(counter))))
        flat[i] = scale * radius * math.cos(2.0 * math.pi * uniform(mix(counter + gamma)))
        counter += gamma + gamma
