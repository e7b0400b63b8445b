"""Keys to which all add and connections that nobody closes show while one watches."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
import valkey

from medic8.model.issue import IssueType
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.clients import judge_listed, judge_numbers
from medic8.targets.valkey.looks.growing_clients import judge_growing_clients
from medic8.targets.valkey.looks.growing_keys import growing, never_taken
from medic8.targets.valkey.looks.growth import look_at_growth
from tests.meanwhile import meanwhile
from tests.raw_clients import RawClient
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, found, report_of

WATCH = Surroundings(backups=AROUND.backups, now=NOW, watch_s=3.5)


def test_a_set_that_only_grows_and_connections_that_only_come_are_found(valkey_url: str) -> None:
    """
    Each is an issue of its own; a hash of the same length to which nobody adds is none.

    Nor does it hide a list that only grows that another one is taken from.
    """
    port, number = int(valkey_url.rsplit(":", 1)[1].split("/", 1)[0]), 0

    def connect() -> None:
        sock = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        sock.sendall(b"CLIENT SETNAME worker\r\n")
        sock.recv(100)

    with valkey.Valkey.from_url(valkey_url) as client, ExitStack() as held:

        def work() -> None:
            nonlocal number
            number += 20
            client.sadd("seen", *(f"request-{number + each:032}" for each in range(20)))
            client.rpush("audit", *(f"{number + each} " + "a line of some length " * 5 for each in range(3)))
            client.rpush("jobs", "job")
            client.lpop("jobs")
            client.rpush("waiting", *(f"{number + each} " + "a job of some length " * 5 for each in range(2)))
            client.lpop("waiting")
            connect()

        client.config_resetstat()
        client.sadd("seen", *(f"old-{each:032}" for each in range(25_000)))
        client.hset("table", mapping={f"row-{each:032}": "x" * 50 for each in range(12_000)})
        client.rpush("audit", *(f"{each} " + "a line of some length " * 5 for each in range(12_000)))
        client.rpush("waiting", *(f"{each} " + "a job of some length " * 5 for each in range(12_000)))
        for _ in range(120):
            connect()
        with meanwhile(work, every_s=0.05):
            result = look_at_growth(a_target(valkey_url), WATCH)
        assert {each.about for each in result.findings if each.code == "keys.growing"} == {
            "set seen",
            "list audit",
        }
        assert "'worker'" in found(result, "clients.growing").evidence[1].seen
        assert {each.issue_type for each in report_of(result).issues} == {
            IssueType.RESOURCE_EXHAUSTION,
            IssueType.MEMORY_LEAK,
        }


@pytest.mark.parametrize(
    "lengths",
    [
        [20_000] * 40,  # nobody adds
        [20_000 + 10 * (each % 8) for each in range(40)],  # it is taken from
        [20_000 + 1000 * each for each in range(40)],  # an import
        [20_000 + 10 * each for each in range(39)] + [None],  # it is gone
    ],
)
def test_what_comes_to_an_end_is_no_key_that_grows(lengths: list[int | None]) -> None:
    """Looked at ten times a second."""
    assert growing([each / 10 for each in range(40)], lengths) is None
    assert growing([each / 10 for each in range(40)], [20_000 + 10 * each for each in range(40)])


def test_who_ever_took_from_a_kind_of_key_is_told_by_the_servers_own_count() -> None:
    """A server that tells no counts says nothing."""
    assert never_taken("set", Facts({"cmdstat_sadd": "calls=5"}))
    assert not never_taken("set", Facts({"cmdstat_sadd": "calls=5", "cmdstat_spop": "calls=1"}))
    assert not never_taken("set", Facts({}))


def test_connections_that_come_and_are_used_are_no_finding() -> None:
    """A fleet that scales out, as opposed to a pool that leaks."""

    def listed(idle: int) -> list[Facts]:
        new = {"name": "web", "age": "3", "idle": str(idle), "flags": "N", "multi": "-1"}
        return [Facts(new)] * 40

    assert judge_growing_clients(listed(0), 200, 4.0, 10.0) == ()
    assert len(judge_growing_clients(listed(3), 200, 4.0, 10.0)) == 1
    assert judge_growing_clients(listed(3)[:5], 200, 4.0, 10.0) == ()


def test_subscribers_that_are_cut_off_again_and_again_are_found(valkey_url: str) -> None:
    """Each connects anew and reads nothing: at no moment much waits for anybody."""
    setting = "client-output-buffer-limit"
    with valkey.Valkey.from_url(valkey_url) as client, ExitStack() as held:
        client.config_set(setting, "pubsub 1mb 1mb 1")

        def fall_behind() -> None:
            if client.pubsub_numsub("news")[0][1] == 0:
                reader = held.enter_context(RawClient(valkey_url))
                reader.ask("SUBSCRIBE", "news")
            with client.pipeline(transaction=False) as pipe:
                for _ in range(400):
                    pipe.publish("news", b"x" * 10_000)
                pipe.execute()

        with meanwhile(fall_behind, every_s=0.05):
            report = report_of(look_at_growth(a_target(valkey_url), WATCH))
        client.config_set(setting, "pubsub 32mb 8mb 60")
    (issue,) = report.issues
    assert (issue.issue_type, issue.signs) == (IssueType.MEMORY_LEAK, ("clients.cut_off",))


def test_connections_that_were_opened_and_never_used_are_found_where_they_take_half_of_all() -> None:
    """A pool that was opened a moment ago, or is used by turns, is none; nor is one beside much room."""
    numbers = Facts({"connected_clients": "160", "maxclients": "300"})

    def codes(age_s: int, idle_s: int, facts: Facts = numbers) -> list[str]:
        one = {"flags": "N", "multi": "-1", "name": "web", "age": str(age_s), "idle": str(idle_s)}
        listed = [Facts({**one, "id": str(number)}) for number in range(160)]
        return [each.code for each in judge_listed(listed, facts, is_whole=True)]

    assert codes(age_s=9, idle_s=8) == ["clients.idle"]
    assert codes(age_s=3, idle_s=3) == []
    assert codes(age_s=9, idle_s=4) == []
    assert codes(9, 8, Facts({"connected_clients": "160", "maxclients": "10000"})) == []


def test_who_is_turned_away_beside_much_room_was_not_one_too_many() -> None:
    """Whoever breaks off at the door counts as well; a burst that fills a server is seen by who came."""

    def codes(came: int) -> list[str]:
        known = {"connected_clients": "3", "maxclients": "100"}
        before = Facts({**known, "rejected_connections": "0", "total_connections_received": "50"})
        after = {"rejected_connections": "1", "total_connections_received": str(50 + came)}
        return [each.code for each in judge_numbers(Facts({**known, **after}), before)]

    assert codes(came=4) == []
    assert codes(came=97) == ["clients.near_limit"]
