"""What is measured on the way to a server: round trips, what they stray by, what really gets lost."""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
import time

import pytest
import valkey
from looking_at import look

from medic8.errors import UnreachableError
from medic8.targets.machine import kernel
from medic8.targets.valkey.client import options_of
from medic8.targets.valkey.looks import reachability
from medic8.targets.valkey.looks.broken_off import Held, judge_cuts
from medic8.targets.valkey.looks.flapping import judge_flapping, look_for_flapping
from tests.targets.valkey.bad_doors import HOST, door, keep_silent
from tests.targets.valkey.own_network import alone

#: ``struct tcp_info`` of Linux 6.18, of a connection of which every sixth packet was really dropped.
MEASURED = bytes.fromhex(
    "010000000007aa01e01c0300409c00000080000018020000000000000000000000000000000000000000000000000000"
    "000000000000000000000000ffff0000d7ff00000c0100009b010000ffffff7f12000000cbff00000300000000000000"
    "d7ff00000700000000b9b7b902000000ffffffffffffffffa501000000000000d2000000000000002a00000021000000"
    "00000000080000001f00000024000000000024f400000000000b13000000000000000000000000000000000000000000"
    "1f00000000000000f8010000000000005400000000000000000000000000000000000000000000000000000001000000"
)


def test_what_the_kernel_measured_is_read_of_any_kernel() -> None:
    """The round trip, how it strays, what was lost; what was sent again for nothing is no loss."""
    assert kernel.parse_tcp_info(MEASURED) == kernel.Measured(0.000268, 0.000411, 7, 0, 42)
    old = kernel.parse_tcp_info(MEASURED[:104])
    assert old == kernel.Measured(0.000268, 0.000411, 7, 0, None)
    for_nothing = MEASURED[:216] + (7).to_bytes(4, sys.byteorder) + MEASURED[220:]
    assert kernel.parse_tcp_info(for_nothing) == kernel.Measured(0.000268, 0.000411, 0, 0, 42)
    assert kernel.parse_tcp_info(MEASURED[:103]) is None


def test_a_way_that_really_loses_packets_is_found() -> None:
    """One of eight, in a network namespace of its own; the server there is well, and so is the way before."""
    assert alone("tests.targets.valkey.lossy").splitlines() == [
        "before: nothing",
        "one of eight: network.loss",
    ]


def test_percentiles_are_of_the_round_trips() -> None:
    """The nearest rank: a value that was really seen."""
    values = [float(each) for each in range(1, 201)]
    assert [reachability.percentile(values, each) for each in (50, 95, 99, 100)] == [100, 190, 198, 200]
    assert reachability.percentile([7.0], 99) == 7


def test_what_comes_and_goes_is_told_from_a_restart() -> None:
    """Away once and back is one; what is gone is gone."""

    def codes(seen: str) -> list[str]:
        return [each.code for each in judge_flapping([each == "+" for each in seen], "valkey://x")]

    for steady in ("", "+", "++++++", "------", "---+++", "+++---+++", "---++---"):
        assert codes(steady) == []
    assert codes("++--++--") == ["network.flapping"]
    (finding,) = judge_flapping([True, False, True, False], "valkey://x")
    assert "2 of 4 attempts" in finding.text
    assert finding.evidence[-1].seen == "+-+-"


def test_a_door_that_answers_every_other_time_comes_and_goes(valkey_url: str) -> None:
    """As one does that spreads over two servers of which one is down."""
    options, visits = options_of(valkey_url), itertools.count()

    def every_other(near: socket.socket) -> None:
        if next(visits) % 2 == 0:
            return
        with socket.create_connection((options["host"], options["port"])) as far:
            far.sendall(near.recv(1 << 16))
            near.sendall(far.recv(1 << 16))

    with door(every_other) as port:
        result = look(f"valkey://{HOST}:{port}/0", "reachability")
    assert [each.code for each in result.findings] == ["network.flapping"]


def test_what_cuts_connections_in_use_is_told_though_each_new_one_is_answered(valkey_url: str) -> None:
    """As a proxy with a limit to the life of a connection does; the server goes on: no restart."""
    options = options_of(valkey_url)

    def a_few_answers(near: socket.socket) -> None:
        with socket.create_connection((options["host"], options["port"])) as far:
            for _ in range(3):
                far.sendall(near.recv(1 << 16))
                near.sendall(far.recv(1 << 16))

    with door(a_few_answers) as port:
        result = look(f"valkey://{HOST}:{port}/0", "clients")
        assert [each.code for each in result.findings] == ["network.cut"]
        assert result.unseen[0].startswith("clients: ")


