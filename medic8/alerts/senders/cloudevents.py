"""
CloudEvents 1.0 over HTTP: structured, batched, or binary with the attributes in headers.

Source: CloudEvents 1.0.2, HTTP protocol binding (sections 3.1 to 3.3) and JSON event format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from medic8.alerts.body import BodyError, list_in, object_of
from medic8.alerts.reading import MalformedError, alerts_of, moment, status_of, text, words
from medic8.model.alert import Alert, Batch

_RESOLVED = frozenset({"resolved", "ok", "closed", "cleared"})
_FIRING = frozenset({"firing", "problem", "open", "triggered", ""})

_BATCH = "application/cloudevents-batch+json"
_PREFIX = "ce-"
_NEEDED = ("id", "source", "type")


def batch_of(body: Any, source: str, headers: Mapping[str, str]) -> Batch:
    """
    The alerts of a request, by its mode; names of *headers* are in lower case.

    Raises:
        BodyError: it is no CloudEvent of version 1.
    """
    if "ce-specversion" in headers:
        elements = [_from_headers(body, headers)]
    elif headers.get("content-type", "").partition(";")[0].strip().lower() == _BATCH:
        elements = list_in({"events": body}, "events")
    else:
        elements = [object_of(body)]
    for each in elements[:1]:
        if not isinstance(each, dict) or text(each.get("specversion"), 8) != "1.0":
            raise BodyError('the event has no attribute "specversion" of "1.0"')
    return alerts_of(elements, lambda each: _alert(each, source))


def _from_headers(body: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    # Values are percent-encoded. Source: HTTP protocol binding, section 3.1.3.2.
    said = {
        name.removeprefix(_PREFIX): unquote(value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    return {**said, "data": body}


def _alert(event: dict[str, Any], source: str) -> Alert:
    for name in _NEEDED:
        if not text(event.get(name)):
            raise MalformedError(f'the event has no attribute "{name}"')
    found = event.get("data")
    inner: dict[str, Any] = found if isinstance(found, dict) else {}
    said = {
        "alertname": text(inner.get("name")) or text(event["type"]),
        "target": text(inner.get("target")) or text(event.get("subject")),
        "source": text(event["source"]),
        "type": text(event["type"]),
    }
    kind = text(event["type"]).lower()
    status = inner.get("status") or (
        "resolved" if kind.endswith((".resolved", ".cleared", ".ok")) else "firing"
    )
    return Alert(
        source=source,
        # An event's id is another one when it is resolved, so an alert is known by what it is about.
        fingerprint=text(inner.get("id"), 64)
        or text(f"{said['source']} {said['target'] or event['id']}", 200),
        starts_at=moment(inner, "starts_at"),
        ends_at=moment(inner, "ends_at"),
        status=status_of(status, _RESOLVED, _FIRING),
        labels={**words(inner, "labels"), **{name: value for name, value in said.items() if value}},
        annotations=words(inner, "annotations"),
    )
