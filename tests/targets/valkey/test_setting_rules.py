"""Ranges of settings that Medic8 looks at and never sets, and what a value out of range is a sign of."""

from __future__ import annotations

import pytest

from medic8.model.issue import IssueType
from medic8.model.target import SettingRule
from medic8.targets.treatment import choose_plan
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.plans.settings import plan_settings
from medic8.targets.valkey.setting_names import SETTABLE, issue_of
from tests.targets.valkey.looking_at import a_target, report_on

LIMIT = SettingRule(name="maxclients", minimum=1000)
LOOKS = ("controller", "settings")


def test_a_setting_that_may_not_be_set_is_looked_at_and_left(valkey_url: str) -> None:
    """A limit of connections that is too low is an exhaustion to come; a person gets the command."""
    with connection(valkey_url) as client:
        client.config_set("maxclients", "200")
    report = report_on(valkey_url, only=LOOKS, setting=(LIMIT,))
    (issue,) = report.issues
    assert issue.issue_type is IssueType.RESOURCE_EXHAUSTION
    assert "CONFIG SET maxclients 1000" in issue.advice[0]
    target = a_target(valkey_url, setting=(LIMIT,))
    plan = choose_plan(KIND, issue, report, target)
    assert plan is not None
    assert (plan.units, plan.strategy) == ((), "set_settings")
    assert plan.summary == "setting maxclients is 200, to be 1000: nobody but a person sets it"


def test_of_two_settings_out_of_range_only_the_one_that_may_be_is_set(valkey_url: str) -> None:
    """The other one is said to be left."""
    rules = (
        SettingRule(name="timeout", minimum=60),
        SettingRule(name="tcp-keepalive", minimum=60, maximum=300),
    )
    with connection(valkey_url) as client:
        client.config_set("tcp-keepalive", "0")
    report = report_on(valkey_url, only=LOOKS, setting=rules)
    (issue,) = report.issues
    assert issue.issue_type is IssueType.NETWORK
    plan = plan_settings(issue, report, a_target(valkey_url, setting=rules))
    assert [step.touches for unit in plan.units for step in unit.steps] == ["setting tcp-keepalive"]
    assert "setting timeout is 0, to be 60" in plan.left_open[0]


@pytest.mark.parametrize("name", ["requirepass", "primaryauth", "masteruser", "tls-key-file-pass", "max*"])
def test_what_may_hold_a_secret_or_is_a_pattern_is_refused(name: str) -> None:
    """A report shows the values of the settings that rules name."""
    target = a_target("valkey://127.0.0.1:6379/0", setting=(SettingRule(name=name, minimum=1),))
    assert len(KIND.requires(target)) == 1


def test_whatever_may_be_set_may_have_a_rule() -> None:
    """Also where a name has a word in it that names of secrets have."""
    names = (*SETTABLE, "acllog-max-len", "maxmemory-clients")
    rules = tuple(SettingRule(name=name, minimum=1) for name in names)
    assert KIND.requires(a_target("valkey://127.0.0.1:6379/0", setting=rules)) == ()


@pytest.mark.parametrize(
    ("name", "issue"),
    [
        ("maxmemory", "resource_exhaustion"),
        ("repl-timeout", "synchronization"),
        ("repl-backlog-ttl", "memory_leak"),
        ("timeout", "network"),
        ("lazyfree-lazy-user-del", "slow_operations"),
    ],
)
def test_a_rule_without_an_issue_takes_what_the_setting_is_about(name: str, issue: str) -> None:
    """One that names an issue keeps it."""
    assert issue_of(SettingRule(name=name, minimum=1)) == issue
    assert issue_of(SettingRule(name=name, minimum=1, issue=IssueType.NETWORK)) == "network"