def test_a_look_that_is_turned_away_says_that_the_server_is_full(valkey_url: str) -> None:
    """Whichever look it is: one before it may have been let in."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("maxclients", "1")
        result = look(valkey_url, "memory")
        client.config_set("maxclients", "10000")
    assert {each.code for each in result.findings} == {"clients.rejected", "target.unreachable"}


def test_what_cuts_connections_after_some_bytes_is_told_as_well(valkey_url: str) -> None:
    """As a filter does that has seen enough; PINGs alone would go on for long."""
    options = options_of(valkey_url)

    def some_bytes(near: socket.socket) -> None:
        passed = 0
        with socket.create_connection((options["host"], options["port"])) as far:
            while (asked := near.recv(1 << 16)) and passed < 3000:
                far.sendall(asked)
                answer = far.recv(1 << 16)
                passed += len(answer)
                near.sendall(answer)

    with door(some_bytes) as port:
        result = look(f"valkey://{HOST}:{port}/0", "memory")
    assert [each.code for each in result.findings] == ["network.cut"]


def test_a_way_that_swallows_what_is_long_is_told_from_a_server_that_hangs(valkey_url: str) -> None:
    """PINGs are answered there, each time, and INFO never is; one that hangs answers neither."""
    options = options_of(valkey_url)

    def swallow(near: socket.socket) -> None:
        with socket.create_connection((options["host"], options["port"])) as far:
            while asked := near.recv(1 << 16):
                far.sendall(asked)
                if len(answer := far.recv(1 << 16)) < 500:
                    near.sendall(answer)

    with door(swallow) as port:
        (finding,) = look(f"valkey://{HOST}:{port}/0", "memory", timeout_s=0.3).findings
    assert finding.code == "target.unreachable"
    assert "nothing that is long" in finding.text
    with door(keep_silent) as port, pytest.raises(UnreachableError):
        look(f"valkey://{HOST}:{port}/0", "memory", timeout_s=0.3)


def test_what_lets_new_connections_wait_is_a_slow_way_though_open_ones_are_quick(valkey_url: str) -> None:
    """As a proxy does that looks up who calls, for each connection; PINGs on one that is open are quick."""
    options = options_of(valkey_url)

    def slow_at_first(near: socket.socket) -> None:
        time.sleep(0.3)
        with socket.create_connection((options["host"], options["port"])) as far:
            while asked := near.recv(1 << 16):
                far.sendall(asked)
                near.sendall(far.recv(1 << 16))

    with door(slow_at_first) as port:
        (finding,) = look(f"valkey://{HOST}:{port}/0", "reachability").findings
    assert finding.code == "network.slow_way"
    assert "a new connection waits" in finding.text
    assert look(valkey_url, "reachability").findings == ()


def test_what_lets_little_through_is_a_slow_way_though_what_is_short_comes_quickly(valkey_url: str) -> None:
    """As a line of a few KiB a second does; the server itself answers at once."""
    options = options_of(valkey_url)

    def trickle(near: socket.socket) -> None:
        with socket.create_connection((options["host"], options["port"])) as far:
            far.settimeout(0.02)
            while asked := near.recv(1 << 16):
                far.sendall(asked)
                with contextlib.suppress(TimeoutError):
                    while answer := far.recv(1024):
                        near.sendall(answer)
                        if len(answer) == 1024:
                            time.sleep(0.05)

    with door(trickle) as port:
        result = look(f"valkey://{HOST}:{port}/0", "reachability")
    assert [each.code for each in result.findings] == ["network.slow_way"]
    assert "lets little through" in result.findings[0].text
    assert look(valkey_url, "reachability").findings == ()


def test_connections_that_break_are_cut_only_if_the_server_goes_on_and_all_of_them_do() -> None:
    """One that holds is enough to say nothing, and so is a start anew."""

    def codes(*held: tuple[bool, str]) -> list[str]:
        lives = [Held(0.4, 9, is_broken, run) for is_broken, run in held]
        return [each.code for each in judge_cuts(lives, "valkey://x")]

    assert codes((True, "a"), (True, "a"), (True, "a")) == ["network.cut"]
    assert codes((True, "a"), (True, "a"), (False, "a")) == []
    assert codes((True, "a"), (True, "b"), (True, "c")) == []


def test_what_dies_every_few_seconds_comes_and_goes_too(valkey_url: str) -> None:
    """It changes as often as a restart within three seconds, and is looked at for longer then."""
    options, began_s = options_of(valkey_url), time.monotonic()

    def now_and_then(near: socket.socket) -> None:
        if int(time.monotonic() - began_s) % 3 == 0:
            return
        with socket.create_connection((options["host"], options["port"])) as far:
            far.sendall(near.recv(1 << 16))
            near.sendall(far.recv(1 << 16))

    with door(now_and_then) as port:
        found = look_for_flapping(f"valkey://{HOST}:{port}/0", timeout_s=1.0)
    assert [each.code for each in found] == ["network.flapping"]
