"""What follows from what on a server, where something tells whether two findings belong together."""

from __future__ import annotations

import pytest

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.clients import judge_listed
from medic8.targets.valkey.looks.commands import SlowCommand, runaways_of, share_of
from medic8.targets.valkey.looks.deletions import is_told_of_expiry
from medic8.targets.valkey.looks.key_sample import SampledKey
from medic8.targets.valkey.looks.keys import judge_forgotten
from tests.targets.valkey.looking_at import NOW, report_of

_MIB = 1 << 20
_WARNING, _ERROR = Severity.WARNING, Severity.ERROR


def roots(readings: dict[str, float | bool], *found: tuple[str, Severity]) -> list[str]:
    """Signs of the issues that follow from nothing, in their order; with *readings* of all diagnostics."""
    findings = tuple(Finding(code=code, severity=severity, text=code, about=code) for code, severity in found)
    read = tuple(each for name, value in readings.items() if (each := reading(name, value)))
    results = [
        DiagnosticResult(diagnostic=name, readings=read, findings=some, taken_at=NOW)
        for name, some in (
            ("commands", findings),
            ("keys", ()),
            ("replication", ()),
            ("clients", ()),
            ("memory", ()),
        )
    ]
    return [each.signs[0] for each in report_of(*results).issues if not each.follows_from]


@pytest.mark.parametrize(
    ("readings", "found", "first"),
    [
        (
            {"expiry.told": True},
            [("memory.client_buffers", _WARNING), ("commands.expiry_storm", _WARNING)],
            ["commands.expiry_storm"],
        ),
        (
            {"expiry.told": False},
            [("memory.client_buffers", _WARNING), ("commands.expiry_storm", _WARNING)],
            ["commands.expiry_storm", "memory.client_buffers"],
        ),
        ({}, [("commands.slow", _WARNING), ("commands.expiry_storm", _WARNING)], ["commands.expiry_storm"]),
        (
            {"commands.of_runaways": 0.9},
            [("commands.slow", _ERROR), ("commands.runaway", _WARNING)],
            ["commands.runaway"],
        ),
        (
            {"commands.of_runaways": 0.2},
            [("commands.slow", _WARNING), ("commands.runaway", _WARNING)],
            ["commands.runaway", "commands.slow"],
        ),
        (
            {"keys.large_and_slow": 1},
            [("commands.slow", _ERROR), ("keys.large", _WARNING)],
            ["keys.large"],
        ),
        (
            {"keys.large_and_slow": 0},
            [("commands.slow", _WARNING), ("keys.large", _WARNING)],
            ["keys.large", "commands.slow"],
        ),
        ({}, [("memory.replica_buffers", _ERROR), ("replication.lag", _ERROR)], ["replication.lag"]),
        (
            {"clients.most_held": 1},
            [("memory.client_buffers", _WARNING), ("commands.slow", _WARNING)],
            ["commands.slow"],
        ),
        (
            {"clients.most_held": 5 << 20},
            [("memory.client_buffers", _WARNING), ("commands.slow", _WARNING)],
            ["memory.client_buffers", "commands.slow"],
        ),
        (
            {"clients.most_output_watches": True},
            [("clients.output", _ERROR), ("clients.monitor", _WARNING)],
            ["clients.monitor"],
        ),
        (
            {"clients.most_output_watches": False},
            [("clients.output", _WARNING), ("clients.monitor", _WARNING)],
            ["clients.monitor", "clients.output"],
        ),
        (
            {"replication.full_syncs": 1},
            [("replication.backlog", _WARNING), ("replication.lag", _WARNING)],
            ["replication.lag"],
        ),
        (
            {"replication.full_syncs": 9},
            [("replication.backlog", _WARNING), ("replication.lag", _WARNING)],
            ["replication.lag", "replication.backlog"],
        ),
        (
            {"replication.full_syncs": 3, "clients.cut_off_for_output": 3},
            [("replication.backlog", _WARNING), ("replication.lag", _WARNING)],
            ["replication.lag", "replication.backlog"],
        ),
        (
            {},
            [("commands.slow", _WARNING), ("commands.slow_delete", _WARNING)],
            ["commands.slow_delete", "commands.slow"],
        ),
        (
            {"commands.runaway_deletes": True},
            [("commands.runaway", _WARNING), ("commands.slow_delete", _WARNING)],
            ["commands.slow_delete"],
        ),
        (
            {"commands.runaway_deletes": False},
            [("commands.runaway", _WARNING), ("commands.slow_delete", _WARNING)],
            ["commands.slow_delete", "commands.runaway"],
        ),
        (
            {"memory.limit": 100, "memory.used": 99, "memory.scripts": 30},
            [("memory.scripts", _WARNING), ("memory.near_limit", _ERROR)],
            ["memory.scripts"],
        ),
        (
            {"memory.limit": 200, "memory.used": 219, "memory.scripts": 30},
            [("memory.scripts", _WARNING), ("memory.near_limit", _ERROR)],
            ["memory.near_limit", "memory.scripts"],
        ),
        (
            {"memory.limit": 100, "memory.used": 101},
            [("errors.oom", _ERROR), ("keys.unexpiring", _WARNING)],
            ["keys.unexpiring"],
        ),
    ],
)
def test_a_cause_stands_before_what_follows_from_it(
    readings: dict[str, float | bool], found: list[tuple[str, Severity]], first: list[str]
) -> None:
    """And what nothing speaks for follows from nothing, and stands behind."""
    assert roots(readings, *found) == first


