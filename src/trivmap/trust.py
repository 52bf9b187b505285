"""The user's decision whether a directory's code may run, and whether its altered files may be used."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_TRUSTING: ContextVar[bool] = ContextVar("trusting", default=False)


@contextlib.contextmanager
def trusting(whether: bool = True) -> Iterator[None]:
    """Trust the content of a directory while the block runs, if `whether`."""
    token = _TRUSTING.set(whether or _TRUSTING.get())
    try:
        yield
    finally:
        _TRUSTING.reset(token)


def is_trusting() -> bool:
    """True while a block of `trusting` runs."""
    return _TRUSTING.get()
