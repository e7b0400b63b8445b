"""What only looks like a fault is left alone: no issue of it that anybody would treat."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import valkey

from medic8.local.lab.states import STATES
from tests.local.broken_lab import Lab, until

MIB = 1 << 20
Look = Callable[[valkey.Valkey], bool]


def more(section: str, field: str, least: int = 1) -> Look:
    """Whether a counter goes on growing."""

    def look(client: valkey.Valkey) -> bool:
        before = client.info(section)[field]
        return until(lambda: client.info(section)[field] >= before + least)

    return look


def grows_and_stays(client: valkey.Valkey) -> bool:
    before = client.dbsize()
    keys = list(client.scan_iter("medic8-lab-[oi]*", count=1000))
    assert len(keys) > 500
    return {client.ttl(key) for key in keys[:50]} == {-1} and until(lambda: client.dbsize() > before)


def is_added_to_and_trimmed(client: valkey.Valkey) -> bool:
    def added() -> int:
        return int(client.xinfo_stream("medic8-lab-events:all")["entries-added"])

    before = added()
    return until(lambda: added() > before + 50) and 1000 <= client.xlen("medic8-lab-events:all") < 1200


def come_and_go(client: valkey.Valkey) -> bool:
    before = {each["id"] for each in client.client_list() if each["name"] == "lab-rolling"}
    assert len(before) >= 39  # one may be on its way
    return until(lambda: not before & {each["id"] for each in client.client_list()})


def wait_and_listen(client: valkey.Valkey) -> bool:
    clients = client.info("clients")
    return (clients["blocked_clients"], clients["pubsub_clients"]) == (20, 20)


#: What is to be seen without Medic8.
EXPECTED: dict[str, Look] = {
    "cache_at_its_limit": more("stats", "evicted_keys", 2),
    "copy_on_write_peak": lambda client: client.info("persistence")["rdb_last_cow_size"] >= 12 * MIB,
    "warm_up": more("stats", "keyspace_misses", 100),
    "bulk_import": grows_and_stays,
    "business_growth": grows_and_stays,
    "capped_stream": is_added_to_and_trimmed,
    "rolling_deploy": come_and_go,
    "waiting_clients": wait_and_listen,
    "planned_failover": lambda client: client.info("replication")["role"] == "slave",
    "new_replica_joins": lambda client: client.info("replication")["connected_slaves"] == 1,
    "doubled_traffic": more("stats", "total_commands_processed", 200),
}


@pytest.mark.parametrize("state", EXPECTED)
def test_a_healthy_state_is_really_there_and_nothing_is_found(lab: Lab, state: str) -> None:
    """A treatment of it would be the fault."""
    if state != "planned_failover":  # a load does not follow the primary
        lab.make("background_load")
    lab.make(state)
    with valkey.Valkey.from_url(lab.server.url, decode_responses=True) as client:
        assert EXPECTED[state](client)
    assert lab.issues(watch_s=3.5 if state == "capped_stream" else 0.0) == []
    lab.reset()
    assert lab.issues() == []
    with valkey.Valkey.from_url(lab.server.url, decode_responses=True) as client:
        assert client.info("replication")["role"] == "master"
        assert list(client.scan_iter("medic8*", count=1000)) == []


def test_a_blip_is_over_before_anybody_is_treated(lab: Lab) -> None:
    """Whoever looks in the middle of it waits, and finds nothing; and so does whoever looks after it."""
    lab.make("background_load")
    with valkey.Valkey.from_url(lab.server.url) as client:
        client.ping()
        began_s = time.monotonic()
        lab.make("one_second_blip")
        issues = lab.issues()
        assert time.monotonic() - began_s >= 1
        assert issues == []
        assert client.info("commandstats")["cmdstat_client|pause"]["calls"] == 1
    assert lab.issues() == []


def test_every_state_is_tried_here() -> None:
    """One that is added is tried as well."""
    of_servers = {name for name, state in STATES.items() if state.part == "server"}
    assert of_servers == {*EXPECTED, "one_second_blip"}
