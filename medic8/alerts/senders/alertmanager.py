"""
Webhooks of Prometheus' Alertmanager, version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, and captures of 0.25.
"""

from __future__ import annotations

from typing import Any

from medic8.alerts.body import BodyError, list_in, object_of
from medic8.alerts.reading import alerts_of, count, excerpt, moment, status_of, text, words
from medic8.model.alert import Alert, Batch, fingerprint_of

_RESOLVED, _FIRING = frozenset({"resolved"}), frozenset({"firing"})


def batch_of(body: Any, source: str) -> Batch:
    """
    The alerts of a webhook.

    Raises:
        BodyError: it is no webhook, or of another version.
    """
    webhook = object_of(body)
    if (version := webhook.get("version", "4")) != "4":
        raise BodyError(f'field "version" is {excerpt(version)[:40]!r}, expected "4"')
    return alerts_of(
        list_in(webhook, "alerts"), lambda each: alert_of(each, source), count(webhook.get("truncatedAlerts"))
    )


def alert_of(element: dict[str, Any], source: str) -> Alert:
    """
    One of them.

    Raises:
        MalformedError: it is no alert.
    """
    labels = words(element, "labels")
    return Alert(
        source=source,
        fingerprint=text(element.get("fingerprint"), 64) or fingerprint_of(labels),
        starts_at=moment(element, "startsAt"),
        ends_at=moment(element, "endsAt"),
        status=status_of(element.get("status"), _RESOLVED, _FIRING),
        labels=labels,
        annotations=words(element, "annotations"),
    )
