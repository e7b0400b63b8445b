"""Clients that may be closed for being idle or slow, and those that may not, on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest
from looking_at import AROUND, a_target, report_on

from medic8.errors import ChangedError, RefusedError
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Step, StepClass
from medic8.model.recovery import Claim, Fence
from medic8.targets.facts import Facts, pairs
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.clients import MOST_CLOSED, idlest_of, is_ordinary
from medic8.targets.valkey.looks.commands import SlowCommand, judge_runaways
from tests.meanwhile import meanwhile
from tests.raw_clients import RawClient, connected, wait_until
from tests.targets.valkey.debian_server import needs_redis, redis_server

CLAIM = Claim(journal="journal", recovery="recovery", fence=Fence(number=1, nonce="0" * 32))


def listed(number: int, **fields: object) -> Facts:
    known = {"id": number, "addr": f"10.0.0.1:{number}", "flags": "N", "multi": -1, "idle": 0, "cmd": "keys"}
    return Facts({name: str(value) for name, value in (known | fields).items()})


def kill(client: RawClient, **more: object) -> Step:
    return Step(
        title="close it",
        action="kill_client",
        arguments={"client": client.id, "address": client.address, "user": "default", **more},  # type: ignore[dict-item]
        touches="client",
        step_class=StepClass.ONE_WAY,
    )


def test_who_sends_half_a_command_is_named_and_explains_what_clients_take(valkey_url: str) -> None:
    """What has come is kept until the rest does; one that goes on sending is none."""
    with RawClient(valkey_url) as stopped, RawClient(valkey_url) as goes_on:
        for client, name in ((stopped, b"stopped"), (goes_on, b"goes-on")):
            client.ask(b"CLIENT", b"SETNAME", name)
            client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000000\r\n" + b"x" * (4 << 20))
        with meanwhile(lambda: goes_on.send_raw(b"x" * 100), every_s=0.2), connection(valkey_url) as plain:
            wait_until(lambda: (connected(plain)[stopped.id].number("idle") or 0) >= 2, "nothing comes")
            report = report_on(valkey_url, only=("memory", "clients"))
    (root,) = [each for each in report.issues if not each.follows_from]
    assert root.signs == ("clients.half_sent",)
    assert "stopped" in root.evidence[0].what
    assert {sign for each in report.issues for sign in each.signs} == {*root.signs, "memory.client_buffers"}


@pytest.mark.parametrize("more", [{"command": "eval"}, {"least": {"idle": 3600}}])
def test_who_does_no_longer_what_it_was_to_be_closed_for_stays(
    valkey_url: str, more: dict[str, object]
) -> None:
    """Compared once more with the claim under watch, right before the kill."""
    with RawClient(valkey_url) as client, open_session(a_target(valkey_url), AROUND) as session:
        client.ask(b"PING")
        session.take_claim(CLAIM, lasts_s=60)
        found = session.capture(kill(client, **more))
        for act in (
            lambda: session.prepare(kill(client, **more)),
            lambda: session.swap(kill(client, **more), expected=found, new=None, claim=CLAIM),
        ):
            with pytest.raises(ChangedError, match="by now"):
                act()
        assert client.ask(b"PING") == b"+PONG"
        client.ask(b"EVAL", b"return 1", b"0")
        step = kill(client, command="eval")
        session.swap(step, expected=session.capture(step), new=None, claim=CLAIM)
        assert client.ask(b"PING") == b""


@pytest.mark.parametrize(
    "fields",
    [
        {"flags": "S"}, {"flags": "P"}, {"flags": "b"}, {"flags": "x"}, {"flags": "O"}, {"flags": "e"},
        {"multi": 0}, {"sub": 1}, {"psub": 1}, {"ssub": 1}, {"watch": 1}, {"name": "medic8-recovery"},
        {"name": "medic8-recovery:x:1"}, {"flags": ""},
    ],
)  # fmt: skip
def test_only_ordinary_clients_are_closed_for_being_idle_or_slow(fields: dict[str, object]) -> None:
    """Whoever has something under way, or is somebody special, is nobody's to close."""
    assert is_ordinary(listed(1))
    assert not is_ordinary(listed(1, **fields))
    assert idlest_of([listed(1, idle=9999, **fields)], 3600) == ()
    slow = [SlowCommand("KEYS", 0.0, 5.0, "", "10.0.0.1:1")] * 9
    assert judge_runaways(slow, [listed(1, **fields)]) == ()


