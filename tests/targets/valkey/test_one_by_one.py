"""Clients that ask for one thing at a time, and commands that stand in the server."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking_at import a_target, look

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Finding, Severity
from medic8.targets.facts import Facts
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.asking import OWN_LOOKS, Tally, looking
from medic8.targets.valkey.looks.one_by_one import (
    Moment,
    judge_one_by_one,
    judge_waiting_input,
    two_moments,
)
from tests.raw_clients import RawClient, connected
from tests.targets.valkey.debian_server import needs_redis, redis_server

MIB = 1 << 20
SECOND = 1.0
NONE = Tally()
GET = {"id": 1, "addr": "10.0.0.1:1", "name": "shop", "flags": "N", "cmd": "get", "tot-cmds": 0}


def judged(
    *,
    said: int = 20_000,
    depth: int = 1,
    others: int = 0,
    lost: int = 0,
    came: int = 0,
    others_bytes: int = 0,
    ours: Tally = NONE,
    size: int = 30,
    took_us: float = 1.0,
    listed: int = 1,
    **changed: object,
) -> tuple[Finding, ...]:
    """What is found where *said* commands of a client came *depth* at once, and others as many as can be."""
    client = {**GET, **changed}
    cmd = str(client["cmd"])
    reads = -(-said // depth) * listed + others + lost + 2 * came + others_bytes // 1448 + ours.batches
    names = ("total_commands_processed", "total_reads_processed", "total_error_replies")
    names += ("total_connections_received", "total_net_input_bytes")
    counted = (said * listed + others + ours.commands, reads, lost, came, said * listed * size + others_bytes)
    before = Facts({**dict.fromkeys(names, "0"), f"cmdstat_{cmd}": "calls=0,usec=0"})
    after = Facts(
        {
            **{name: str(count) for name, count in zip(names, counted, strict=True)},
            f"cmdstat_{cmd}": f"calls={said * listed},usec={round(said * listed * took_us)}",
        }
    )
    clients = [{**client, "id": number, "addr": f"10.0.0.1:{number}"} for number in range(1, listed + 1)]
    now = [
        {**each, "tot-cmds": said, "tot-net-in": said * size, "tot-net-out": said * size} for each in clients
    ]
    was = [{**each, "tot-net-in": 0, "tot-net-out": 0} for each in clients]
    first, second = ([Facts({k: str(v) for k, v in each.items()}) for each in side] for side in (was, now))
    return judge_one_by_one(Moment(before, first), Moment(after, second, ours), SECOND)


def test_who_reads_one_by_one_is_named_with_what_to_send_instead() -> None:
    """And how much of all it is; several of one program are one finding."""
    (one,) = judged(said=8000, others=2000)
    assert one.severity is Severity.WARNING
    assert one.text.startswith("shop at 10.0.0.1:1 sends 8,000 GET a second, one by one")
    assert {each.what: each.seen for each in one.evidence}["of all commands"] == "80%"
    assert "MGET" in one.advice[0]
    (many,) = judged(said=8000, listed=3, cmd="hget")
    assert many.text.startswith("3 connections like shop at 10.0.0.1:1 send 8,000 HGET a second each")
    assert "HMGET" in many.advice[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"said": 1900},  # a program that has other things to do
        {"said": 8000, "others": 9000},  # little of all
        {"size": 2000},  # large values: the round trip is not what takes the time
        {"took_us": 60.0},  # expensive commands
        {"cmd": "set"},  # an import ends
        {"cmd": "brpop"},
        {"cmd": ""},
        {"depth": 2},
    ],
)
def test_what_is_not_one_by_one_is_not_named(changed: dict[str, object]) -> None:
    """Each by itself is enough."""
    assert judged(**changed) == ()  # type: ignore[arg-type]


@given(
    said=st.integers(2000, 10**6),
    depth=st.integers(2, 1000),
    others=st.integers(0, 10**6),
    lost=st.integers(0, 10**5),
    came=st.integers(0, 1000),
    others_bytes=st.integers(0, 10**9),
    ours=st.builds(Tally, st.integers(0, 10**4), st.integers(0, 200)),
)
def test_nobody_who_sends_pipelines_is_named_whatever_others_send(
    said: int, depth: int, others: int, lost: int, came: int, others_bytes: int, ours: Tally
) -> None:
    """Not for errors, large values and connections of others, each of which the server reads as well."""
    quiet = judged(
        said=said, depth=depth, others=others, lost=lost, came=came, others_bytes=others_bytes, ours=ours
    )
    assert quiet == ()
    assert judged(said=said, others=said // 10, ours=ours) != ()


def test_what_is_not_told_is_not_judged() -> None:
    """Neither without the counters nor without the list."""
    listed = [Facts({name: str(value) for name, value in GET.items()})]
    for moment in (Moment(Facts({}), listed), Moment(Facts({"total_commands_processed": "1"}), listed)):
        assert judge_one_by_one(moment, moment, SECOND) == ()
        assert judge_waiting_input(moment, moment) == ()
    assert judge_one_by_one(Moment(Facts({}), ()), Moment(Facts({}), ()), SECOND) == ()


@contextlib.contextmanager
def reading(url: str, at_once: int) -> Iterator[None]:
    """A client that reads as fast as it can, so many at once."""
    is_over = threading.Event()

    def read() -> None:
        with RawClient(url, "shop") as client:
            while not is_over.is_set():
                for _ in range(at_once - 1):
                    client.send(b"GET", b"key")
                client.ask(b"GET", b"key")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@needs_redis
def soon_found(url: str) -> Finding:
    """What a look says of clients that ask one by one; the next look, where a busy machine let none ask."""
    for _ in range(20):
        if told := [each for each in look(url, "commands").findings if each.code == "clients.one_by_one"]:
            return told[0]
    raise AssertionError("nobody was found")


def test_a_server_that_counts_no_commands_of_a_client_tells_it_as_well(tmp_path: Path) -> None:
    """Redis 7.0 and Valkey 8.0: what all said is shared out, if all that spoke said the same."""
    with redis_server(tmp_path) as url:
        with reading(url, 1):
            one_by_one = soon_found(url)
        assert one_by_one.text.startswith("shop at 127.0.0.1:")
        with connection(url) as client:
            assert "tot-cmds" not in connected(client).popitem()[1]


def test_commands_that_wait_behind_one_that_blocks_are_found(valkey_url: str) -> None:
    """Also those of a transaction that is begun and not ended; not an upload on its way."""
    value = b"v" * (MIB // 8)
    with RawClient(valkey_url, "queue") as blocked, RawClient(valkey_url, "half") as half:
        with RawClient(valkey_url, "upload") as upload:
            half_of_it = b"v" * 2 * MIB
            upload.send_raw(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$%d\r\n%s" % (4 * MIB, half_of_it))
            assert of_input(valkey_url) == ()
        blocked.send(b"BLPOP", b"nothing", b"0")
        for _ in range(10):
            blocked.send(b"SET", b"key", value)
        (waiting,) = of_input(valkey_url)
        assert "of commands of queue at 127.0.0.1:" in waiting.text
        assert "blpop" in waiting.text
        blocked.leave()
        half.ask(b"MULTI")
        for _ in range(20):
            half.ask(b"SET", b"key", value)
        (open_ended,) = of_input(valkey_url)
        assert "in a transaction that half at 127.0.0.1:" in open_ended.text
        assert half.ask(b"DISCARD") == b"+OK"
        assert of_input(valkey_url) == ()


def of_input(url: str) -> tuple[Finding, ...]:
    """What is found of it within a moment."""
    with looking(a_target(url)) as server:
        before, after, _ = two_moments(server, interval_s=0.05)
    return judge_waiting_input(before, after)


def test_while_all_are_held_back_no_client_is_named_for_it() -> None:
    """That is another finding."""
    listed = [Facts({"id": "1", "flags": "b", "qbuf": str(9 * MIB), "tot-cmds": "5"})]
    moment = Moment(Facts({}), listed)
    assert judge_waiting_input(moment, moment) != ()
    assert judge_waiting_input(moment, Moment(Facts({"paused_actions": "all"}), listed)) == ()
    grew = [Facts({**listed[0], "tot-cmds": "6"})]
    assert judge_waiting_input(moment, Moment(Facts({}), grew)) == ()


def test_our_own_looks_are_known_by_a_name_that_another_process_does_not_have(tmp_path: Path) -> None:
    """Over TCP and over a Unix socket; a process that is forked off has a name of its own."""
    with scratch_valkey(tmp_path) as server:
        for url in (server.url, server.socket_url):
            with looking(a_target(url)) as own, connection(server.url) as admin:
                mine = connected(admin)[own.try_one("CLIENT", "ID")]
                assert OWN_LOOKS.has(mine["name"])
                assert mine["name"].startswith("medic8:")
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as forked:
        assert not OWN_LOOKS.has(forked.submit(_name_of_looks).result(timeout=60))


def _name_of_looks() -> str:
    return OWN_LOOKS.name
