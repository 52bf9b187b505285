"""The processes of a run, joined by `jax.distributed`: the main one prints and writes, and all share decisions.

Every process runs the same program on its own devices, so a decision that depends on a clock, a signal or a disk in one
process must be sent to the others. With one process nothing here has an effect.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from trivmap.errors import InputError


def is_distributed() -> bool:
    """True if this process works together with others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def process_count() -> int:
    """The number of processes that work on this run."""
    return jax.process_count() if is_distributed() else 1


def is_main_process() -> bool:
    """True in the one process that writes files and prints."""
    return not is_distributed() or jax.process_index() == 0


def broadcast_from_main(number: float) -> float:
    """The number from the first process. All processes must call it."""
    return float(multihost_utils.broadcast_one_to_all(np.float64(number))) if is_distributed() else number


def largest(number: int) -> int:
    """The largest of the numbers from all processes. All processes must call it."""
    return int(np.max(multihost_utils.process_allgather(np.int32(number)))) if is_distributed() else number


class RaisedOnMain(InputError):
    """The exception in the other processes for a mistake that the first process has found."""


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
    # "surrogatepass": file names need not be valid in any encoding.
    text = answer.encode(errors="surrogatepass")
    refused, length = multihost_utils.broadcast_one_to_all(np.array([refusal is not None, len(text)], np.int32))
    buffer = np.frombuffer(text if is_main_process() else bytes(length), np.uint8)
    told = bytes(multihost_utils.broadcast_one_to_all(buffer)).decode(errors="surrogatepass") if length else ""
    if refusal is not None:
        raise refusal
    if refused:
        raise RaisedOnMain(told)
    return told