def test_who_sent_watch_last_is_not_ordinary_where_the_server_does_not_count_watched_keys() -> None:
    """Redis 7.0 has no such field; where it is there, it decides."""
    assert not is_ordinary(listed(1, cmd="watch"))
    assert idlest_of([listed(1, cmd="watch", idle=9999)], 3600) == ()
    assert is_ordinary(listed(1, cmd="watch", watch=0))


@needs_redis
def test_an_idle_client_that_watches_keys_is_not_closed_by_any_redis(tmp_path: Path) -> None:
    """A real one, with the field or without."""
    with redis_server(tmp_path) as url, RawClient(url) as watching, RawClient(url) as idle:
        watching.ask(b"WATCH", b"key")
        idle.ask(b"PING")
        with connection(url) as admin:
            now = connected(admin)
        listed_now = [now[watching.id], now[idle.id]]
        assert [each["client"] for each in idlest_of(listed_now, 0)] == [idle.id]


def test_the_idlest_are_named_in_the_order_in_which_they_came() -> None:
    """So that what was agreed to is the same plan a moment later; none below the age."""
    clients = [listed(number, idle=3590 + number) for number in range(1, 30)]
    assert [each["client"] for each in idlest_of(clients[::-1], 3600)] == [25, 26, 27, 28, 29]
    assert len(idlest_of(clients, 1)) == MOST_CLOSED
    assert idlest_of(clients, 3700) == ()


def test_a_habit_is_one_command_often_and_long_by_who_is_still_at_it() -> None:
    """Few, short, of several kinds, or by somebody else: none."""
    slow = [SlowCommand("KEYS", 0.0, 0.5, "", "10.0.0.1:1")] * 4
    (finding,) = judge_runaways(slow, [listed(1), listed(2)])
    assert [each["client"] for each in finding.objects] == [1]
    assert judge_runaways(slow[:2] * 1, [listed(1)]) == ()
    assert judge_runaways([each._replace(took_s=0.02) for each in slow], [listed(1)]) == ()
    assert judge_runaways(slow, [listed(1, cmd="get")]) == ()
    assert (
        judge_runaways([*slow[:2], *(each._replace(name="SORT x") for each in slow[:2])], [listed(1)]) == ()
    )


def test_of_who_shares_an_address_nobody_is_the_one_that_holds_everybody_up(tmp_path: Path) -> None:
    """Clients of a Unix socket have one address, also if one is left of them; and so has who took it over."""
    innocent = {"name": "innocent", "cmd": "eval"}
    slow = [SlowCommand("EVAL", 0.0, 5.0, "", "10.0.0.1:1")] * 9
    assert judge_runaways(slow, [listed(1, **innocent)]) != ()
    assert judge_runaways(slow, [listed(1, **innocent), listed(2, addr="10.0.0.1:1", cmd="eval")]) == ()
    with (
        scratch_valkey(tmp_path) as server,
        connection(server.socket_url) as client,
        open_session(a_target(server.url), AROUND) as session,
    ):
        client.execute_command("EVAL", "return 1", 0)
        (now,) = [
            each for each in connected(client).values() if each["cmd"] == "eval" or "U" in each["flags"]
        ]
        slow = [each._replace(address=now["addr"]) for each in slow]
        assert judge_runaways(slow, [Facts({**now, "cmd": "eval"})]) == ()
        step = Step(
            title="close it",
            action="kill_client",
            arguments={
                "client": int(now["id"]),
                "address": now["addr"],
                "user": "default",
                "command": "eval",
            },
            touches="client",
            step_class=StepClass.ONE_WAY,
        )
        with pytest.raises(RefusedError, match="no address of its own"):
            session.prepare(step)


def test_a_name_like_ours_spares_nobody_for_being_idle() -> None:
    """Only what the act would refuse is left out."""
    assert is_ordinary(listed(1, name="medic8"))
    assert is_ordinary(listed(1, name="medic8-is-great"))


def test_hostile_names_of_runaways_are_shown_escaped() -> None:
    """They come from whoever connected."""
    slow = [SlowCommand("KEYS", 0.0, 5.0, "", "10.0.0.1:1")] * 3
    (finding,) = judge_runaways(slow, [listed(1, name="\x1b[2J", user="\x1b]0;x")])
    assert finding.text.isprintable()
    assert all(line.isprintable() for line in finding.advice)
    assert is_ordinary(pairs("flags=N", " "))


def test_what_clients_are_is_read_from_a_real_server(valkey_url: str) -> None:
    """As CLIENT LIST really writes it."""
    with connection(valkey_url) as admin, RawClient(valkey_url) as one, RawClient(valkey_url) as other:
        other.ask(b"MULTI")
        now = connected(admin)
        assert is_ordinary(now[one.id])
        assert not is_ordinary(now[other.id])
