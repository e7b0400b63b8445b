from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.alerts.body import DEEPEST, BodyError, parsed
from medic8.alerts.reading import LONGEST_EXCERPT, LONGEST_VALUE, MOST_LABELS
from medic8.alerts.senders import batch_of
from medic8.model.alert import AlertStatus, Batch
from medic8.model.alerting import Format

CAPTURED = Path(__file__).parent / "captured"

CE = {"specversion": "1.0", "id": "1", "source": "/a", "type": "com.example.alert", "subject": "cache-1"}


def read(form: Format, body: Any, headers: dict[str, str] | None = None) -> Batch:
    return batch_of(form, body, "here", headers or {})


def captured(number: int) -> Any:
    return parsed((CAPTURED / f"captured-{number}.json").read_bytes())


def test_a_real_webhook_and_its_end_are_one_alert() -> None:
    """Alertmanager keeps fingerprint and start, so firing and resolved have one identity."""
    (firing,), (resolved,) = (read(Format.ALERTMANAGER, captured(number)).alerts for number in (1, 2))
    assert (firing.status, resolved.status) == (AlertStatus.FIRING, AlertStatus.RESOLVED)
    assert firing.identity == resolved.identity
    assert firing.starts_at == datetime(2026, 11, 23, 13, 52, 43, 948891, tzinfo=UTC)
    assert (firing.ends_at, resolved.ends_at) == (None, datetime(2026, 11, 23, 13, 52, 48, tzinfo=UTC))
    assert firing.labels["instance"] == "127.0.0.1:6379"


def test_each_alert_of_a_real_group_is_its_own() -> None:
    """Two cells of a grid are two alerts, sent once or twice."""
    batches = [read(Format.ALERTMANAGER, captured(4)) for _ in range(2)]
    assert [len({each.identity for each in batch.alerts}) for batch in batches] == [2, 2]
    assert batches[0] == batches[1]


def test_a_malformed_alert_is_told_and_the_others_are_taken() -> None:
    """One sender's mistake loses no other alert."""
    webhook = captured(4)
    webhook["alerts"][1:1] = [7, {"status": "odd", "labels": {}}, {"status": "firing", "startsAt": "soon"}]
    batch = read(Format.ALERTMANAGER, webhook)
    assert len(batch.alerts) == 2
    assert [each.index for each in batch.malformed] == [1, 2, 3]
    assert batch.malformed[0].reason == "it is a number, expected an object"
    assert "'odd'" in batch.malformed[1].reason
    assert "startsAt" in batch.malformed[2].reason


def test_what_the_sender_left_out_is_counted() -> None:
    assert read(Format.ALERTMANAGER, {"alerts": [], "truncatedAlerts": 3}).left_out == 3


def test_grafana_is_read_with_its_values() -> None:
    alert = {
        **captured(1)["alerts"][0],
        "values": {"B": 95.2},
        "valueString": "x",
        "dashboardURL": "http://g",
    }
    (found,) = read(Format.GRAFANA, {"version": "1", "orgId": 1, "alerts": [alert]}).alerts
    assert found.annotations["value B"] == "95.2"
    assert found.annotations["dashboardURL"] == "http://g"


@pytest.mark.parametrize("body", [{"target": "a"}, [{"target": "a"}], {"alerts": [{"target": "a"}]}])
def test_the_generic_form_is_one_a_list_or_an_object_of_them(body: Any) -> None:
    (found,) = read(Format.GENERIC, body).alerts
    assert (found.labels, found.status) == ({"target": "a"}, AlertStatus.FIRING)


def test_cloudevents_mean_the_same_in_every_mode() -> None:
    """Structured, batched and binary are spellings of one event."""
    event = {**CE, "data": {"labels": {"shard": "7"}}}
    binary = {f"ce-{name}": value for name, value in CE.items()}
    batched = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
    found = [
        read(Format.CLOUDEVENTS, event).alerts,
        read(Format.CLOUDEVENTS, [event], batched).alerts,
        read(Format.CLOUDEVENTS, event["data"], binary).alerts,
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0].labels == {
        "shard": "7",
        "alertname": "com.example.alert",
        "target": "cache-1",
        "source": "/a",
        "type": "com.example.alert",
    }
    (ended,) = read(Format.CLOUDEVENTS, {**event, "id": "2", "data": {"status": "resolved"}}).alerts
    assert ended.identity == found[0][0].identity


