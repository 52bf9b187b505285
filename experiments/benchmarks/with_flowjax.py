"""The dense network in flowjax, in the forms a user of it might choose."""

import equinox as eqx
import flowjax.bijections as bij
import jax
import jax.numpy as jnp
import paramax
from flowjax.distributions import StandardNormal, Transformed
from flowjax.flows import coupling_flow
from flowjax.train.losses import ElboLoss

from experiments.benchmarks.cases import COUPLING_LAYERS, Case, Program, action, adam_loop


def _affine() -> bij.AbstractBijection:
    """y = x e^s + t."""
    return eqx.tree_at(lambda a: a.scale, bij.Affine(), paramax.Parameterize(jnp.exp, jnp.zeros(())))


def _elbo(case: Case, steps: int, flow: Transformed) -> Program:
    shape = (case.extent, case.extent)
    loss = ElboLoss(lambda field: -action(field.reshape(shape)), case.batch)
    parameters, static = eqx.partition(
        flow, eqx.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    return adam_loop(lambda p, key: loss(p, static, key), parameters, steps)


def builder(case: Case, steps: int) -> Program:
    """`coupling_flow`: a scan over layers with random permutations between them."""
    flow = coupling_flow(
        jax.random.key(0),
        base_dist=StandardNormal((case.volume,)),
        transformer=_affine(),
        flow_layers=COUPLING_LAYERS["dense"],
        nn_width=case.volume // 2,
        nn_depth=1,
        nn_activation=jnp.tanh,
        invert=False,
    )
    return _elbo(case, steps, flow)


def checkerboard(case: Case, steps: int, *, scan: bool = False) -> Program:
    """A chain of `Coupling`, the colors exchanged by `Flip`, sites brought into place by one `Permute` at the end."""

    def layer(key):
        coupling = bij.Coupling(
            key,
            transformer=_affine(),
            untransformed_dim=case.volume // 2,
            dim=case.volume,
            nn_width=case.volume // 2,
            nn_depth=1,
            nn_activation=jnp.tanh,
        )
        return bij.Chain([coupling, bij.Flip((case.volume,))])

    keys = jax.random.split(jax.random.key(0), COUPLING_LAYERS["dense"])
    layers = bij.Scan(eqx.filter_vmap(layer)(keys)) if scan else bij.Chain([layer(key) for key in keys])
    color = jnp.indices((case.extent, case.extent)).sum(0).ravel() % 2
    place = bij.Permute(jnp.argsort(jnp.argsort(color, stable=True)))
    return _elbo(case, steps, Transformed(StandardNormal((case.volume,)), bij.Chain([layers, place])))


def checkerboard_scan(case: Case, steps: int) -> Program:
    """The same chain as a scan over its layers."""
    return checkerboard(case, steps, scan=True)


DENSE = {"builder": builder, "chain": checkerboard, "scan": checkerboard_scan}
CONV = {}
