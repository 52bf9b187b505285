"""Turns pydantic's list of errors into the one sentence that a user reads."""

from collections.abc import Mapping, Sized
from typing import Any

from pydantic import ValidationError

from trivmap.errors import InputError, cut, shown


def sentence(error: ValidationError, data: object) -> str:
    """`dotted.key: what is wrong and what would be right`, for the first error in `data`."""
    first = error.errors(include_url=False)[0]
    context: Mapping[str, Any] = first.get("ctx", {})
    parts = [str(part) for part in first["loc"] if not str(part).startswith("<")]
    if context.get("key"):
        parts.append(context["key"])
    message = _message(first["type"], first["msg"], context, first["input"])
    path = ".".join(cut(part) for part in parts)
    if len(parts) == 1 and message.startswith("unknown key") and (elsewhere := _find(data, parts[0])):
        message = f"unknown key; did you mean {elsewhere}?"
    # An error of a numeric module names its own key.
    return f"{path}: {message}" if path else message


def _message(kind: str, text: str, context: Mapping[str, Any], value: object) -> str:
    got = shown(value)
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']}, got {got}"
        case "greater_than":
            return f"must be greater than {context['gt']:g}, got {got}"
        case "less_than_equal":
            return f"must be at most {context['le']}, got {got}"
        case "less_than":
            return f"must be less than {context['lt']:g}, got {got}"
        case "literal_error":
            return f"must be {context['expected']}, got {got}"
        case "list_type":
            return f"must be a list in square brackets, got {got}"
        case "string_type":
            return f"must be text, got {got}"
        case "too_short":
            return "must not be empty"
        case "too_long":
            # pydantic does not count all entries of a mapping.
            number = len(value) if isinstance(value, Sized) else context["actual_length"]
            return f"has at most {context['max_length']} entries, got {number}"
        case "value_error" if isinstance(context.get("error"), InputError):
            return str(context["error"])
    return text


def _find(data: object, key: str, path: str = "") -> str | None:
    """Dotted path of the first place below the top level where `key` is used."""
    if not isinstance(data, Mapping):
        return None
    for name, value in data.items():
        if path and name == key:
            return f"{path}{cut(str(name))}"
        if found := _find(value, key, f"{path}{cut(str(name))}."):
            return found
    return None
