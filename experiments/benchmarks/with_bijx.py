"""Both networks in bijx, put together as its own `realnvp_flow` and `realnvp_conv_flow` do."""

import bijx
import jax
import jax.numpy as jnp
from flax import nnx

from experiments.benchmarks.cases import CHANNELS, COUPLING_LAYERS, COUPLINGS, KERNEL, Case, Program, adam_loop


def _elbo(case: Case, steps: int, maps: list[bijx.Bijection], event_shape: tuple[int, ...]) -> Program:
    flow = bijx.Transformed(bijx.IndependentNormal(event_shape, rngs=nnx.Rngs(0)), bijx.Chain(*maps))
    graph, parameters, rest = nnx.split(flow, nnx.Param, ...)

    def loss(parameters, key):
        fields, log_density = nnx.merge(graph, parameters, rest).sample((case.batch,), rng=key)
        fields = fields.reshape(case.batch, case.extent, case.extent)
        density = jax.vmap(bijx.lattice.scalar.phi4_term, in_axes=(0, None, None))(fields, *COUPLINGS.values())
        return jnp.mean(log_density + jnp.sum(density, axis=(1, 2)))

    return adam_loop(loss, parameters, steps)


def dense(case: Case, steps: int, *, split: bool = True) -> Program:
    """`GeneralCouplingLayer` with an `MLP` between the colors, which are gathered and scattered."""
    shape = (case.extent, case.extent)
    rngs, mask = nnx.Rngs(0), bijx.checker_mask(shape, parity=False)
    template, maps = bijx.ModuleReconstructor(bijx.AffineLinear(rngs=rngs)), []
    half = case.volume // 2
    for _ in range(COUPLING_LAYERS["dense"]):
        network = bijx.nn.nets.MLP(
            half,
            half * template.params_total_size,
            [half],
            activation=nnx.tanh,
            final_kernel_init=nnx.initializers.zeros,
            rngs=rngs,
        )
        net = nnx.Sequential(network, lambda p: p.reshape(*p.shape[:-1], half, -1))
        maps.append(bijx.GeneralCouplingLayer(net, mask, template, bijection_event_rank=0, split=True))
        mask = ~mask
    return _elbo(case, steps, maps, shape)


def conv(case: Case, steps: int) -> Program:
    """`realnvp_conv_flow`, its last layer linear and its activation tanh as everywhere here."""
    shape = (case.extent, case.extent, 1)
    rngs, mask = nnx.Rngs(0), bijx.checker_mask(shape, parity=True)
    template, maps = bijx.ModuleReconstructor(bijx.AffineLinear(rngs=rngs)), []
    for _ in range(COUPLING_LAYERS["conv"]):
        network = bijx.nn.nets.ConvNet(
            1,
            template.params_total_size,
            kernel_size=(KERNEL, KERNEL),
            hidden_channels=list(CHANNELS),
            activation=nnx.leaky_relu,
            final_activation=lambda x: x,
            final_kernel_init=nnx.initializers.zeros,
            rngs=rngs,
        )
        net = nnx.Sequential(network, lambda p: p.reshape(*p.shape[:-1], 1, -1))
        maps.append(bijx.GeneralCouplingLayer(net, mask, template, bijection_event_rank=0, split=False))
        mask = ~mask
    return _elbo(case, steps, maps, shape)


DENSE = {"split": dense}
CONV = {"masked": conv}
