"""A form of our own, for scripts: one alert, a list of them, or an object with a list called ``alerts``."""

from __future__ import annotations

from typing import Any

from medic8.alerts.body import BodyError, kind_of, list_in
from medic8.alerts.reading import MalformedError, alerts_of, count, moment, status_of, text, words
from medic8.model.alert import Alert, Batch, fingerprint_of

_RESOLVED, _FIRING = frozenset({"resolved", "ok"}), frozenset({"firing", "problem", ""})


def batch_of(body: Any, source: str) -> Batch:
    """
    The alerts of a body.

    Raises:
        BodyError: it is neither a list nor an object.
    """
    left_out = 0
    if isinstance(body, list):
        elements = body
    elif not isinstance(body, dict):
        raise BodyError(f"the body is {kind_of(body)}, expected an object or a list")
    elif "alerts" in body:
        elements, left_out = list_in(body, "alerts"), count(body.get("left_out"))
    else:
        elements = [body]
    return alerts_of(elements, lambda each: _alert(each, source), left_out)


def _alert(element: dict[str, Any], source: str) -> Alert:
    labels = words(element, "labels")
    named = {"alertname": text(element.get("name")), "target": text(element.get("target"))}
    labels = {**labels, **{name: value for name, value in named.items() if value}}
    if not labels:
        raise MalformedError('it says neither "target" nor "name" nor "labels"')
    return Alert(
        source=source,
        fingerprint=text(element.get("id"), 64) or fingerprint_of(labels),
        starts_at=moment(element, "starts_at"),
        ends_at=moment(element, "ends_at"),
        status=status_of(element.get("status"), _RESOLVED, _FIRING),
        labels=labels,
        annotations={**words(element, "annotations"), **_summary(element)},
    )


def _summary(element: dict[str, Any]) -> dict[str, str]:
    summary = text(element.get("summary"))
    return {"summary": summary} if summary else {}
