"""The processes of a run, joined by `jax.distributed`: which of them speaks and writes, and what all must agree on.

Every process runs the same program on its own devices, so that what a clock, a signal or a disk decides in one of them
has to be sent to the others. With one process nothing here does anything.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from trivmap.errors import InputError


def is_distributed() -> bool:
    """Whether this process works together with others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def process_count() -> int:
    """Processes that work on this run."""
    return jax.process_count() if is_distributed() else 1


def is_main_process() -> bool:
    """Whether this is the process that writes files and speaks: exactly one does."""
    return not is_distributed() or jax.process_index() == 0


def broadcast_from_main(number: float) -> float:
    """The number that the first process gave. All must call it."""
    return float(multihost_utils.broadcast_one_to_all(np.float64(number))) if is_distributed() else number


def largest(number: int) -> int:
    """The largest of the numbers that the processes gave. All must call it."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if is_distributed() else number


class RaisedOnMain(InputError):
    """A mistake that the first process has met, in the others."""


def run_on_main(work: Callable[[], str]) -> str:
    """The result of `work`, which only the first process calls; its `InputError` is raised in all."""
    if not is_distributed():
        return work()
    refusal, answer = None, ""
    if is_main_process():
        try:
            answer = work()
        except InputError as error:
            refusal, answer = error, str(error)
    # "surrogatepass": names of files need not be in any encoding.
    text = answer.encode(errors="surrogatepass")
    refused, length = multihost_utils.broadcast_one_to_all(np.array([refusal is not None, len(text)], np.int32))
    buffer = np.frombuffer(text if is_main_process() else bytes(length), np.uint8)
    told = bytes(multihost_utils.broadcast_one_to_all(buffer)).decode(errors="surrogatepass") if length else ""
    if refusal is not None:
        raise refusal
    if refused:
        raise RaisedOnMain(told)
    return told
