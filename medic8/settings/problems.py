"""Say in which line and field a configuration is wrong, and what was expected there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from medic8.settings.lines import KeyPath

#: What a value of each pydantic error should have been; ``{...}`` is filled from the error's context.
_EXPECTED = {
    "string_type": "a string",
    "tuple_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number from {ge:g} up",
    "less_than_equal": "a number up to {le:g}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "lower-case letters, digits, '.', '_' or '-', a letter or digit first",
}

#: Fields whose values are never shown.
_SECRET = frozenset({"url", "replicas", "password_env", "password_file"})

_LONGEST_SHOWN = 60


@dataclass(frozen=True, order=True)
class Problem:
    """
    One thing that is wrong with a configuration.

    Attributes:
        line: Where, from 1.
        text: What and where in the structure, and what was expected.
    """

    line: int
    text: str


def in_field(owner: str, path: KeyPath, text: str) -> str:
    """A problem's text: *owner* is the table, *path* the field in it."""
    return f'{owner}: field "{spelled(path)}": {text}'


def spelled(path: KeyPath) -> str:
    """*path* as a person writes it: ``setting[0].minimum``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def expectation(error: ErrorDetails, known: Iterable[str]) -> str:
    """
    What *error* says, in the words of whoever wrote the configuration.

    Args:
        error: One error of pydantic.
        known: The fields that the table could have.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "it is missing"
    if kind == "extra_forbidden":
        return f"not known{nearest(str(error['loc'][-1]), known)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "enum":
        expected = str(context["expected"]).replace("'", '"')
    else:
        expected = _EXPECTED.get(kind, error["msg"].removeprefix("Input should be ")).format(**context)
    if _SECRET.intersection(error["loc"]):
        return f"expected {expected}"
    return f"got {shown(error['input'])}, expected {expected}"


def nearest(word: str, known: Iterable[str]) -> str:
    """A question for what *word* was meant to be; else what is known."""
    known = tuple(known)
    near = get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; known are {listed(known)}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """``"a", "b" and "c"``."""
    *most, end = [f'"{word}"' for word in words] or ["none"]
    return f"{', '.join(most)} {last} {end}" if most else end


def shown(value: object) -> str:
    """*value* as the configuration spells it, short enough for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        cut = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
        return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + '"'
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "a table"
    return str(value)
