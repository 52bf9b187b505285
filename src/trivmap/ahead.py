"""Work done ahead of its use, by several threads, handed over in order."""

import contextlib
import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax

A = TypeVar("A")
B = TypeVar("B")
_pool: ThreadPoolExecutor | None = None
"""The threads that compile."""
_lock = threading.Lock()


def concurrent_map(function: Callable[[A], B], arguments: Iterable[A], threads: int) -> Iterator[B]:
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


class Program:
    """A jitted function (JAX's or equinox's) whose compilation may begin before it is called.

    The arguments of all calls must be of one form: shapes, dtypes, and whatever is no array.
    """

    def __init__(self, function: Any):
        self._function = function
        self._compiled: Future[Any] | None = None

    def begin(self, *arguments: Any) -> None:
        """Begin to compile for arguments of this form, unless that has begun."""
        if self._compiled is None or self._compiled.cancelled():
            (self._compiled,) = compile_async((self._function, arguments))

    def __call__(self, *arguments: Any) -> Any:
        self.begin(*arguments)
        assert self._compiled is not None
        return self._compiled.result()(*arguments)


def compile_async(*calls: tuple[Any, tuple[Any, ...]]) -> list[Future[Any]]:
    """The programs of jitted functions (JAX's or equinox's) at such arguments, compiled while the caller continues.

    They are traced here: what a context sets in JAX (`jax.enable_x64`, say) holds in the caller's thread only.
    Settings that JAX reads while it compiles must not depend on one. As many are compiled at a time as there are
    cores, and those that were asked for first come first.
    """
    global _pool
    # One is compiled while the next is traced.
    found = []
    for function, arguments in calls:
        lowered = function.lower(*arguments)
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(default_threads())
            found.append(_pool.submit(_compiled, lowered))
    return found


def _compiled(lowered: Any) -> Any:
    """The program; the C library, where it is GNU's, keeps the compiler's hundreds of megabytes unless it is asked."""
    program = lowered.compile()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    return program


def give_up() -> None:
    """Begin to compile nothing more of what was asked for: its user has failed, and would wait for it at the end."""
    global _pool
    with _lock:
        if _pool is not None:
            _pool.shutdown(wait=False, cancel_futures=True)
            _pool = None


def compile_all(*calls: tuple[Any, tuple[Any, ...]]) -> list[Any]:
    """The programs of `compile_async`, once all are there."""
    return [program.result() for program in compile_async(*calls)]


def default_threads() -> int:
    """One per core that the process may use; one on an accelerator, which runs one program after the other."""
    return processors() if jax.default_backend() == "cpu" else 1


def processors() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
