"""Read fields of an alert that somebody else wrote: what is unknown is ignored, what is long is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from medic8.alerts.body import kind_of
from medic8.model.alert import Alert, AlertStatus, Batch, Malformed

#: Most labels, and as many annotations, that are kept of one alert; and how long a name and a value may be.
MOST_LABELS, LONGEST_NAME, LONGEST_VALUE = 64, 128, 1024

#: So much is kept of what is no alert.
LONGEST_EXCERPT = 512

#: Half a character, and the one that PostgreSQL does not store.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

#: Go writes this year for a time that is not set.
_NEVER = 1


class MalformedError(Exception):
    """An element of a batch is no alert; its text says why."""


def alerts_of(elements: Iterable[Any], read: Callable[[dict[str, Any]], Alert], left_out: int = 0) -> Batch:
    """Every alert among *elements*; what is none is told, and does not keep the others out."""
    alerts, malformed = list[Alert](), list[Malformed]()
    for index, element in enumerate(elements):
        try:
            alerts.append(read(_object(element)))
        except MalformedError as exc:
            malformed.append(Malformed(index=index, reason=str(exc), excerpt=excerpt(element)))
    return Batch(alerts=tuple(alerts), malformed=tuple(malformed), left_out=left_out)


def text(value: Any, longest: int = LONGEST_VALUE) -> str:
    """*value* as text that any database takes; empty if it is nothing, or is no scalar."""
    if value is None or isinstance(value, dict | list):
        return ""
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int) and value.bit_length() > longest * 4:
        return ""  # Python writes no number of so many digits
    return _UNSTORABLE.sub("�", str(value)[:longest])


def words(element: dict[str, Any], field: str) -> dict[str, str]:
    """
    The names and values called *field*; empty if there are none.

    Raises:
        MalformedError: that is no object.
    """
    found = element.get(field)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise MalformedError(f'field "{field}" is {kind_of(found)}, expected an object')
    named = {text(name, LONGEST_NAME): text(value) for name, value in list(found.items())[:MOST_LABELS]}
    return {name: value for name, value in named.items() if name}


def moment(element: dict[str, Any], *fields: str) -> datetime | None:
    """
    The time that the first of *fields* says that says one; None if none does.

    Raises:
        MalformedError: what it says is no time.
    """
    for field in fields:
        found = element.get(field)
        if found in (None, "", 0):
            continue
        try:
            when = _moment(found)
        except (ValueError, OverflowError, OSError):
            shown = text(found, 60) or kind_of(found)
            raise MalformedError(
                f'field "{field}" is {shown!r}, expected a time such as 2026-01-31T12:00:00Z'
            ) from None
        if when is not None:
            return when
    return None


def status_of(
    value: Any, resolved: frozenset[str], firing: frozenset[str], field: str = "status"
) -> AlertStatus:
    """
    Whether an alert fires, by the word its sender has for it.

    Raises:
        MalformedError: it is none of those words.
    """
    word = text(value, 60).lower()
    if word in resolved:
        return AlertStatus.RESOLVED
    if word in firing:
        return AlertStatus.FIRING
    raise MalformedError(f'field "{field}" is {word!r}, expected {_listed(firing | resolved)}')


def count(value: Any) -> int:
    """A number of things that were left out; 0 if it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else 0


def _object(element: Any) -> dict[str, Any]:
    if not isinstance(element, dict):
        raise MalformedError(f"it is {kind_of(element)}, expected an object")
    return element


def excerpt(element: Any) -> str:
    """How *element* begins."""
    shown = element if isinstance(element, str) else json.dumps(element)
    return text(shown, LONGEST_EXCERPT)


def _moment(found: Any) -> datetime | None:
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise ValueError(found)  # noqa: TRY004 - its caller tells that it is no time
    if isinstance(found, str):
        when = datetime.fromisoformat(found[:64])
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return None if when.year == _NEVER else when.astimezone(UTC)
    return datetime.fromtimestamp(found, UTC)


def _listed(names: Iterable[str]) -> str:
    return " or ".join(f'"{name}"' for name in sorted(names))
