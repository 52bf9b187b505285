"""The processes of a run, joined by `jax.distributed`: which of them speaks and writes, and what all must agree on.

Every process runs the same program on its own devices, so that what a clock, a signal or a disk decides in one of them
has to be sent to the others. With one process nothing here does anything.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from trivmap.errors import InputError


def several() -> bool:
    """Whether this process works together with others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def process_count() -> int:
    """Processes that work on this run."""
    return jax.process_count() if several() else 1


def first() -> bool:
    """Whether this is the process that writes files and speaks: exactly one does."""
    return not several() or jax.process_index() == 0


def of_first(number: float) -> float:
    """The number that the first process gave. All must call it."""
    return float(multihost_utils.broadcast_one_to_all(np.float64(number))) if several() else number


def largest(number: int) -> int:
    """The largest of the numbers that the processes gave. All must call it."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if several() else number


class ToldByFirst(InputError):
    """A mistake that the first process has met, in the others."""


def by_first(work: Callable[[], str]) -> str:
    """What `work` returns in the first process, where alone it is called; its `InputError` is raised in all."""
    if not several():
        return work()
    refusal, answer = None, ""
    if first():
        try:
            answer = work()
        except InputError as error:
            refusal, answer = error, str(error)
    # "surrogatepass": names of files need not be in any encoding.
    text = answer.encode(errors="surrogatepass")
    refused, length = multihost_utils.broadcast_one_to_all(np.array([refusal is not None, len(text)], np.int32))
    buffer = np.frombuffer(text if first() else bytes(length), np.uint8)
    told = bytes(multihost_utils.broadcast_one_to_all(buffer)).decode(errors="surrogatepass") if length else ""
    if refusal is not None:
        raise refusal
    if refused:
        raise ToldByFirst(told)
    return told
