"""The contract of an optimizer, and its input in every training step."""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, PyTree

from trivmap._types import Scalar
from trivmap.optimizers.packing import Vectors


@dataclass(frozen=True)
class Problem:
    """One training step: its draws, and the quantities to minimize as functions of the parameters.

    Attributes:
        draw: the draws of the step: its `noise`, its `data`, or both; their first axis counts configurations.
        surrogate: (parameters, draws) -> (a scalar with the wanted gradient, the monitored value per configuration).
        residual: (parameters, one noise) -> log q + S/T.
        pair: (parameters, one noise) -> (the same, the part of it whose derivative is the path gradient).
        l2_weights: the weight of the square of each parameter in a least-squares problem.
        least_squares: "variance" or "kl", the quantity that a least-squares optimizer minimizes; None if it is neither.
        form: the tree of the parameters; the functions above take such trees.
        step, steps: the number of the step, and of all steps.
        diverged: typical residual -> whether the training has diverged.
        failed: whether it failed in an earlier step: then nothing is drawn, and nothing changes.
    """

    draw: Callable[[], Any]
    surrogate: Callable[[PyTree, Any], tuple[Scalar, Array]]
    residual: Callable[[PyTree, Array], Scalar]
    pair: Callable[[PyTree, Array], tuple[Scalar, Scalar]]
    l2_weights: Callable[[], PyTree]
    least_squares: str | None
    form: PyTree
    step: Int[Array, ""]
    steps: int
    diverged: Callable[[Scalar], Bool[Array, ""]]
    failed: Bool[Array, ""]


class Taken(eqx.Module):
    """The findings of a step.

    Attributes:
        monitored: the monitored values of the objective, at the parameters before the step.
        gradient_norm: the norm of the gradient of the minimized quantity.
        learning_rate, damping: NaN if the optimizer does not have them.
        failed: whether the training has failed, in which case the step has changed nothing.
    """

    monitored: Float[Array, " batch"]
    gradient_norm: Scalar
    learning_rate: Scalar | float
    damping: Scalar | float
    failed: Bool[Array, ""]


class AbstractOptimizer(abc.ABC):
    """The way a training step is taken.

    To add one: return the state that is kept between steps in `begin`, and take a step in `advance`. JAX traces both.
    """

    advice = "lower the learning rate, clip the gradient (training.clip), or anneal the temperature"
    """The advice in the sentence about a training that failed."""
    judges_itself = False
    """True if the optimizer reverts a bad step; otherwise only the loss of the next step shows that it was bad."""
    per_configuration = "gradient"
    """The derivatives that it needs: one "gradient" of the batch, or the "jacobian" of all configurations."""

    @abc.abstractmethod
    def begin(self, parameters: PyTree, batch: int, least_squares: str | None) -> PyTree:
        """The state before the first step.

        Args:
            parameters: the parameters in their tree.
            batch: configurations in the first step.
            least_squares: as in `Problem`.

        Raises `InputError` if it cannot train these parameters, or cannot minimize this objective.
        """

    @abc.abstractmethod
    def advance(self, problem: Problem, parameters: Vectors, state: PyTree) -> tuple[Vectors, PyTree, Taken]:
        """(parameters, state, findings) after a step; the parameters are packed, see `packing`."""

    def rehearse(self, parameters: PyTree, batch: int, least_squares: str | None) -> Any:
        """As `begin`, plus all that can be traced without a flow; raises if these parameters cannot be trained."""
        return self.begin(parameters, batch, least_squares)

    def accepted(self, parameters: Any, state: PyTree) -> Any:
        """The parameters that are known to be good, in the form of the given ones: the last ones, or earlier ones."""
        return parameters

    def workspace(self, parameters: int, batch: int, item: int) -> Mapping[str, int]:
        """Bytes that it needs beside the parameters and their gradient, growing with the "model" or the "batch"."""
        return {}

    def arithmetic(self, parameters: int, batch: int) -> float:
        """Multiplications in a step, beside those of the map."""
        return 0.0
