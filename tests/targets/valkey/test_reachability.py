"""Why a server cannot be reached is told apart exactly, each case brought about for real on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from looking_at import found, look, report_on

from medic8.analysis.analyzer import UNREACHABLE
from medic8.local.loopback import free_port
from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Finding, IssueType, Severity
from medic8.model.report import Health
from medic8.targets.machine import kernel
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.looks.door import try_door
from medic8.targets.valkey.looks.door_words import DOOR_WORDS, Ending
from medic8.targets.valkey.looks.reachability import idle_share, judge_latency, judge_trial, stalls_in
from medic8.targets.valkey.looks.way import Way, judge_way, measure_way
from tests.targets.valkey.bad_doors import (
    HOST,
    certify,
    close,
    door,
    full_queue,
    keep_silent,
    reset,
    speak_http,
)
from tests.targets.valkey.tls_servers import needs_tls, tls_server

DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis-of-servers.md"


def finding_about(url: str) -> Finding:
    return found(look(url, "reachability", timeout_s=1), UNREACHABLE)


def is_told(url: str, ending: Ending) -> bool:
    """Whether a diagnosis says so, with what it means and what to do."""
    finding = finding_about(url)
    words = DOOR_WORDS[ending]
    assert (f"({ending}): {words.means}" in finding.text) == (finding.advice == words.advice), finding
    assert finding.evidence
    assert finding.severity is Severity.CRITICAL
    return f"({ending})" in finding.text


def test_nobody_listens() -> None:
    """Refused by the kernel; and it is an issue of the network."""
    url = f"valkey://{HOST}:{free_port(())}"
    assert is_told(url, Ending.REFUSED)
    report = report_on(url, without=tuple(set(DIAGNOSTICS) - {"reachability"}))
    assert report.analysis.health is Health.UNREACHABLE
    assert [issue.issue_type for issue in report.issues] == [IssueType.NETWORK]


def test_a_name_without_an_address() -> None:
    """The top-level name ``invalid`` never has one (RFC 2606)."""
    assert is_told("valkey://no-such-host.invalid:6379", Ending.UNRESOLVED)


def test_no_unix_socket(tmp_path: Path) -> None:
    """No file at that path."""
    assert is_told(f"unix://{tmp_path}/no.sock", Ending.NO_SOCKET)


@pytest.mark.parametrize(
    ("treat", "ending"),
    [
        (close, Ending.CLOSED),
        (reset, Ending.RESET),
        (keep_silent, Ending.SILENT),
        (speak_http, Ending.OTHER),
    ],
    ids=["closed", "reset", "silent", "http"],
)
def test_a_door_that_opens_and_leads_nowhere(treat: Callable[[socket.socket], None], ending: Ending) -> None:
    """Closed, reset, silent, or somebody else's."""
    with door(treat) as port:
        assert is_told(f"valkey://{HOST}:{port}", ending)


