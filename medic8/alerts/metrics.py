"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from medic8.alerts.inbox import Inbox
from medic8.alerts.workers import Carriers
from medic8.errors import TransientError
from medic8.model.alert import Taken
from medic8.model.notice import Sent


class Metrics:
    """Counters of one gateway with notifications to *routes*; no label of them comes from outside."""

    def __init__(self, routes: Sequence[str] = ()) -> None:
        self._all = CollectorRegistry()
        self._routes = tuple(routes)
        self._alerts = Counter(
            "medic8_alerts",
            "Alerts taken in, by what became of them.",
            ["source", "became"],
            registry=self._all,
        )
        self._refused = Counter(
            "medic8_gateway_refused", "Requests that were not taken.", ["source", "why"], registry=self._all
        )
        self._waited = Histogram(
            "medic8_gateway_durable_seconds", "Until a request was durable.", registry=self._all
        )
        self._generations = Gauge(
            "medic8_alert_generations",
            "Targets with alerts that are not over.",
            ["state"],
            registry=self._all,
        )
        self._unknown = Gauge(
            "medic8_alerts_unknown", "Alerts that fire and name no known target.", registry=self._all
        )
        self._ended = Counter(
            "medic8_alert_dispatches", "What the dispatcher did.", ["what"], registry=self._all
        )
        self._silent = Counter(
            "medic8_alert_heartbeats_silent", "Heartbeats that stopped.", ["name"], registry=self._all
        )

        self._messages = Counter(
            "medic8_notifications",
            "Messages to people that this process tried to send.",
            ["route", "became"],
            registry=self._all,
        )
        self._notices = Gauge(
            "medic8_notices",
            "Notices by route and how far they came.",
            ["route", "state"],
            registry=self._all,
        )
        self._workers = Gauge(
            "medic8_workers_online", "Workers of the pool that Prefect hears of.", registry=self._all
        )
        self._late = Gauge(
            "medic8_runs_late",
            "Runs that should have begun five minutes ago and have not.",
            ["queue"],
            registry=self._all,
        )

    def saw_workers(self, seen: Carriers) -> None:
        """Note who carries runs out; what is not known is not shown."""
        self._late.clear()
        self._workers.set(float("nan") if seen.problem else seen.online)
        for queue, number in seen.late.items():
            self._late.labels(queue).set(number)

    def took(self, source: str, taken: Taken, waited_s: float) -> None:
        """Count a request that was taken."""
        for became, number in taken.model_dump().items():
            if number:
                self._alerts.labels(source, became).inc(number)
        self._waited.observe(waited_s)

    def refused(self, source: str, why: str) -> None:
        """Count a request that was not."""
        self._refused.labels(source, why).inc()

    def dispatched(self, what: str, number: int = 1) -> None:
        """Count what the dispatcher did."""
        self._ended.labels(what).inc(number)

    def fell_silent(self, name: str) -> None:
        """Count a heartbeat that stopped."""
        self._silent.labels(name).inc()

    def notified(self, sent: Sequence[Sent]) -> None:
        """Count messages that were sent, or not."""
        for each in sent:
            self._messages.labels(each.route, "sent" if each.is_sent else "failed").inc()

    def shown(self, inbox: Inbox) -> tuple[bytes, str]:
        """All of it as text, and the type of that; as far as the inbox answers."""
        try:
            counts = inbox.counts()
            states = inbox.routes(self._routes)
        except TransientError:
            counts, states = {}, ()
        for route in states:
            for state in ("waiting", "sent", "failed"):
                self._notices.labels(route.name, state).set(getattr(route, state))
        for state in ("waiting", "running"):
            if state in counts:
                self._generations.labels(state).set(counts[state])
        if "unknown" in counts:
            self._unknown.set(counts["unknown"])
        return generate_latest(self._all), CONTENT_TYPE_LATEST
