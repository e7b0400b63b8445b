"""One module for each sender's format: a body in, alerts out; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medic8.alerts.senders import alertmanager, cloudevents, generic, grafana, monitoring, pagerduty
from medic8.model.alert import Batch
from medic8.model.alerting import Format

__all__ = ["batch_of"]

_PLAIN: dict[Format, Callable[[Any, str], Batch]] = {
    Format.ALERTMANAGER: alertmanager.batch_of,
    Format.GRAFANA: grafana.batch_of,
    Format.GENERIC: generic.batch_of,
    Format.PAGERDUTY: pagerduty.batch_of,
    Format.MONITORING: monitoring.batch_of,
}


def batch_of(form: Format, body: Any, source: str, headers: Mapping[str, str]) -> Batch:
    """
    The alerts in a parsed *body* from *source*.

    Args:
        form: The sender's format.
        body: What it sent, parsed.
        source: The source's name in the configuration.
        headers: Of the request, their names in lower case.
    Raises:
        BodyError: it is no batch of that format.
    """
    if form is Format.CLOUDEVENTS:
        return cloudevents.batch_of(body, source, headers)
    return _PLAIN[form](body, source)