def test_a_server_that_is_stopped_is_silent(tmp_path: Path) -> None:
    """The kernel opens the connection for it."""
    with scratch_valkey(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert is_told(server.url, Ending.SILENT)
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_a_full_accept_queue_here_is_no_firewall() -> None:
    """Nobody answers the first packet in both cases; the kernel's table tells them apart."""
    with full_queue() as listener:
        port = listener.getsockname()[1]
        assert is_told(f"valkey://{HOST}:{port}", Ending.QUEUE_FULL)
        assert any(
            "wait to be accepted" in each.seen for each in finding_about(f"valkey://{HOST}:{port}").evidence
        )


def test_the_second_address_of_a_name_counts() -> None:
    """As for the client library: a name may have addresses at which nobody listens."""
    with door(close) as port:
        trial = try_door(f"valkey://localhost:{port}", timeout_s=1)
    assert trial.ending is Ending.CLOSED


def test_a_server_that_answers_is_no_closed_door(valkey_url: str) -> None:
    """One that was away for a moment only."""
    trial = try_door(valkey_url, timeout_s=1)
    assert trial.ending is Ending.ANSWERS
    assert judge_trial(trial, valkey_url) == ()


def test_tls_is_asked_of_a_server_without(valkey_url: str) -> None:
    """Told from a handshake that fails for other reasons by asking without TLS."""
    assert is_told(valkey_url.replace("valkey://", "valkeys://"), Ending.NO_TLS)


@needs_tls
def test_what_is_wrong_with_tls_is_told_apart(tmp_path: Path) -> None:
    """Not asked for, unknown issuer, another name; and a server that wants a certificate from us."""
    issuer, stranger = certify(tmp_path, "issuer"), certify(tmp_path, "stranger")
    mine = certify(tmp_path, "server", by=issuer, hosts=("elsewhere.example",))
    with tls_server(tmp_path, mine, issuer) as url:
        plain, _, ca = url.partition("?ssl_ca_certs=")
        assert look(url, "reachability").findings == ()
        assert is_told(plain.replace("valkeys://", "valkey://"), Ending.WANTS_TLS)
        assert is_told(plain, Ending.TLS_ISSUER)
        assert is_told(f"{plain}?ssl_ca_certs={stranger.certificate}", Ending.TLS_ISSUER)
        assert is_told(f"{url}&ssl_check_hostname=true", Ending.TLS_NAME)
        assert ca == str(issuer.certificate)
    with tls_server(tmp_path, mine, issuer, "--tls-auth-clients", "yes") as url:
        assert is_told(url, Ending.TLS_CLIENT)
        ours = certify(tmp_path, "client", by=issuer)
        known = f"{url}&ssl_certfile={ours.certificate}&ssl_keyfile={ours.key}"
        assert look(known, "reachability").findings == ()


@needs_tls
@pytest.mark.parametrize(
    ("days", "ago", "ending"), [(-1, 10, Ending.TLS_EXPIRED), (10, -1, Ending.TLS_NOT_YET)]
)
def test_a_certificate_out_of_its_time(tmp_path: Path, days: float, ago: float, ending: Ending) -> None:
    """Really expired, and really not valid yet."""
    issuer = certify(tmp_path, "issuer")
    mine = certify(tmp_path, "server", by=issuer, days=days, begun_days_ago=ago)
    with tls_server(tmp_path, mine, issuer) as url:
        assert is_told(url, ending)


def test_the_way_is_measured_apart_from_the_server(valkey_url: str) -> None:
    """On loopback nothing is lost, and opening a connection takes no time to speak of."""
    result = look(valkey_url, "reachability")
    names = {each.name for each in result.readings}
    assert {"network.connect", "network.resent", "network.sent", "network.waiting"} <= names
    median, *slower = (result.reading(f"latency{each}") for each in ("", ".p95", ".p99", ".worst"))
    values = [each.value for each in (median, *slower) if each is not None]
    assert len(values) == 4
    assert values == sorted(values)
    assert result.findings == ()


def test_a_packet_that_is_really_dropped_is_counted() -> None:
    """The queue is full at the first packet and free at the second, a second later: one was sent again."""
    is_over = threading.Event()
    with full_queue() as listener, socket.socket() as fresh:
        listener.settimeout(0.05)

        def make_room() -> None:
            is_over.wait(0.3)  # longer than the first packet takes, shorter than the second one
            while not is_over.is_set():
                with contextlib.suppress(TimeoutError):
                    listener.accept()[0].close()

        thread = threading.Thread(target=make_room)
        thread.start()
        try:
            fresh.settimeout(30)
            fresh.connect(listener.getsockname())
            measured = kernel.measured_on(fresh)
        finally:
            is_over.set()
            thread.join(timeout=60)
    assert measured is not None
    assert measured.resent >= 1


def test_connections_that_do_not_open_are_losses() -> None:
    """One is open, and behind it the queue fills up: none of the three of a look opens."""
    with socket.create_server((HOST, 0), backlog=1) as listener:
        talk = socket.create_connection(listener.getsockname())
        others = [socket.socket() for _ in range(3)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        way = measure_way(talk, timeout_s=0.3)
        for each in (talk, *others):
            each.close()
    assert (way.failed, way.connect_s) == (3, ())
    assert way.waiting
    assert {each.code for each in judge_way(way)} >= {"network.loss", "network.queue"}


def test_a_slow_way_is_not_a_slow_server() -> None:
    """The same PING: of the way if opening a connection takes as long, else of the server."""
    slow = Way(connect_s=(0.06, 0.07, 0.06))
    assert judge_latency(0.07, slow) == ()
    assert [each.code for each in judge_way(slow)] == ["network.slow_way"]
    near = Way(connect_s=(0.0001, 0.0002, 0.0001))
    (held_up,) = judge_latency(0.07, near)
    assert held_up.code == "latency.high"
    assert any("opening a connection" in each.what for each in held_up.evidence)
    assert judge_way(near) == ()


def test_what_a_server_did_nothing_in_is_the_way() -> None:
    """Connections open at once, as behind a proxy: what tells is how much the server did meanwhile."""
    behind = Way(connect_s=(0.0001,), idle_s=0.19)
    assert judge_latency(0.2, behind) == ()
    (finding,) = judge_way(behind)
    assert (finding.code, finding.about) == ("network.slow_way", "network")
    assert "190 ms" in finding.text
    busy = Way(connect_s=(0.0001,), idle_s=0.06)
    (held_up,) = judge_latency(0.2, busy)
    assert any("did nothing" in each.what for each in held_up.evidence)


def test_what_is_late_now_and_then_while_the_server_is_idle_is_loss() -> None:
    """Where all are late, they are not; and one or two may be chance."""
    now_and_then = [0.001, 0.2, 0.001, 0.4, 0.001, 0.2]
    assert stalls_in(now_and_then) == 3
    assert stalls_in([0.2, 0.2, 0.21]) == stalls_in([]) == 0
    assert [each.code for each in judge_way(Way(stalls=3, talks=6))] == ["network.loss"]
    assert judge_way(Way(stalls=2, talks=6)) == ()
    assert len(judge_way(Way(stalls=3, talks=6, resent=4))) == 1


@pytest.mark.parametrize(
    ("waited_s", "before_s", "after_s", "share"),
    [(1.0, 5.0, 5.01, 0.99), (1.0, 5.0, 6.5, 0.0), (1.0, 5.0, 0.1, None), (1.0, None, 1.0, None)],
)
def test_a_server_held_us_up_for_no_longer_than_it_worked(
    waited_s: float, before_s: float | None, after_s: float | None, share: float | None
) -> None:
    """One that started anew meanwhile, or does not tell, says nothing."""
    found = idle_share(waited_s, before_s, after_s)
    assert found == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("way", "codes"),
    [
        (Way(connect_s=(0.001,), resent=1), []),
        (Way(connect_s=(0.001,), resent=2), ["network.loss"]),
        (Way(connect_s=(0.001,), resent=0, failed=2), ["network.loss"]),
        (Way(waiting=3, overflowed=0), []),
        (Way(waiting=0, overflowed=5), []),
        (Way(waiting=3, overflowed=5), ["network.queue"]),
    ],
)
def test_one_packet_is_chance_and_a_queue_that_waits_is_not_full(way: Way, codes: list[str]) -> None:
    """The counter of overflows is that of all servers of a machine: alone it says nothing."""
    assert [each.code for each in judge_way(way)] == codes


def test_the_kernels_table_is_read_with_both_families() -> None:
    """A listener and both ends of a connection, also where IPv4 comes within IPv6."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        assert kernel.waiting_at(port) == 0
        client = socket.create_connection((HOST, port))
        assert kernel.waiting_at(port) == 1
        near, _ = listener.accept()
        ends = kernel.End(HOST, client.getsockname()[1]), kernel.End(HOST, port)
        pairs = {(each.near, each.far) for each in kernel.sockets() if each.state == kernel.ESTABLISHED}
        assert {ends, ends[::-1]} <= pairs
        near.close()
        client.close()
    assert kernel.end_of("[::ffff:127.0.0.1]:80") == kernel.End(HOST, 80)
    assert kernel.end_of("/run/valkey.sock:0") is None


def test_the_document_lists_every_ending() -> None:
    """With what it means, word by word."""
    rows = [f"| {ending} | {words.means} |" for ending, words in DOOR_WORDS.items()]
    lines = DOCUMENT.read_text().splitlines()
    assert [row for row in rows if row not in lines] == []
    assert set(DOOR_WORDS) == set(Ending) - {Ending.ANSWERS}
