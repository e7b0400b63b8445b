"""
Webhooks of Grafana's alerting, which are Alertmanager's with a version and fields of their own.

Source: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/
integrations/webhook-notifier/.
"""

from __future__ import annotations

from typing import Any

from medic8.alerts.body import list_in, object_of
from medic8.alerts.reading import alerts_of, count, text, words
from medic8.alerts.senders import alertmanager
from medic8.model.alert import Alert, Batch


def batch_of(body: Any, source: str) -> Batch:
    """
    The alerts of a webhook; its version says nothing about its form, and is not looked at.

    Raises:
        BodyError: it is no webhook.
    """
    webhook = object_of(body)
    left_out = count(webhook.get("truncatedAlerts"))
    return alerts_of(list_in(webhook, "alerts"), lambda each: _alert(each, source), left_out)


def _alert(element: dict[str, Any], source: str) -> Alert:
    alert = alertmanager.alert_of(element, source)
    values = {f"value {name}": value for name, value in words(element, "values").items()}
    place = {name: found for name in ("dashboardURL", "panelURL") if (found := text(element.get(name)))}
    return alert.model_copy(update={"annotations": {**alert.annotations, **values, **place}})
