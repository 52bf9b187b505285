"""What the user has said of a directory: whether its code may run, and files be used that were altered."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_TRUSTING: ContextVar[bool] = ContextVar("trusting", default=False)


@contextlib.contextmanager
def trusting(whether: bool = True) -> Iterator[None]:
    """While the block runs, what a directory holds is trusted, if `whether`."""
    token = _TRUSTING.set(whether or _TRUSTING.get())
    try:
        yield
    finally:
        _TRUSTING.reset(token)


def is_trusting() -> bool:
    """Whether that is so at this moment."""
    return _TRUSTING.get()
