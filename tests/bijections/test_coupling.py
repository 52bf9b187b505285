"""What a checkerboard coupling must do beyond the contract of every bijection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.maps import filled
from trivmap import InputError, Lattice
from trivmap.bijections import Additive, Affine, Chain, ConvolutionalNetwork, Coupling, DenseNetwork, Spline

KEY = jax.random.key(0)
TRANSFORMERS = {"additive": Additive(), "affine": Affine(), "spline": Spline(3, 2.0)}


def coupling(shape, transformer, kind, active, z2=True):
    lattice = Lattice(shape)
    network = DenseNetwork((2,)) if kind == "dense" else ConvolutionalNetwork((2,))
    options = {"active": active, "z2": z2, "dtype": "float64", "key": KEY}

    def make():
        return Coupling(lattice, active, transformer, network.conditioner(lattice, transformer, **options))

    return filled(make, 0.5)


@jax.jit
def forward(coupling, x):
    return coupling.forward(x)


@jax.jit
def derivative(coupling, x):
    return jax.jacfwd(lambda x: coupling.forward(x)[0])(x)


@pytest.mark.parametrize(
    ("transformer", "kind", "active"), [("additive", "dense", 1), ("affine", "conv", 0), ("spline", "conv", 1)]
)
def test_only_the_active_color_moves_and_each_site_by_itself(transformer, kind, active):
    it = coupling((4,), TRANSFORMERS[transformer], kind, active)
    x = jnp.asarray([0.3, -0.8, 1.1, 0.6])
    y, _ = forward(it, x)
    jacobian = np.asarray(derivative(it, x))
    moving = it.lattice.parity == active
    np.testing.assert_array_equal(y[~moving], x[~moving])
    assert np.min(np.abs(y - x)[moving]) > 1e-3
    among_active = jacobian[np.ix_(moving, moving)]
    np.testing.assert_allclose(among_active, np.diag(np.diag(among_active)), atol=1e-15)
    assert np.max(np.abs(jacobian[np.ix_(moving, ~moving)])) > 1e-3


@pytest.mark.parametrize("active", [0, 1])
def test_log_det_of_a_convolutional_coupling_counts_active_sites_only(active):
    """Mistake seen in earlier codes: its sum ran over the frozen sites too. Here by hand, from the moved field."""
    it = coupling((4, 4), Affine(), "conv", active)
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 4)))
    shifted = x + jnp.asarray(0.25 * (it.lattice.parity == active))
    (y, log_det), (other, _) = forward(it, x), forward(it, shifted)
    # y = x e^s + t with s and t unchanged: s from a difference at every active site.
    log_slopes = np.log(np.asarray(other - y)[it.lattice.parity == active] / 0.25)
    assert log_slopes.shape == (8,)
    assert float(log_det) == pytest.approx(log_slopes.sum(), abs=1e-12)
    assert abs(log_det) > 0.1


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_z2_affine_has_odd_shift_and_even_scale(kind):
    it = coupling((4,), Affine(), kind, 0)
    x = jnp.asarray([0.3, -0.8, 1.1, 0.6])
    origin = x * jnp.asarray([0.0, 1.0, 0.0, 1.0])  # active sites at zero: what comes out is the shift
    shift, log_det = forward(it, origin)
    mirrored, mirrored_log_det = forward(it, -origin)
    np.testing.assert_allclose(mirrored, -shift, atol=1e-15)
    assert mirrored_log_det == log_det
    assert np.min(np.abs(shift[::2])) > 1e-3
    assert abs(log_det) > 1e-3


@pytest.mark.parametrize("shape", [(3,), (4, 5), (3, 4)])
@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_odd_extents_are_refused(shape, kind):
    with pytest.raises(InputError, match=r"lattice: a checkerboard needs every extent even.*use even extents"):
        coupling(shape, Affine(), kind, 0)


def test_resize_to_odd_extents_is_refused():
    with pytest.raises(InputError, match=r"lattice: a checkerboard needs every extent even, but \[4, 5\] has 5"):
        coupling((4, 4), Affine(), "conv", 0).resize(Lattice((4, 5)))


def test_resize_to_another_dimension_is_refused():
    with pytest.raises(
        InputError, match=r"coupling: .*dimension 2 cannot be carried to \[4\]; name a lattice of the same"
    ):
        coupling((4, 4), Affine(), "conv", 0).resize(Lattice((4,)))


@pytest.mark.parametrize("active", [-1, 2])
def test_unknown_color_is_refused(active):
    with pytest.raises(InputError, match=rf"coupling\.active: must be 0 .* or 1 .*, got {active}"):
        coupling((4,), Affine(), "dense", active)


def test_conditioner_of_the_other_color_is_refused():
    lattice = Lattice((4,))
    options = {"active": 1, "z2": True, "dtype": "float32", "key": KEY}
    conditioner = ConvolutionalNetwork((2,)).conditioner(lattice, Affine(), **options)
    with pytest.raises(InputError, match=r"coupling\.active: is 0, but the conditioner was made for active=1"):
        Coupling(lattice, 0, Affine(), conditioner)


@pytest.mark.parametrize("kinds", [("dense", "dense"), ("dense", "conv")])
def test_couplings_in_a_row_do_what_each_does(kinds):
    """Among dense networks alone the colors are passed on flat, beside a convolution in their shape."""
    maps = [coupling((4, 4), Affine(), kind, active, z2=False) for active, kind in enumerate(kinds)]
    x, score = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4, 4)))
    y, log_det, moved = Chain(Lattice((4, 4)), maps).forward_with_score(x, score)
    expected, total = (x, score), 0.0
    for each in maps:
        field, term, new = each.forward_with_score(*expected)
        expected, total = (field, new), total + term
    np.testing.assert_allclose(y, expected[0], rtol=1e-12)
    np.testing.assert_allclose(moved, expected[1], rtol=1e-12)
    assert float(log_det) == pytest.approx(float(total), rel=1e-12)
