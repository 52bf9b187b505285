import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trivmap import InputError, Lattice
from trivmap.bijections import Chain, FourierDiagonal, Rescale, ZeroMode

LATTICE = Lattice((3,))
X = jnp.asarray([0.3, -0.8, 1.1])


@jax.jit
def forward(bijection, x):
    return bijection.forward(x)


def rescale(factor):
    part = Rescale(LATTICE, dtype="float64")
    object.__setattr__(part, "log_scale", jnp.log(factor))
    return part


def test_empty_chain_is_the_identity():
    chain = Chain(LATTICE, [])
    for y, log_det in (chain.forward(X), chain.inverse(X)):
        np.testing.assert_array_equal(y, X)
        assert log_det == 0.0
    _, _, score = chain.forward_with_score(X, 2 * X)
    np.testing.assert_array_equal(score, 2 * X)


def test_maps_act_in_their_order():
    """Tripling and a bounded monotone map of the mean do not commute."""
    bend = ZeroMode(LATTICE, bins=4, interval=1.0, dtype="float64")
    object.__setattr__(bend, "even", jnp.asarray([1.0, -1.0, 0.5, 0.0, 1.0, -1.0][: bend.even.size]))
    triple = rescale(3.0)
    (y, log_det), (other, _) = (forward(Chain(LATTICE, maps), X) for maps in ([triple, bend], [bend, triple]))
    bent, bent_log_det = forward(bend, 3 * X)
    np.testing.assert_allclose(y, bent, rtol=1e-14)
    assert float(log_det) == pytest.approx(float(bent_log_det) + 3 * np.log(3.0), rel=1e-14)
    assert np.max(np.abs(other - y)) > 1e-2


def test_stages_carry_the_log_det_so_far():
    chain = Chain(LATTICE, [rescale(3.0), rescale(0.5), Chain(LATTICE, [rescale(2.0)])])
    stages = list(chain.stages(X))
    np.testing.assert_allclose([float(log_det) for _, _, log_det in stages], 3 * np.log([3.0, 1.5, 3.0]), rtol=1e-14)
    for (_, field, _), factor in zip(stages, (3.0, 1.5, 3.0), strict=True):
        np.testing.assert_allclose(field, factor * X, rtol=1e-14)
    assert len({name for name, _, _ in stages}) == 3


def test_maps_of_other_lattices_are_refused():
    with pytest.raises(
        InputError, match=r"chain: map 1 lives on lattice \[4\], the chain on \[3\]; they must be the same"
    ):
        Chain(LATTICE, [rescale(2.0), Rescale(Lattice((4,)), dtype="float64")])


@pytest.mark.parametrize("mass_squared", [0.0, -1.0, np.nan, np.inf])
def test_fourier_map_refuses_masses_without_a_spectrum(mass_squared):
    with pytest.raises(InputError, match=rf"^mass_squared: must be .*, got {mass_squared}"):
        FourierDiagonal(LATTICE, mass_squared=mass_squared, dtype="float32")
