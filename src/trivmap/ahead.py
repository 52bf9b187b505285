"""Work that is done ahead of its use, by several threads, and returned in order."""

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
"""The pool of threads that compile."""
_lock = threading.Lock()


def concurrent_map(function: Callable[[A], B], arguments: Iterable[A], threads: int) -> Iterator[B]:
    """`map(function, arguments)` with `threads` calls at a time, and at most one result waiting to be taken.

    `function` must release Python's lock while it works, as compiled programs and the compiler do. The first exception
    is raised in the place of its result, and calls that have not started by then are not started.
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

    The arguments of all calls must have the same form: shapes, dtypes, and the parts that are not arrays.
    """

    def __init__(self, function: Any):
        self._function = function
        self._compiled: Future[Any] | None = None

    def begin(self, *arguments: Any) -> None:
        """Begin to compile for arguments of this form, unless it has begun."""
        if self._compiled is None or self._compiled.cancelled():
            (self._compiled,) = compile_async((self._function, arguments))

    def __call__(self, *arguments: Any) -> Any:
        self.begin(*arguments)
        assert self._compiled is not None
        return self._compiled.result()(*arguments)


def compile_async(*calls: tuple[Any, tuple[Any, ...]]) -> list[Future[Any]]:
    """The programs of jitted functions (JAX's or equinox's) at such arguments, compiled while the caller continues.

    They are traced here, since settings of a JAX context (for example `jax.enable_x64`) only apply in the caller's
    thread. Settings that JAX reads while it compiles must not depend on a context. One program per core is compiled at
    a time, in the order of the requests.
    """
    global _pool
    # One program is compiled while the next is traced.
    found = []
    for function, arguments in calls:
        lowered = function.lower(*arguments)
        with _lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(default_threads())
            found.append(_pool.submit(_compiled, lowered))
    return found


def _compiled(lowered: Any) -> Any:
    """Compile a program and return unused memory: the GNU C library would keep the compiler's hundreds of megabytes."""
    program = lowered.compile()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    return program


def give_up() -> None:
    """Cancel requested compilations that have not begun: their user has failed, and would wait for them at the end."""
    global _pool
    with _lock:
        if _pool is not None:
            _pool.shutdown(wait=False, cancel_futures=True)
            _pool = None


def compile_all(*calls: tuple[Any, tuple[Any, ...]]) -> list[Any]:
    """The programs of `compile_async`, when all are compiled."""
    return [program.result() for program in compile_async(*calls)]


def default_threads() -> int:
    """One thread per core that the process may use; one on an accelerator, which runs one program after the other."""
    return processors() if jax.default_backend() == "cpu" else 1


def processors() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
