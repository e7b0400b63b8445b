"""Restarts again and again, a clock that is not ours, a pause, settings that a restart would change."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking_at import found, look

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Severity
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.config_file import differing, parse_file, plain
from medic8.targets.valkey.looks.reachability import clock_offset_s, judge_clock
from medic8.targets.valkey.looks.restarts import judge_restarts, starts_of
from tests.raw_clients import RawClient, clients_of, wait_until


def test_a_server_that_starts_again_and_again_is_found(tmp_path: Path) -> None:
    """Really killed and started; one restart is nobody's business."""
    with scratch_valkey(tmp_path, config={"logfile": "server.log"}) as server:
        for starts in (1, 2, 3):
            codes = [each.code for each in look(server.url, "log").findings]
            assert ("server.restarts" in codes) == (starts == 3)
            if starts < 3:
                server.kill()
                server.start()
        assert "3 times" in found(look(server.url, "log"), "server.restarts").text


def test_starts_of_long_ago_are_no_loop() -> None:
    """Neither where the server has been running since, nor where they lie apart."""
    last = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    close_by = [last - timedelta(minutes=each) for each in range(5)]
    apart = [last - timedelta(hours=each) for each in range(5)]
    assert [each.severity for each in judge_restarts(close_by, 30)] == [Severity.WARNING]
    assert judge_restarts(close_by, 3600) == ()
    assert judge_restarts(close_by, None) == ()
    assert judge_restarts(apart, 30) == ()


@given(st.binary(max_size=200))
def test_any_log_is_read_without_a_crash(raw: bytes) -> None:
    """Lines that look like starts and are none."""
    assert starts_of(b"1:M 99 Xyz 2026 25:61:61.000 * Server initialized\n" + raw) == []


def test_the_clock_of_a_server_on_this_machine_is_ours(valkey_url: str) -> None:
    """By a real answer to TIME."""
    clock = look(valkey_url, "reachability").reading("clock")
    assert clock is not None
    assert clock.value == 0
    with connection(valkey_url) as client:
        now_s = time.time()
        assert clock_offset_s(client.time(), now_s + 100, now_s + 101) == pytest.approx(-100, abs=5)


@given(offset=st.floats(-1e6, 1e6), wait=st.floats(0, 100))
def test_a_slow_answer_is_no_wrong_clock(offset: float, wait: float) -> None:
    """What lies between the question and the answer is explained; beyond that the sign is right."""
    theirs = 1e9 + offset
    seen = clock_offset_s([int(theirs), int(theirs % 1 * 1e6)], 1e9, 1e9 + wait)
    assert seen is not None
    assert seen == pytest.approx(max(offset - wait, 0) + min(offset, 0), abs=1e-3)
    assert bool(judge_clock(seen)) == (abs(seen) >= 2)


@pytest.mark.parametrize("answer", [None, b"x", [], [1], ["a", "b"], [1, 2, 3]])
def test_an_answer_that_is_no_time_is_no_finding(answer: object) -> None:
    """Refused, or of another maker."""
    assert judge_clock(clock_offset_s(answer, 0, 0)) == ()


def test_a_pause_of_writes_is_found(valkey_url: str) -> None:
    """And no more when it is over."""
    with connection(valkey_url) as client:
        client.client_pause(60_000, all=False)
        try:
            assert "writes are held back" in found(look(valkey_url, "clients"), "clients.paused").text
        finally:
            client.client_unpause()
    assert look(valkey_url, "clients").findings == ()


def test_a_limit_of_ones_own_is_found_by_and_named(valkey_url: str) -> None:
    """One of 200 connections is much where a site says so, and nowhere else."""
    with connection(valkey_url) as client:
        client.config_set("maxclients", 200)
        assert look(valkey_url, "clients").findings == ()
        limits = [{"name": "clients_used", "warning": 0.005}]
        finding = found(look(valkey_url, "clients", threshold=limits), "clients.near_limit")
    assert (finding.severity, finding.evidence[0].limit) == (
        Severity.WARNING,
        "warning from 0.5% (configured), error from 95%",
    )


def test_who_waits_for_work_is_no_finding(valkey_url: str) -> None:
    """An idle worker in BLPOP is as it should be."""
    with RawClient(valkey_url, "worker") as worker:
        worker.send("BLPOP", "queue", "0")
        wait_until(lambda: "b" in clients_of(valkey_url)[worker.id]["flags"], "it waits")
        result = look(valkey_url, "clients")
    blocked = result.reading("clients.blocked")
    assert blocked is not None
    assert blocked.value == 1
    assert result.findings == ()


def test_settings_that_a_restart_would_change_are_named_without_their_values(tmp_path: Path) -> None:
    """Until they are written; sizes may be written in any unit, and secrets are not looked at."""
    config = {"maxmemory": "100mb", "hz": "10", "requirepass": '""'}
    with scratch_valkey(tmp_path, config=config) as server, connection(server.url) as client:
        assert look(server.url, "config_file").findings == ()
        client.config_set("hz", 20)
        client.config_set("maxmemory", 50 << 20)
        finding = found(look(server.url, "config_file"), "settings.unsaved")
        assert "hz, maxmemory" in finding.text
        assert finding.severity is Severity.INFO
        client.config_rewrite()
        assert look(server.url, "config_file").findings == ()
        (server.data / "valkey.conf").unlink()
        result = look(server.url, "config_file")
        assert result.findings == ()
        assert any("No such file" in text for text in result.unseen)


def test_a_file_is_read_as_the_server_reads_it() -> None:
    """The last line counts; comments, several words, secrets and nonsense do not."""
    text = 'hz 10\n# hz 30\nHZ 20\nsave 3600 1\nrequirepass secret\nbad "quote\n\x00\nmaxmemory 1gb\n'
    assert parse_file(text) == {"hz": "20", "maxmemory": "1gb"}
    assert differing({"maxmemory": "1GB", "hz": "10"}, {"maxmemory": str(1 << 30), "hz": "11"}) == ["hz"]
    assert [plain(each) for each in ("1k", "1kb", "Yes", "5")] == ["1000", "1024", "yes", "5"]
    assert differing({"unknown": "1"}, {}) == []