@pytest.mark.parametrize(
    ("key", "first"), [("page", ["commands.runaway"]), ("other", ["commands.runaway", "keys.large"])]
)
def test_a_large_key_is_a_runaways_only_if_that_reads_it(key: str, first: list[str]) -> None:
    """Its slowest command names what it asks for."""
    runaway = Finding(
        code="commands.runaway",
        severity=_WARNING,
        text="x",
        about="a runaway client",
        evidence=(
            Evidence(what="x", seen="1 s"),
            Evidence(what="slowest of them", seen=f"HGETALL {key}: 20 ms"),
        ),
    )
    large = Finding(
        code="keys.large",
        severity=_WARNING,
        text="x",
        about="large keys",
        evidence=(Evidence(what="x", seen="9 MiB"), Evidence(what="hash page in database 0", seen="9 MiB")),
    )
    results = [
        DiagnosticResult(diagnostic=name, findings=(found,), taken_at=NOW)
        for name, found in (("commands", runaway), ("keys", large))
    ]
    assert [each.signs[0] for each in report_of(*results).issues if not each.follows_from] == first
    grows = Finding(code="keys.growing", severity=_WARNING, text="x", about="hash page")
    more = DiagnosticResult(diagnostic="growth", findings=(grows,), taken_at=NOW)
    signs = {each.signs[0] for each in report_of(*results, more).issues if not each.follows_from}
    assert ("commands.runaway" in signs) is (key == "other"), (
        "who adds to a key that grows is no fault of its own"
    )


def client(**fields: object) -> Facts:
    known = {
        "id": 1,
        "addr": "10.0.0.1:1",
        "flags": "N",
        "omem": 0,
        "name": "report",
        "cmd": "keys",
        "multi": -1,
    }
    return Facts({name: str(value) for name, value in (known | fields).items()})


def test_what_waits_for_a_replica_is_no_output_that_a_client_does_not_read() -> None:
    """It follows from a lag; and who does not read is named in the evidence, which is all an issue keeps."""
    lags = judge_listed([client(flags="S", omem=39 * _MIB)], Facts({}), is_whole=True)
    assert [each.code for each in lags] == ["memory.replica_buffers"]
    (reads_not,) = judge_listed([client(omem=39 * _MIB)], Facts({}), is_whole=True)
    assert reads_not.code == "clients.output"
    assert "report at 10.0.0.1:1" in reads_not.evidence[0].what


def test_slow_commands_are_a_runaways_as_far_as_they_are_its_own() -> None:
    """Somebody else's slow commands are not explained by it."""
    own = [SlowCommand("KEYS", 0.0, 0.5, "report", "10.0.0.1:1") for _ in range(4)]
    others = [SlowCommand("EVAL", 0.0, 0.5, "other", "10.0.0.1:2") for _ in range(4)]
    assert share_of(runaways_of(own, [client()]), own) == 1.0
    assert share_of(runaways_of([*own, *others], [client()]), [*own, *others]) == 0.5
    assert share_of(runaways_of(others, [client()]), others) is None


@pytest.mark.parametrize(("flags", "is_told"), [("Ex", True), ("KA", True), ("xA", False), ("Kg", False)])
def test_who_is_told_of_expiry_is_set_by_two_letters(flags: str, is_told: bool) -> None:
    """Where events go, and which; without either nobody is told."""
    assert is_told_of_expiry(Facts({"notify-keyspace-events": flags})) is is_told
    assert is_told_of_expiry(Facts({})) is None


def test_a_prefix_is_called_forgotten_only_by_its_own_keys() -> None:
    """Nine of ten expire: the tenth is forgotten."""
    sample = [SampledKey(b"session:%d" % number, 0, "string", 1, number % 10 > 0) for number in range(200)]
    (finding,) = judge_forgotten(sample)
    assert finding.about == "keys session…"
