"""The body of a request as JSON, within limits; whatever arrives, the answer is a value or what is wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

#: A batch of any sender is at most eight deep.
DEEPEST = 32


class BodyError(Exception):
    """A body that is no batch; its text says what is wrong, and nothing of it was taken."""


def parsed(raw: bytes) -> Any:
    """
    The value that *raw* spells.

    Raises:
        BodyError: it is no JSON, or is nested deeper than any sender's.
    """
    try:
        value = json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise BodyError(f"the body is nested deeper than {DEEPEST}") from None
    except UnicodeDecodeError:
        raise BodyError("the body is no UTF-8 text") from None
    except json.JSONDecodeError as exc:
        raise BodyError(f"the body is no JSON: {exc.msg} at byte {exc.pos}") from None
    except ValueError as exc:
        raise BodyError(f"the body is no JSON: {str(exc)[:200]}") from None
    _require_flat(value)
    return value


def object_of(value: Any, what: str = "the body") -> dict[str, Any]:
    """
    *value*, which must be a JSON object.

    Raises:
        BodyError: it is none.
    """
    if not isinstance(value, dict):
        raise BodyError(f"{what} is {kind_of(value)}, expected an object")
    return value


def list_in(body: dict[str, Any], field: str) -> list[Any]:
    """
    The list called *field*, which must be there.

    Raises:
        BodyError: it is not.
    """
    if field not in body:
        raise BodyError(f'the body has no field "{field}", expected a list')
    if not isinstance(body[field], list):
        raise BodyError(f'field "{field}" is {kind_of(body[field])}, expected a list')
    found: list[Any] = body[field]
    return found


def kind_of(value: Any) -> str:
    """What JSON calls *value*."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _require_flat(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > DEEPEST:
            raise BodyError(f"the body is nested deeper than {DEEPEST}")
        level = [inner for outer in level for inner in _within(outer)]
        depth += 1


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return [each for each in value.values() if isinstance(each, dict | list)]
    return [each for each in value if isinstance(each, dict | list)] if isinstance(value, list) else ()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number
