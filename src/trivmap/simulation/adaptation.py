"""Adaptation of step sizes to a wanted acceptance."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from trivmap._types import Scalar

_GAMMA, _T0, _KAPPA = 0.05, 10.0, 0.75


class DualAveraging(NamedTuple):
    """Nesterov's dual averaging of log(step size) in the form of arXiv:1111.4246, section 3.2, with its constants.

    With h_t the mean of (target - acceptance) over t updates, weighted towards the later ones,
    log eps = log(10 eps_0) - sqrt(t) h_t / gamma is tried next; `final` is an average of the tried
    ones, in which the later ones count more.
    """

    center: Scalar
    updates: Scalar
    shortfall: Scalar
    log_step: Scalar
    log_average: Scalar

    @classmethod
    def begin(cls, step_size: Scalar) -> "DualAveraging":
        log_step, zero = jnp.log(step_size), jnp.zeros_like(step_size)
        return cls(log_step + math.log(10.0), zero, zero, log_step, zero)

    def update(self, acceptance: Scalar, target: float) -> "DualAveraging":
        """The state after a trajectory with `step_size`, accepted with probability `acceptance`."""
        count = self.updates + 1
        share = 1 / (count + _T0)
        shortfall = (1 - share) * self.shortfall + share * (target - acceptance)
        log_step = self.center - jnp.sqrt(count) / _GAMMA * shortfall
        weight = count**-_KAPPA
        return DualAveraging(
            self.center, count, shortfall, log_step, weight * log_step + (1 - weight) * self.log_average
        )

    @property
    def step_size(self) -> Scalar:
        """The step size to try next."""
        return jnp.exp(self.log_step)

    @property
    def final(self) -> Scalar:
        """The step size to keep."""
        return jnp.exp(self.log_average)
