"""Tracing of a user's own functions before anything is computed with them."""

from collections.abc import Callable
from typing import Any

import jax

from trivmap.errors import InputError


def traced(failure: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes that a function returns for arguments of these shapes.

    Args:
        failure: the beginning of the sentence if JAX cannot trace it.
        function: the function.
        arguments: its arguments, or their shapes.

    Raises:
        InputError: if tracing fails; an `InputError` of the function itself is not changed.
    """
    try:
        return jax.eval_shape(function, *arguments)
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise InputError(f"{failure} ({type(error).__name__}: {said[:300]})") from error
