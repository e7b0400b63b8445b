"""What replicas miss is held against what is kept for them; it only ever grows, and within what is free."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st

from medic8.model.issue import Finding, Severity
from medic8.model.plan import Risk
from medic8.model.report import DiagnosticResult
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import OWN_LOOKS
from medic8.targets.valkey.looks.full_copies import (
    Limits,
    free_bytes,
    grown_to,
    judge_syncs,
    limits_of,
    with_limits,
    written_per_s,
)
from medic8.targets.valkey.plans.replication import plan_backlog
from tests.replicas import pair, until, writing
from tests.targets.valkey.looking_at import NOW, a_target, found, look, report_of

SETTING = "normal 0 0 0 slave 1048576 65536 60 pubsub 33554432 8388608 60"


def facts_of(**changed: object) -> Facts:
    usual = {
        "role": "master",
        "connected_slaves": 1,
        "slave0": "ip=10.0.0.2,port=6379,state=online,offset=1,lag=1",
        "master_repl_offset": 1_000_000,
        "repl_backlog_size": 1 << 20,
        "sync_full": 50,
        "uptime_in_seconds": 3600,
        "used_memory": 1 << 30,
        "used_memory_rss": 1 << 30,
        "maxmemory": 0,
        "total_system_memory": 16 << 30,
        "client_output_buffer_limit_disconnections": 0,
    }
    return Facts({name: str(value) for name, value in (usual | changed).items()})


@given(found=st.integers(0, 1 << 40), wanted=st.integers(0, 1 << 40), free=st.integers(0, 1 << 40))
def test_a_size_only_ever_grows_and_within_a_quarter_of_what_is_free(
    found: int, wanted: int, free: int
) -> None:
    """All that was asked for, or nothing."""
    size = grown_to(found, wanted, free)
    if size is not None:
        assert max(found + 1, wanted) <= size < max(2 * wanted, 1) + (1 << 20)
        assert size - found <= free // 4
    elif wanted > found:
        assert 2 * wanted + (1 << 20) > found + free // 4


@pytest.mark.parametrize(
    ("maxmemory", "free"), [(0, 11 << 30), (2 << 30, 1 << 30), (64 << 30, 11 << 30), (1 << 29, 0)]
)
def test_what_is_free_is_what_limit_and_host_leave(maxmemory: int, free: int) -> None:
    """The smaller of the two; nothing where the server is over its limit, or nothing is told."""
    assert free_bytes(facts_of(maxmemory=maxmemory)) == free
    assert free_bytes(Facts({})) == 0


@given(st.text(max_size=80))
def test_limits_of_anything_are_read_without_a_crash(text: str) -> None:
    """And those that are read are written back as they were."""
    limits = limits_of(text)
    assert limits is None or limits_of(with_limits(text, limits)) == limits


def test_other_classes_keep_their_limits() -> None:
    """Only what may wait for replicas is another one."""
    assert limits_of(SETTING) == Limits(1 << 20, 65536, 60)
    assert with_limits(SETTING, Limits(7, 8, 9)) == SETTING.replace("1048576 65536 60", "7 8 9")


def test_a_backlog_that_holds_half_a_minute_is_too_small_only_where_copies_go_on_and_on() -> None:
    """Twenty seconds are plenty for a replica that never loses its place."""
    facts = facts_of()
    settings = Facts({"repl-backlog-size": str(1 << 20), "client-output-buffer-limit": SETTING})
    (finding,) = judge_syncs(facts, facts, 50_000, settings)
    assert (finding.code, finding.severity) == ("replication.backlog", Severity.WARNING)
    assert finding.objects == ({"name": "repl-backlog-size", "found": "1048576", "value": str(8 << 20)},)
    assert judge_syncs(facts_of(sync_full=2), facts, 50_000, settings) == ()


@given(
    rate=st.integers(0, 1 << 30),
    burst=st.integers(0, 1 << 40),
    when=st.integers(0, 1),
    spans_s=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)),
)
def test_one_large_write_is_no_rate(rate: int, burst: int, when: int, spans_s: tuple[float, float]) -> None:
    """Whatever was written at one moment, what counts is what is written all the time."""
    looks, offset, at_s = [(facts_of(master_repl_offset=0), 0.0)], 0.0, 0.0
    for number, span_s in enumerate(spans_s):
        at_s += span_s
        offset += rate * span_s + burst * (number == when)
        looks.append((facts_of(master_repl_offset=int(offset)), at_s))
    seen = written_per_s(looks)
    assert seen is not None
    assert rate - 11 <= seen <= rate + 11  # offsets are whole bytes


def test_who_does_not_tell_what_is_written_has_no_rate() -> None:
    """Nor has one that began to count anew, or of which there is one look only."""
    told, untold = facts_of(), Facts({})
    assert written_per_s([(told, 0.0), (untold, 0.2), (told, 0.4)]) is None
    assert written_per_s([(told, 0.0), (facts_of(master_repl_offset=1), 0.2), (told, 0.4)]) is None
    assert written_per_s([(told, 0.0)]) is None
    assert written_per_s([(told, 0.0), (told, 0.0)]) is None


def write_once_looked_at(url: str) -> None:
    """Eight MiB in one write, as soon as a diagnosis has asked for INFO."""
    with valkey.Valkey.from_url(url, decode_responses=True) as client:
        looks = {"name": OWN_LOOKS.name, "cmd": "info"}
        until(lambda: any(looks.items() <= each.items() for each in client.client_list()))
        client.set("report", "x" * (8 << 20))


def test_a_burst_at_the_moment_of_a_look_is_no_issue_and_steady_load_is(tmp_path: Path) -> None:
    """Eight times the backlog in one write, against as much of it in each second."""

    def looked_at_with_a_burst(url: str) -> tuple[bool, tuple[Finding, ...]]:
        """Whether the burst came between the first look and the last, and what was found."""
        burst = threading.Thread(target=write_once_looked_at, args=(url,))
        with valkey.Valkey.from_url(url) as client:
            before = int(client.info("replication")["master_repl_offset"])
        burst.start()
        result = look(url, "replication")
        burst.join(60)
        offset = result.reading("replication.offset")
        assert offset is not None
        return int(offset.value) - before > 8 << 20, result.findings

    with pair(tmp_path, repl_backlog_size="1mb") as (primary, _):
        looks = [looked_at_with_a_burst(primary.url)]
        while not looks[-1][0] and len(looks) < 5:  # a busy machine may be too late with it
            looks.append(looked_at_with_a_burst(primary.url))
        assert looks[-1] == (True, ())
        with writing(primary.url, size=40_000, per_s=100):
            steady = look(primary.url, "replication")
        assert found(steady, "replication.backlog").severity is Severity.ERROR


@pytest.mark.parametrize(
    ("backlog", "grown"), [(1 << 20, 10 << 20), (10 << 20, 40 << 20), (64 << 10, 10 << 20)]
)
def test_without_copies_it_grows_by_steps(backlog: int, grown: int) -> None:
    """Four times as large for each plan, or as a server has it unless told otherwise."""
    settings = Facts({"repl-backlog-size": str(backlog), "client-output-buffer-limit": SETTING})
    facts = facts_of(sync_full=1, repl_backlog_size=backlog, uptime_in_seconds=10)
    (finding,) = judge_syncs(facts, facts, 10_000_000, settings)
    assert [each["value"] for each in finding.objects] == [str(grown)]


@pytest.mark.parametrize(
    ("name", "found", "value", "risk"),
    [
        ("repl-backlog-size", "1048576", str(65 << 20), Risk.MEDIUM),
        ("repl-backlog-size", "1048576", str((65 << 20) + 1), Risk.HIGH),
        (
            "client-output-buffer-limit",
            SETTING,
            with_limits(SETTING, Limits(65 << 20, 65536, 60)),
            Risk.MEDIUM,
        ),
        ("client-output-buffer-limit", SETTING, with_limits(SETTING, Limits(1 << 28, 65536, 60)), Risk.HIGH),
        (
            "client-output-buffer-limit",
            SETTING,
            with_limits(SETTING, Limits(1 << 20, 1 << 28, 60)),
            Risk.HIGH,
        ),
    ],
)
def test_growth_by_much_needs_a_persons_yes(name: str, found: str, value: str, risk: Risk) -> None:
    """More than 64 MiB for one setting."""
    finding = Finding(
        code="replication.backlog",
        severity=Severity.ERROR,
        text="too small",
        about="replication backlog",
        objects=({"name": name, "found": found, "value": value},),
    )
    report = report_of(DiagnosticResult(diagnostic="replication", findings=(finding,), taken_at=NOW))
    plan = plan_backlog(report.issues[0], report, a_target("valkey://h"))
    assert (plan.risk, plan.needs_approval) == (risk, risk is Risk.HIGH)


def test_copies_of_the_past_are_told_and_are_no_issue() -> None:
    """Where enough is held by now; as long as one is made, the reason must lie elsewhere."""
    quiet = facts_of(repl_backlog_size=64 << 20)
    (past,) = judge_syncs(quiet, quiet, 0, Facts({}))
    assert (past.code, past.severity) == ("replication.full_syncs_past", Severity.INFO)
    for now in (
        facts_of(repl_backlog_size=64 << 20, sync_full=51),
        facts_of(repl_backlog_size=64 << 20, slave0="ip=1,port=1,state=wait_bgsave,offset=0,lag=0"),
    ):
        assert [each.code for each in judge_syncs(now, quiet, 0, Facts({}))] == ["replication.full_syncs"]


def test_what_may_wait_for_a_replica_is_raised_only_where_clients_were_cut_off_for_it() -> None:
    """And nothing is offered where there is no room."""
    settings = Facts({"client-output-buffer-limit": SETTING})
    for cut_off, free, raised in ((0, 16 << 30, None), (3, 16 << 30, True), (3, 1 << 30, False)):
        facts = facts_of(client_output_buffer_limit_disconnections=cut_off, total_system_memory=free)
        found = [each for each in judge_syncs(facts, facts, 0, settings) if each.code == "replication.buffer"]
        assert [bool(each.objects) for each in found] == ([] if raised is None else [raised])
        for each in found:
            for change in each.objects:
                assert limits_of(str(change["value"])) == Limits(256 << 20, 64 << 20, 60)
