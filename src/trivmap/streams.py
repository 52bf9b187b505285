"""Random streams: no point of a theory repeats the random numbers of another point."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Integer

from trivmap._types import Key


def distinct(key: Key, *facts: Any) -> Key:
    """The key with a fingerprint of `facts` folded in: equal facts give one stream, others independent streams.

    Facts are plain data, arrays and dataclasses such as lattices and actions, whose fields count.
    """
    text = json.dumps(_plain(facts), sort_keys=True)
    words = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], "<u4")
    for word in words:
        key = jax.random.fold_in(key, int(word))
    return key


def proposal_key(key: Key, chain: int | Integer[Array, ""], index: int | Integer[Array, ""]) -> Key:
    """The key of proposal `index` of `chain`: it does not depend on the batch size or anything else."""
    return jax.random.fold_in(jax.random.fold_in(key, chain), index)


class ProposalKeys(NamedTuple):
    """The keys of a proposal of a flow: for its noise, its accept test, and the sites that the flow leaves out."""

    noise: Key
    test: Key
    rest: Key


def proposal_keys(key: Key) -> ProposalKeys:
    """The keys of one proposal, from its own (see `proposal_key`)."""
    noise, test = jax.random.split(key)
    return ProposalKeys(noise, test, jax.random.fold_in(key, 2))


def derived_seed(seed: int, position: int) -> int:
    """A seed below 2^32 for one of several that share a seed: other seeds and positions give unrelated ones."""
    digest = hashlib.sha256(json.dumps([seed, position]).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _plain(fact: Any) -> Any:
    """The fact in a form that reads the same in every process."""
    if fact is None or isinstance(fact, (bool, int, float, str)):
        return fact
    if isinstance(fact, Mapping):
        return {str(name): _plain(value) for name, value in fact.items()}
    if isinstance(fact, (set, frozenset)):
        return sorted((_plain(each) for each in fact), key=json.dumps)
    if isinstance(fact, Sequence):
        return [_plain(each) for each in fact]
    if isinstance(fact, (np.ndarray, np.generic, jax.Array)):
        values = np.asarray(fact)
        return [str(values.dtype), list(values.shape), values.tobytes().hex()]
    if dataclasses.is_dataclass(fact) and not isinstance(fact, type):
        fields = {field.name: _plain(getattr(fact, field.name, None)) for field in dataclasses.fields(fact)}
        return [_name(type(fact)), fields]
    # A memory address would differ between processes.
    return _name(fact if hasattr(fact, "__qualname__") else type(fact))


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{thing.__qualname__}"
