"""
Webhooks of PagerDuty, version 3: incidents that are triggered, and their end.

Source: https://developer.pagerduty.com/docs/webhooks-overview.
"""

from __future__ import annotations

from typing import Any

from medic8.alerts.body import object_of
from medic8.alerts.reading import MalformedError, alerts_of, moment, text
from medic8.model.alert import Alert, AlertStatus, Batch

_ENDED = frozenset({"incident.resolved"})
_BEGUN = frozenset(
    {
        "incident.triggered",
        "incident.reopened",
        "incident.escalated",
        "incident.acknowledged",
        "incident.unacknowledged",
        "incident.delegated",
        "incident.reassigned",
        "incident.priority_updated",
    }
)


def batch_of(body: Any, source: str) -> Batch:
    """
    The incident of a webhook; none of one about anything else, such as a note or PagerDuty's own test.

    Raises:
        BodyError: it is no webhook.
    """
    event = object_of(object_of(body).get("event"), 'field "event"')
    kind = text(event.get("event_type"))
    if kind and kind not in _ENDED | _BEGUN:
        return Batch()
    return alerts_of([event], lambda each: _alert(each, source))


def _alert(event: dict[str, Any], source: str) -> Alert:
    incident = event.get("data")
    if not isinstance(incident, dict) or not text(incident.get("id")):
        raise MalformedError('the event has no incident with an "id" in "data"')
    kind = text(event.get("event_type"))
    if not kind:
        raise MalformedError('the event has no "event_type"')
    service = incident.get("service")
    said = {
        "alertname": text(incident.get("title")),
        "service": text(service.get("summary")) if isinstance(service, dict) else "",
        "incident_key": text(incident.get("incident_key")),
        "urgency": text(incident.get("urgency")),
    }
    return Alert(
        source=source,
        fingerprint=text(incident["id"], 64),
        starts_at=moment(incident, "created_at"),
        ends_at=moment(event, "occurred_at") if kind in _ENDED else None,
        status=AlertStatus.RESOLVED if kind in _ENDED else AlertStatus.FIRING,
        labels={name: value for name, value in said.items() if value},
        annotations={"url": url} if (url := text(incident.get("html_url"))) else {},
    )
