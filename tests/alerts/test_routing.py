from __future__ import annotations

import pytest

from medic8.alerts.routing import Router, around
from medic8.model.alert import Alert, AlertStatus
from medic8.model.alerting import Alerting, AlertRule
from medic8.model.issue import IssueType
from medic8.model.target import Target


def target(name: str, kind: str, url: str, **more: object) -> Target:
    return Target.model_validate({"name": name, "kind": kind, "url": url, **more})


TARGETS = (
    target("memory", "grid", "valkey://10.0.0.7:6379/0", runs_on="cache-1"),
    target("cache-1", "valkey", "valkey://user:secret@10.0.0.7:6379", runs_on="db1"),
    target("cache-2", "valkey", "valkey://10.0.0.8:6379"),
    target("db1", "host", "host:local", labels={"host": "db1.example"}),
    target("api", "endpoint", "https://api.example/health"),
)


def alert(**labels: str) -> Alert:
    return Alert(source="prom", fingerprint="f", status=AlertStatus.FIRING, labels=labels)


def leads(*rules: AlertRule, **labels: str) -> tuple[str, IssueType | None]:
    found = Router(Alerting(rule=rules), TARGETS).route(alert(**labels))
    return found.target, found.issue


@pytest.mark.parametrize(
    ("name", "instance", "leads_to", "issue"),
    [
        ("RedisDown", "redis://10.0.0.7:6379", "cache-1", "network"),
        ("RedisOutOfConfiguredMaxmemory", "10.0.0.8:6379", "cache-2", "resource_exhaustion"),
        ("RedisDisconnectedSlaves", "10.0.0.8:9121", "cache-2", "synchronization"),
        ("GridCellCorrupt", "10.0.0.7:6379", "memory", "grid_corruption"),
        ("GridCellCorrupt", "memory", "memory", "grid_corruption"),
        ("HostOutOfDiskSpace", "db1.example:9100", "db1", "resource_exhaustion"),
        ("NodeFilesystemSpaceFillingUp", "db1.example:9100", "db1", "resource_exhaustion"),
        ("BlackboxProbeFailed", "https://api.example/health", "api", "network"),
        ("BlackboxSlowProbe", "https://api.example/health", "api", "slow_operations"),
        ("TargetDown", "10.0.0.8:6379", "cache-2", None),
        ("RedisDown", "10.0.0.9:6379", "", None),
        ("HostOutOfDiskSpace", "10.0.0.8:9100", "", None),
        ("RedisDown", "[::1", "", None),
    ],
)
def test_public_rules_lead_to_the_target_at_their_address(
    name: str, instance: str, leads_to: str, issue: str | None
) -> None:
    """By the address that exporters put into ``instance``, without a line of configuration."""
    assert leads(alertname=name, instance=instance) == (leads_to, issue)


def test_a_rule_of_the_site_goes_before_all_and_decides_alone() -> None:
    by_name = AlertRule(match={"team": "*"}, target="cache-2", issue=IssueType.MEMORY_LEAK)
    assert leads(by_name, alertname="RedisDown", instance="cache-1", team="x") == ("cache-2", "memory_leak")
    assert leads(by_name, alertname="RedisDown", instance="cache-1") == ("cache-1", "network")
    by_label = AlertRule(source="prom", target_label="shard")
    assert leads(by_label, alertname="RedisDown", instance="cache-1", shard="cache-2")[0] == "cache-2"
    assert leads(by_label, alertname="RedisDown", instance="cache-1") == ("", None)


def test_an_ignored_alert_leads_nowhere() -> None:
    found = Router(Alerting(rule=(AlertRule(source="prom", ignore=True),)), TARGETS).route(
        alert(target="api")
    )
    assert (found.target, found.is_ignored) == ("", True)


def test_what_was_left_out_may_be_of_what_stands_around() -> None:
    assert around("cache-1", TARGETS) == ("memory", "db1")
    assert around("api", TARGETS) == ()
