"""
Notifications of Icinga, Nagios and Checkmk as JSON: macros by name, in any case, with or without prefix.

Their notification scripts post what they are given in the environment. Source: Nagios Core, "Standard
Macros"; Icinga 2, "Notification"; Checkmk, "Notification scripts".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medic8.alerts.body import BodyError, kind_of
from medic8.alerts.reading import MalformedError, alerts_of, moment, status_of, text
from medic8.model.alert import Alert, Batch, fingerprint_of

_RESOLVED, _FIRING = (
    frozenset({"ok", "up", "recovery"}),
    frozenset(
        {
            "warning",
            "critical",
            "unknown",
            "down",
            "unreachable",
            "problem",
            "warn",
            "crit",
            "unkn",
            "unreach",
        }
    ),
)

#: Each macro by the names that the three have for it, without prefix, in lower case and without underscores.
_NAMES = {
    "host": ("hostname", "host", "hostalias"),
    "address": ("hostaddress", "address"),
    "service": ("servicedesc", "servicename", "service"),
    "output": ("serviceoutput", "hostoutput", "output"),
    "type": ("notificationtype", "type"),
}
_STATE_OF_SERVICE, _STATE_OF_HOST = (
    ("servicestate", "serviceshortstate", "state"),
    ("hoststate", "hostshortstate", "state"),
)

#: What a sender puts before a macro's name in the environment.
_PREFIXES = ("notify", "nagios", "icinga")

#: Notifications that say nothing about whether something is wrong.
_ASIDE = frozenset(
    {"acknowledgement", "downtimestart", "downtimeend", "downtimecancelled", "downtimeremoved", "custom"}
)


def batch_of(body: Any, source: str) -> Batch:
    """
    The problem, or its end, of a notification, or of each in a list; none of one about a downtime.

    Raises:
        BodyError: it is neither an object nor a list.
    """
    if not isinstance(body, dict | list):
        raise BodyError(f"the body is {kind_of(body)}, expected an object or a list")
    elements = body if isinstance(body, list) else [body]
    told = [each for each in elements if not (isinstance(each, dict) and _is_aside(_macros(each)))]
    return alerts_of(told, _reader(source))


def _macros(element: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in element.items():
        plain = "".join(letter for letter in name.lower()[:80] if letter.isalnum())
        if not plain.startswith("notification"):  # begins as the prefix of Checkmk does
            for prefix in _PREFIXES:
                plain = plain.removeprefix(prefix)
        found.setdefault(plain, value)
    return found


def _is_aside(macros: dict[str, Any]) -> bool:
    kind = "".join(letter for letter in _first(macros, "type").lower() if letter.isalnum())
    return kind in _ASIDE or kind.startswith("flapping")


def _reader(source: str) -> Callable[[dict[str, Any]], Alert]:
    def read(element: dict[str, Any]) -> Alert:
        macros = _macros(element)
        host, service = _first(macros, "host"), _first(macros, "service")
        if not host:
            raise MalformedError('it names no host, expected a macro such as "HOSTNAME"')
        names = _STATE_OF_SERVICE if service else _STATE_OF_HOST
        state = next((found for name in names if (found := text(macros.get(name)))), "")
        said = {
            "alertname": service or "host",
            "host": host,
            "address": _first(macros, "address"),
            "service": service,
        }
        labels = {name: value for name, value in said.items() if value}
        return Alert(
            source=source,
            fingerprint=fingerprint_of(labels),
            # Not the last change of state, which is another one when a warning becomes critical.
            starts_at=moment(macros, "problemsince", "problemstart"),
            status=status_of(state, _RESOLVED, _FIRING, "state"),
            labels={**labels, "state": state.lower()},
            annotations={"output": output} if (output := _first(macros, "output")) else {},
        )

    return read


def _first(macros: dict[str, Any], what: str) -> str:
    return next((found for name in _NAMES[what] if (found := text(macros.get(name)))), "")
