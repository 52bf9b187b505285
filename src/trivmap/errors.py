"""The one exception that a user's mistake raises, and the form of values and names in its sentence."""

import contextlib
import difflib
import reprlib
from collections.abc import Iterable, Iterator


class InputError(ValueError):
    """A mistake in the user's input: one sentence that says what is wrong, where, and what would be right.

    The command line prints the sentence and exits with code 2; everything else that is raised is a defect of the
    library.
    """


@contextlib.contextmanager
def prefixed(prefix: str, instead_of: str = "") -> Iterator[None]:
    """Put `prefix` before the sentence of an `InputError` from the block, in place of `instead_of` if it begins so."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{str(error).removeprefix(instead_of)}") from error


def suggestion(word: object, known: Iterable[str]) -> str:
    """`did you mean X?`, or the list of what is known."""
    names = list(known)
    text = word[:100] if isinstance(word, str) else shown(word)
    near = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(names) or 'none'}"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = _REPR.maxset = 8
_REPR.maxlevel = 3


def cut(text: str, most: int = 100) -> str:
    """The beginning of a key or a name in a sentence."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object) -> str:
    """A value in a sentence, cut to one line; the rest of a long value is not even formatted."""
    return "nothing" if value is None else cut(_REPR.repr(value), 80)
