"""A mixture of the reverse and the forward Kullback-Leibler divergence."""

import equinox as eqx

from trivmap._types import Scalar
from trivmap.actions import AbstractAction
from trivmap.arguments import Ratio, bounded
from trivmap.flows import Flow
from trivmap.objectives.forward_kl import ForwardKL
from trivmap.objectives.objective import AbstractObjective, Draws, Kind, Residuals
from trivmap.objectives.path_gradient import PathGradient


class Mixture(AbstractObjective):
    """The mixture (1 - w) KL(q || p) + w KL(p || q) of the reverse KL, by its path gradient, and the forward KL.

    Args:
        forward: w, from 0 to 1

    Raises `InputError` for a w out of bounds.
    """

    forward: float = eqx.field(static=True)

    @bounded
    def __init__(self, forward: Ratio = 0.5):
        self.forward = float(forward)

    @property
    def draws(self) -> frozenset[Kind]:
        return frozenset({"noise", "data"})

    def __call__(
        self, flow: Flow, action: AbstractAction, draws: Draws, temperature: Scalar
    ) -> tuple[Scalar, Residuals]:
        reverse, residuals = PathGradient()(flow, action, draws, temperature)
        forward, _ = ForwardKL()(flow, action, draws, temperature)
        return (1 - self.forward) * reverse + self.forward * forward.astype(reverse.dtype), residuals
