"""Work done ahead of its use, by several threads, handed over in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax

A = TypeVar("A")
B = TypeVar("B")


def in_order(function: Callable[[A], B], arguments: Iterable[A], threads: int) -> Iterator[B]:
    """`map(function, arguments)` with `threads` calls at a time, no more than one result waiting to be taken.

    `function` must release Python's lock while it works, as compiled programs and the compiler do. The first
    exception is raised where its result would have come, and what has not begun by then is not begun.
    """
    if threads <= 1:
        yield from map(function, arguments)
        return
    pending: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for argument in arguments:
                pending.append(pool.submit(function, argument))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def compiling(*calls: tuple[Any, tuple[Any, ...]]) -> list[Future[Any]]:
    """The programs of jitted functions (JAX's or equinox's) at such arguments, compiled while the caller continues.

    They are traced here: what a context sets in JAX (`jax.enable_x64`, say) holds in the caller's thread only.
    Settings that JAX reads while it compiles must not depend on one.
    """
    pool = ThreadPoolExecutor(default_threads())
    try:
        # One is compiled while the next is traced: put the longest first.
        return [pool.submit(function.lower(*arguments).compile) for function, arguments in calls]
    finally:
        pool.shutdown(wait=False)


def compiled(*calls: tuple[Any, tuple[Any, ...]]) -> list[Any]:
    """The programs of `compiling`, once all are there."""
    return [program.result() for program in compiling(*calls)]


def default_threads() -> int:
    """One per core that the process may use; one on an accelerator, which runs one program after the other."""
    return processors() if jax.default_backend() == "cpu" else 1


def processors() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
