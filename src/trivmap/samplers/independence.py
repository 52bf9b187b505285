"""Independence Metropolis-Hastings: independent proposals, made exact by an accept test on their log-weights."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from trivmap._types import Field, Key, Scalar
from trivmap.actions import AbstractAction
from trivmap.flows import Flow, SteppedFlow
from trivmap.lattice import Lattice
from trivmap.samplers.kernel import AbstractKernel
from trivmap.streams import proposal_keys


class Proposal(NamedTuple):
    """A field, the log of its weight exp(-S)/q, and the log of the uniform number that decides on it."""

    field: Field
    log_weight: Scalar
    log_uniform: Scalar


class State(NamedTuple):
    """The chain's present configuration."""

    field: Field
    log_weight: Scalar


class Info(NamedTuple):
    """The outcome of a step."""

    accepted: Bool[Array, ""]
    log_ratio: Scalar


class AbstractIndependence(AbstractKernel):
    """Transition kernel with exp(-S) as its stationary distribution, from proposals that do not depend on the state.

    A proposal y is accepted with probability min(1, w(y)/w(x)), decided as log u < log w(y) - log w(x): no exponential
    can overflow, and a proposal whose weight is NaN is never accepted. Proposals are made in batches by `propose`, and
    `accept` runs through their log-weights alone.

    To add one: write `propose` so that E[w f(field)] = integral of f exp(-S) d^V phi for every f. The accept test,
    reweighting and log Z rely on nothing else. The weight may depend on random numbers that do not determine the field:
    the chain then lives on all of them, and its marginal in the field is exp(-S)/Z.
    """

    @property
    def micro_batch(self) -> int | None:
        """Proposals to make at once within a larger batch, None for all of them."""
        return None

    @abc.abstractmethod
    def propose(self, key: Key) -> Proposal:
        """One proposal from its own key (see `proposal_key`); batch with `jax.vmap`."""

    def init(self, key: Key) -> State:
        """The first proposal, accepted without a test; if its weight is not finite, the first with finite weight."""
        field, log_weight, _ = self.propose(key)
        return State(field, jnp.where(jnp.isfinite(log_weight), log_weight, -jnp.inf))

    def step(self, key: Key, state: State, shared: None = None) -> tuple[State, Info]:
        """One proposal and its test."""
        field, log_weight, log_uniform = self.propose(key)
        accepted = _accepts(state.log_weight, log_weight, log_uniform)
        new = State(jnp.where(accepted, field, state.field), jnp.where(accepted, log_weight, state.log_weight))
        return new, Info(accepted, log_weight - state.log_weight)


class IndependenceMetropolis(AbstractIndependence):
    """Proposals from a flow, w = exp(-S)/q (arXiv:1904.12072)."""

    flow: Flow | SteppedFlow
    action: AbstractAction

    def __check_init__(self):
        self.flow.resolved().require_domain(self.action)

    @property
    def lattice(self) -> Lattice:
        return self.flow.resolved().lattice

    @property
    def micro_batch(self) -> int | None:
        return self.flow.resolved().micro_batch

    def propose(self, key: Key) -> Proposal:
        keys = proposal_keys(key)
        field, log_density = self.flow.resolved().sample(keys.noise)
        log_weight = -self.action(field) - log_density
        field = self.action.sample_conditional(keys.rest, field)
        return Proposal(field, log_weight, draw_log_uniform(keys.test, log_weight.dtype))


def draw_log_uniform(key: Key, dtype: DTypeLike) -> Scalar:
    """The log of a uniform number in (0, 1)."""
    return jnp.log(jax.random.uniform(key, dtype=dtype, minval=jnp.finfo(dtype).tiny))


def accept(
    log_weight: Scalar, log_weights: Float[Array, " n"], log_uniforms: Float[Array, " n"]
) -> tuple[Scalar, Bool[Array, " n"]]:
    """Run the accept test through proposals in order, from a state of weight `log_weight`.

    Returns the last state's log-weight and whether each proposal was accepted. A state of weight -inf (the start of a
    chain) accepts the first proposal of finite weight.
    """

    def test(current: Scalar, proposal: tuple[Scalar, Scalar]) -> tuple[Scalar, Bool[Array, ""]]:
        proposed, log_uniform = proposal
        accepted = _accepts(current, proposed, log_uniform)
        return jnp.where(accepted, proposed, current), accepted

    return jax.lax.scan(test, log_weight, (log_weights, log_uniforms))


def _accepts(current: Scalar, proposed: Scalar, log_uniform: Scalar) -> Bool[Array, ""]:
    return (log_uniform + current < proposed) & jnp.isfinite(proposed)
