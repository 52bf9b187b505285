"""The only path of text to a terminal: names, reasons and arguments are shown there, and never control it."""

import contextlib
import io
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import click


def printable(text: str) -> str:
    """The text, with every character that would control a terminal, or cannot be shown, escaped as by `repr`.

    These are escape sequences, other control characters, overrides of the writing direction, and halves of surrogate
    pairs. Line ends, tabs, and the letters and spaces of every script stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """A sentence on one line; a word that is too long for the name of a file is cut."""
    return re.sub(r"[^\s/]{300,}", lambda word: f"{word[0][:100]}...{word[0][-97:]}", " ".join(text.split()))


def say(text: object, *, err: bool = False, end: bool = True, bold: bool | None = None) -> None:
    """Print a text to stdout, or to stderr with `err`; no line end without `end`."""
    click.secho(printable(str(text)), err=err, nl=end, bold=bold)


class Commands(click.Group):
    """A group of commands whose errors about arguments show these arguments in printable form."""

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
    """Make the streams escape the characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        # If a program calls the command, the streams may be detached or of another kind.
        with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