def test_pagerduty_triggers_and_resolves_one_incident_and_its_notes_say_nothing() -> None:
    incident = {
        "id": "PGR0VU2",
        "title": "a",
        "created_at": "2026-04-09T01:45:37Z",
        "service": {"summary": "cache-1"},
    }
    begun, ended = (
        read(Format.PAGERDUTY, {"event": {"event_type": f"incident.{word}", "data": incident}}).alerts[0]
        for word in ("triggered", "resolved")
    )
    assert begun.identity == ended.identity
    assert (begun.status, ended.status) == (AlertStatus.FIRING, AlertStatus.RESOLVED)
    assert begun.labels["service"] == "cache-1"
    assert read(Format.PAGERDUTY, {"event": {"event_type": "pagey.ping", "data": {}}}) == Batch()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"HOSTNAME": "db1", "SERVICEDESC": "redis", "SERVICESTATE": "CRITICAL"}, "firing"),
        ({"NAGIOS_HOSTNAME": "db1", "NAGIOS_SERVICEDESC": "redis", "NAGIOS_SERVICESTATE": "OK"}, "resolved"),
        (
            {"NOTIFY_HOSTNAME": "db1", "NOTIFY_SERVICEDESC": "redis", "NOTIFY_SERVICESHORTSTATE": "CRIT"},
            "firing",
        ),
        ({"host_name": "db1", "service_name": "redis", "service_state": "warning"}, "firing"),
    ],
)
def test_macros_are_known_by_the_names_of_all_three(body: dict[str, str], status: str) -> None:
    (found,) = read(Format.MONITORING, body).alerts
    assert (found.status, found.labels["host"], found.labels["service"]) == (status, "db1", "redis")


def test_a_downtime_is_no_alert() -> None:
    for kind in ("DOWNTIMESTART", "FLAPPINGSTOP"):
        body = {"NOTIFY_NOTIFICATIONTYPE": kind, "NOTIFY_HOSTNAME": "a", "NOTIFY_HOSTSTATE": "DOWN"}
        assert read(Format.MONITORING, body) == Batch()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no JSON"),
        (b"\xff", "UTF-8"),
        (b"[NaN]", "NaN"),
        (b"1e999", "too large"),
        (b"[" * 200_000, "nested deeper"),
        (b"[" * 40 + b"]" * 40, f"deeper than {DEEPEST}"),
        (b"9" * 5000, "no JSON"),
    ],
)
def test_a_body_that_is_no_json_says_what_is_wrong(raw: bytes, says: str) -> None:
    with pytest.raises(BodyError, match=says):
        parsed(raw)


@pytest.mark.parametrize("form", list(Format))
def test_a_body_that_is_no_batch_says_what_is_wrong(form: Format) -> None:
    with pytest.raises(BodyError, match=r"expected|specversion"):
        read(form, 7)


_SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
_ANY = st.recursive(
    _SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12
)
_NAMES = st.sampled_from(
    [
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "fingerprint",
        "target",
        "name",
        "id",
        "starts_at",
        "event_type",
        "data",
        "created_at",
        "occurred_at",
        "service",
        "title",
        "specversion",
        "source",
        "type",
        "subject",
        "HOSTNAME",
        "SERVICESTATE",
        "NOTIFICATIONTYPE",
        "values",
        "truncatedAlerts",
        "version",
    ]
)
_WORDS = st.sampled_from(
    ["firing", "resolved", "OK", "1.0", "incident.resolved", "2026-01-01T00:00:00Z", "4"]
)
_ALERT = st.dictionaries(_NAMES, _WORDS | _ANY | st.dictionaries(st.text(), _ANY, max_size=4), max_size=9)
_BODIES = (
    _ANY
    | _ALERT
    | st.lists(_ALERT | _ANY, max_size=4)
    | st.builds(lambda alerts, more: {**more, "alerts": alerts}, st.lists(_ALERT | _ANY, max_size=4), _ALERT)
    | st.builds(lambda event: {"event": event}, _ALERT | _ANY)
)


@settings(max_examples=60)
@given(
    form=st.sampled_from(Format),
    body=_BODIES,
    more=st.dictionaries(st.sampled_from(["ce-specversion", "ce-id", "content-type"]), _WORDS),
)
def test_whatever_arrives_is_alerts_or_what_is_wrong(form: Format, body: Any, more: dict[str, str]) -> None:
    """No format knows a body that crashes it, or that becomes larger than a bound."""
    try:
        batch = read(form, json.loads(json.dumps(body)), more)
    except BodyError:
        return
    for alert in batch.alerts:
        assert len(alert.identity) == 64
        kept = {**alert.labels, **alert.annotations}
        assert len(kept) <= 2 * MOST_LABELS + 80
        assert all(len(value) <= LONGEST_VALUE and "\x00" not in value for value in kept.values())
        "".join(kept.values()).encode()
    assert all(len(each.excerpt) <= LONGEST_EXCERPT for each in batch.malformed)


@settings(max_examples=60)
@given(raw=st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BodyError):
        parsed(raw)
