"""The plan of a run: the objects that a run card describes, built once and passed down."""

import contextlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax

from trivmap._types import Key
from trivmap.actions import AbstractAction
from trivmap.cards.build import build_action, build_flow, build_kernel, build_target, build_training
from trivmap.cards.card import RunCard
from trivmap.cards.own import observables
from trivmap.flows import Flow
from trivmap.lattice import Lattice
from trivmap.runs.keys import keys
from trivmap.samplers import AbstractKernel
from trivmap.training import TrainingPlan

if TYPE_CHECKING:
    from trivmap.observables import Observable


_DEPENDS_ON = {"keys": "sampling", "_mapless_kernel": "sampling", "observables": "measure"}
"""The section that an object depends on, beside those that fix the theory, the map and its training."""


def _now() -> contextlib.AbstractContextManager[None]:
    """Leave the current trace: cached objects must not belong to the trace of the function that first needs them."""
    return jax.ensure_compile_time_eval()


class Plan:
    """The objects of a run card.

    Each object is built on first use and then kept: the user's own classes are called once, and rungs are validated
    once. Every attribute raises `InputError` if the card does not build.

    Args:
        card: the run card.
    """

    def __init__(self, card: RunCard):
        self.card = card

    def changed(self, **sections: Any) -> "Plan":
        """The plan with other sections `sampling` or `measure`; everything that does not depend on them is shared."""
        assert sections.keys() <= {"sampling", "measure"}
        # Built before the copy, so that both plans share it and the user's own classes are called once.
        _ = self.target
        new = Plan(self.card.model_copy(update=sections))
        differ = {name for name in sections if getattr(new.card, name) != getattr(self.card, name)}
        shared = {name: made for name, made in vars(self).items() if _DEPENDS_ON.get(name) not in differ}
        vars(new).update(shared | {"card": new.card})
        return new

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice."""
        return Lattice(self.card.lattice)

    @cached_property
    def action(self) -> AbstractAction:
        """S of all sites."""
        with _now():
            return build_action(self.card)

    @cached_property
    def target(self) -> AbstractAction:
        """The action that the flow is compared with: with `sites: even`, the odd sites are integrated out."""
        with _now():
            return build_target(self.card, self.action)

    @cached_property
    def observables(self) -> "tuple[Observable, ...]":
        """The user's own observables."""
        return observables(self.card)

    @cached_property
    def keys(self) -> dict[str, Key]:
        """The random keys of the run, one for each use."""
        with _now():
            return keys(self.card)

    @property
    def rungs(self) -> "tuple[Plan, ...]":
        """The plans that are trained one after another: those of the ladder, then this one."""
        return (*self._ladder, self)

    @cached_property
    def _ladder(self) -> "tuple[Plan, ...]":
        return tuple(map(Plan, self.card.rungs()[:-1]))

    def kernel(self, flow: Callable[[], Flow]) -> AbstractKernel:
        """The user's own kernel; if the card has a model, `flow()` gives the map."""
        return self._mapless_kernel if self.card.model is None else build_kernel(self.card, self.action, flow())

    @cached_property
    def _mapless_kernel(self) -> AbstractKernel:
        with _now():
            return build_kernel(self.card, self.action, None)

    @cached_property
    def training(self) -> TrainingPlan:
        """The plan of the training on this lattice."""
        return build_training(self.card)

    def flow(self) -> Flow:
        """The untrained flow, as the seed of the card initializes it."""
        return build_flow(self.card, self.action, self.keys["init"])

    @property
    def shapes(self) -> Flow:
        """The flow with shapes in place of its arrays: no weights are drawn."""
        return self._traced[0]

    @property
    def parameters(self) -> int | None:
        """The number of learnable parameters of the map; None without a map."""
        return None if self.card.model is None else self._traced[1]

    @cached_property
    def _traced(self) -> tuple[Flow, int]:
        def traced() -> tuple[Flow, int]:
            flow = self.flow()
            # Counted here, where the flow has arrays.
            return flow, flow.parameters

        return eqx.filter_eval_shape(traced)
