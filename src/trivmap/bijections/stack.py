"""Checkerboard couplings in a row, as architectures use them."""

import jax
from jaxtyping import DTypeLike

from trivmap._types import Key
from trivmap.arguments import CheckerboardLattice, Count, Positive, bounded
from trivmap.bijections.architectures import AbstractArchitecture
from trivmap.bijections.chain import Chain
from trivmap.bijections.coupling import Coupling
from trivmap.bijections.spline import Bins, Spline
from trivmap.bijections.transformers import AbstractTransformer, Additive, Affine
from trivmap.lattice import Lattice


def coupling_stack(
    lattice: Lattice,
    transformer: AbstractTransformer,
    count: int,
    network: AbstractArchitecture,
    *,
    z2: bool = True,
    dtype: DTypeLike,
    key: Key,
) -> Chain:
    """Couplings of alternating color, even sites first, each with its own network; they start as the identity.

    Args:
        lattice: the lattice, its extents even.
        transformer: the transformation of the sites that move.
        count: the number of couplings; two make one `Chain` of the result.
        network: the architecture of their networks.
        z2: whether every coupling is exactly odd.
        dtype: the precision of the parameters.
        key: for the initial weights.

    Raises `InputError` for an odd extent.
    """
    made = []
    for index in range(count):
        options = {"active": index % 2, "z2": z2, "dtype": dtype, "key": jax.random.fold_in(key, index)}
        made.append(Coupling(lattice, index % 2, transformer, network.conditioner(lattice, transformer, **options)))
    return Chain(lattice, [Chain(lattice, made[start : start + 2]) for start in range(0, count, 2)])


@bounded
def additive(
    lattice: CheckerboardLattice,
    *,
    couplings: Count,
    z2: bool = True,
    network: AbstractArchitecture,
    dtype: DTypeLike,
    key: Key,
) -> Chain:
    """Additive couplings, y = x + t, on one color of the checkerboard at a time (NICE, arXiv:1410.8516).

    Args:
        lattice: the lattice, its extents even.
        couplings: the number of couplings, for example 8; the color alternates, each has a network of its own
        z2: exactly odd: t odd in the frozen field
        network: a section such as {kind: conv, hidden: [8, 8]}
        dtype: the precision of the parameters.
        key: for the initial weights.

    Raises `InputError` for fewer than one coupling, and for an odd extent.
    """
    return coupling_stack(lattice, Additive(), couplings, network, z2=z2, dtype=dtype, key=key)


@bounded
def affine(
    lattice: CheckerboardLattice,
    *,
    couplings: Count,
    z2: bool = True,
    network: AbstractArchitecture,
    dtype: DTypeLike,
    key: Key,
) -> Chain:
    """Affine couplings, y = x e^s + t, on one color of the checkerboard at a time (real NVP, arXiv:1605.08803).

    Args:
        lattice: the lattice, its extents even.
        couplings: the number of couplings, for example 8; the color alternates, each has a network of its own
        z2: exactly odd: t odd and s even in the frozen field
        network: a section such as {kind: conv, hidden: [8, 8]}
        dtype: the precision of the parameters.
        key: for the initial weights.

    Raises `InputError` for fewer than one coupling, and for an odd extent.
    """
    return coupling_stack(lattice, Affine(), couplings, network, z2=z2, dtype=dtype, key=key)


@bounded
def spline(
    lattice: CheckerboardLattice,
    *,
    couplings: Count,
    z2: bool = True,
    network: AbstractArchitecture,
    bins: Bins = 8,
    interval: Positive = 5.0,
    dtype: DTypeLike,
    key: Key,
) -> Chain:
    """Couplings by monotone rational-quadratic splines (arXiv:1906.04032).

    Args:
        lattice: the lattice, its extents even.
        couplings: the number of couplings, for example 8; the color alternates, each has a network of its own
        z2: exactly odd, jointly in active and frozen field
        network: a section such as {kind: conv, hidden: [8, 8]}
        bins: bins of each spline, from 2 to 500
        interval: the spline acts on [-interval, interval], outside it is the identity; in units of the field
        dtype: the precision of the parameters.
        key: for the initial weights.

    Raises `InputError` for an argument out of bounds, and for an odd extent.
    """
    return coupling_stack(lattice, Spline(bins, interval), couplings, network, z2=z2, dtype=dtype, key=key)
