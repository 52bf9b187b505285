"""The one way of text to a terminal: names, reasons and arguments are shown there, and never obeyed."""

import contextlib
import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import click


def printable(text: str) -> str:
    """The text with everything that a terminal would obey, or could not show, escaped as by `repr`.

    Such are escape sequences, other controls, overrides of the direction of writing, and halves of surrogate pairs.
    Lines, tabs, and the letters and spaces of every script stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """A sentence on one line; a word in it that no file may have as its name is cut."""
    return re.sub(r"[^\s/]{300,}", lambda word: f"{word[0][:100]}...{word[0][-97:]}", " ".join(text.split()))


def say(text: object, *, err: bool = False, end: bool = True, bold: bool | None = None) -> None:
    """Print a text to stdout, or to stderr with `err`; no line end without `end`."""
    click.secho(printable(str(text)), err=err, nl=end, bold=bold)


class Commands(click.Group):
    """A group of commands whose complaints about arguments repeat these as they can be shown."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _shown_complaints():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _shown_complaints():
            return super().invoke(ctx)


@contextlib.contextmanager
def _shown_complaints() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        message = error.format_message()
        if printable(message) == message:
            raise
        raise click.UsageError(printable(message), error.ctx) from error


def show_whatever_comes() -> None:
    """Let the streams escape the letters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        # Streams may be of another kind, or detached, where a program calls the command from inside.
        with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
