"""Every fault of the lab's server is really there, is named by a diagnosis, and is gone after a reset."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import valkey
import valkey.exceptions
from cryptography import x509

from medic8.local.lab.faults import FAULTS
from medic8.model.issue import IssueType
from medic8.targets.valkey.data_files import Part
from tests.damaged_files import is_readable
from tests.local.broken_lab import Lab, until
from tests.targets.valkey import vanishing

MIB = 1 << 20
Look = Callable[[valkey.Valkey], bool]


def client_of(url: str, *, timeout_s: float = 30.0) -> valkey.Valkey:
    """A plain client, as any application has one; it tries nothing twice."""
    return valkey.Valkey.from_url(url, socket_timeout=timeout_s, retry=None, decode_responses=True)


def refusal(client: valkey.Valkey, *command: object) -> str:
    """The error that a command is answered; empty if it is carried out."""
    try:
        client.execute_command(*command)
    except valkey.exceptions.ResponseError as exc:
        return f"{type(exc).__name__} {exc}"
    return ""


def named(client: valkey.Valkey, name: str) -> list[dict[str, str]]:
    return [each for each in client.client_list() if each["name"] == name]


def grows(client: valkey.Valkey) -> bool:
    before = client.dbsize()
    with client.pipeline(transaction=False) as pipe:
        for key in client.scan_iter("medic8-lab-session:*", count=1000):
            pipe.ttl(key)
        stay = pipe.execute().count(-1)
    return stay > 300 and until(lambda: client.dbsize() > before)


def keys_take_the_time(client: valkey.Valkey) -> bool:
    before = client.info("commandstats")["cmdstat_keys"]["usec"]
    return until(lambda: client.info("commandstats")["cmdstat_keys"]["usec"] > before + 50_000)


def entries_wait(client: valkey.Valkey) -> bool:
    return client.xpending("medic8-lab-jobs:all", "lab-workers")["pending"] >= 12_000


def stream_grows(client: valkey.Valkey) -> bool:
    before = client.xlen("medic8-lab-events:all")
    return until(lambda: client.xlen("medic8-lab-events:all") > before + 50)


def is_full_of_clients(client: valkey.Valkey) -> bool:
    return client.info("stats")["rejected_connections"] > 0 and len(named(client, "lab-idle")) > 90


def one_key_is_read(client: valkey.Valkey) -> bool:
    before = client.info("stats")["keyspace_hits"]
    return until(lambda: client.info("stats")["keyspace_hits"] > before + 500) and (
        client.object("freq", "medic8-lab-price:all") > 30
    )


def is_asked_one_by_one(client: valkey.Valkey) -> bool:
    before, said = client.info("stats"), int(named(client, "lab-shop")[0]["tot-cmds"])
    assert until(lambda: int(named(client, "lab-shop")[0]["tot-cmds"]) > said + 500)
    after = client.info("stats")
    reads, commands = (
        after[name] - before[name] for name in ("total_reads_processed", "total_commands_processed")
    )
    return named(client, "lab-shop")[0]["cmd"] == "get" and reads > commands * 0.9


def is_behind(client: valkey.Valkey) -> bool:
    """Nearly always: for a moment it goes on."""

    def is_so() -> bool:
        facts = client.info("replication")
        return facts["master_repl_offset"] - facts["slave0"]["offset"] >= 10 * MIB

    return until(is_so)


def storms(client: valkey.Valkey) -> bool:
    before = client.info("stats")["expired_time_cap_reached_count"]
    return until(lambda: client.info("stats")["expired_time_cap_reached_count"] >= before + 10)


def are_half_open(client: valkey.Valkey) -> bool:
    """The server has them, and the kernel has no socket at their ends."""
    ends = {f"{each.laddr.ip}:{each.laddr.port}" for each in psutil.net_connections("tcp4") if each.laddr}
    gone = named(client, "lab-half-open")
    return len(gone) == 3 and not {each["addr"] for each in gone} & ends


def is_sound(client: valkey.Valkey, part: Part) -> bool:
    """Whether the server's own tool reads a copy of the file, or of the part of it that has a checksum."""
    folder = Path(client.config_get("dir")["dir"])
    pattern = "dump.rdb" if part is Part.SNAPSHOT else "appendonlydir/*.base.rdb"
    (path,) = folder.glob(pattern)
    return is_readable(client.info("server")["executable"], path)


#: What is to be seen without Medic8, and as what a diagnosis names it.
EXPECTED: dict[str, tuple[Look, IssueType, str]] = {
    "slow_reader": (
        lambda client: int(named(client, "lab-slow-reader")[0]["omem"]) >= 24 * MIB,
        IssueType.MEMORY_LEAK,
        "client output",
    ),
    "clients_without_limit": (
        lambda client: (
            int(named(client, "lab-slow-reader")[0]["omem"]) >= 24 * MIB
            and client.config_get("maxmemory")["maxmemory"] == str(360 * MIB)
        ),
        IssueType.MEMORY_LEAK,
        "client output",
    ),
    "forgotten_monitor": (
        lambda client: "O" in named(client, "lab-monitor")[0]["flags"],
        IssueType.SLOW_OPERATIONS,
        "MONITOR",
    ),
    "too_many_clients": (is_full_of_clients, IssueType.RESOURCE_EXHAUSTION, "clients"),
    "idle_clients": (
        lambda client: len(named(client, "lab-idle")) == 60,
        IssueType.RESOURCE_EXHAUSTION,
        "clients",
    ),
    "leaking_prefix": (grows, IssueType.MEMORY_LEAK, "keys medic8-lab-session…"),
    "script_cache": (
        lambda client: client.info("memory")["number_of_cached_scripts"] >= 1500,
        IssueType.MEMORY_LEAK,
        "scripts",
    ),
    "pending_entries": (entries_wait, IssueType.MEMORY_LEAK, "stream medic8-lab-jobs:all"),
    "growing_stream": (stream_grows, IssueType.MEMORY_LEAK, "stream medic8-lab-events:all"),
    "memory_full": (
        lambda client: "OutOfMemory" in refusal(client, "SET", "mine", "x" * 65_536),
        IssueType.RESOURCE_EXHAUSTION,
        "memory",
    ),
    "runaway_command": (keys_take_the_time, IssueType.SLOW_OPERATIONS, "commands"),
    "big_deletes": (
        lambda client: client.slowlog_get(8)[0]["command"].startswith(b"DEL medic8-lab-basket"),
        IssueType.SLOW_OPERATIONS,
        "deletions",
    ),
    "small_backlog": (
        lambda client: client.info("replication")["repl_backlog_size"] == 16_384,
        IssueType.SYNCHRONIZATION,
        "replication backlog",
    ),
    "lagging_replica": (is_behind, IssueType.SYNCHRONIZATION, "replication"),
    "expiry_storm": (storms, IssueType.SLOW_OPERATIONS, "expiry"),
    "half_open_clients": (are_half_open, IssueType.NETWORK, "dead clients"),
    "big_key": (
        lambda client: client.memory_usage("medic8-lab-catalogue:all", samples=0) >= 16 * MIB,
        IssueType.SLOW_OPERATIONS,
        "large keys",
    ),
    "busy_script": (
        lambda client: "BUSY" in refusal(client, "GET", "mine"),
        IssueType.SLOW_OPERATIONS,
        "BUSY",
    ),
    "hot_key": (one_key_is_read, IssueType.SLOW_OPERATIONS, "hot keys"),
    "one_by_one": (is_asked_one_by_one, IssueType.SLOW_OPERATIONS, "commands one by one"),
    "damaged_snapshot": (
        lambda client: not is_sound(client, Part.SNAPSHOT),
        IssueType.GRID_CORRUPTION,
        "snapshot",
    ),
    "damaged_aof": (
        lambda client: not is_sound(client, Part.AOF),
        IssueType.GRID_CORRUPTION,
        "append-only file",
    ),
    "failed_save": (
        lambda client: "MISCONF" in refusal(client, "SET", "mine", "1"),
        IssueType.RESOURCE_EXHAUSTION,
        "persistence",
    ),
}


def skip_where_it_cannot_be(fault: str) -> None:
    """Skip the test of a fault that this machine does not let us make."""
    if fault == "half_open_clients" and vanishing.MISSING:
        pytest.skip(vanishing.MISSING)


#: For so many seconds one has to watch to see it.
WATCHED_S = {"growing_stream": 3.5}


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_is_there_under_load_is_named_and_is_gone_after_a_reset(lab: Lab, fault: str) -> None:
    """Seen by a plain client first; afterwards nothing is left for a diagnosis to find."""
    skip_where_it_cannot_be(fault)
    is_there, issue_type, about = EXPECTED[fault]
    lab.make("background_load")
    breakage = lab.make(fault)
    assert breakage.what
    with client_of(lab.server.url) as client:
        assert is_there(client)
        issues = lab.issues(one_by_one=fault == "too_many_clients", watch_s=WATCHED_S.get(fault, 0.0))
        found = {issue.about: issue.issue_type for issue in issues}
        assert found.get(about) is issue_type, found
    lab.reset()
    assert lab.issues() == []


def differs(replica: valkey.Valkey, primary: valkey.Valkey) -> bool:
    return replica.info("replication")["master_link_status"] == "up" and replica.dbsize() > primary.dbsize()


def is_cut_off(replica: valkey.Valkey, primary: valkey.Valkey) -> bool:
    primary.set("medic8-lab-load:new", "1")
    return replica.info("replication")["master_link_status"] == "down" and not replica.exists(
        "medic8-lab-load:new"
    )


@pytest.mark.parametrize(
    ("fault", "is_there", "about"),
    [
        ("writable_replica_changed", differs, "replica-read-only"),
        ("broken_replication", is_cut_off, "replication"),
    ],
)
def test_a_fault_of_a_replica_is_met_at_its_address(
    lab: Lab, fault: str, is_there: Callable[[Any, Any], bool], about: str
) -> None:
    """Its server ends with its actor."""
    breakage = lab.make(fault)
    with client_of(breakage.url) as replica, client_of(lab.server.url) as primary:
        assert is_there(replica, primary)
    issues = {issue.about: issue.issue_type for issue in lab.issues(breakage.url)}
    # That the data differ is told beside why they could.
    beside = {each for each in issues if is_there is differs and each.startswith("replica 127.0.0.1:")}
    assert issues == dict.fromkeys({about, *beside}, IssueType.SYNCHRONIZATION)
    lab.reset()
    with client_of(breakage.url) as replica, pytest.raises(valkey.exceptions.ConnectionError):
        replica.ping()
    assert lab.issues() == []


def test_a_replica_that_holds_other_data_looks_in_step(lab: Lab) -> None:
    """Its link is up, its offset its primary's, and it takes no writes: only the data tell."""
    breakage = lab.make("diverged_replica")
    with client_of(breakage.url) as replica, client_of(lab.server.url) as primary:
        assert differs(replica, primary)
        assert until(
            lambda: (
                replica.info("replication")["slave_repl_offset"]
                == primary.info("replication")["master_repl_offset"]
            )
        )
        assert "ReadOnly" in refusal(replica, "SET", "mine", "1")
    lab.reset()
    assert lab.issues() == []


def is_late(client: valkey.Valkey) -> bool:
    client.ping()
    began_s = time.monotonic()
    client.ping()
    return time.monotonic() - began_s >= 0.12


def is_silent(client: valkey.Valkey) -> bool:
    with pytest.raises(valkey.exceptions.TimeoutError):
        client.ping()
    return True


def is_reset(client: valkey.Valkey) -> bool:
    with pytest.raises(valkey.exceptions.ConnectionError, match="reset by peer"):
        client.ping()
    return True


def presents_what_ends_soon(client: valkey.Valkey) -> bool:
    client.ping()
    place = client.connection_pool.connection_kwargs
    shown = x509.load_pem_x509_certificate(
        ssl.get_server_certificate((place["host"], place["port"])).encode()
    )
    return timedelta(days=2) < shown.not_valid_after_utc - datetime.now(UTC) < timedelta(days=4)


def comes_and_goes(client: valkey.Valkey) -> bool:
    """As a plain client has it, who tries again."""

    def answers() -> bool:
        try:
            return bool(client.ping())
        except valkey.exceptions.ConnectionError:
            return False

    return all(until(lambda is_up=is_up: answers() is is_up) for is_up in (True, False, True, False))


@pytest.mark.parametrize(
    ("fault", "is_there", "issue_type", "timeout_s"),
    [
        ("proxy_delays", is_late, IssueType.NETWORK, 5.0),
        ("proxy_drops", is_silent, IssueType.NETWORK, 0.3),
        ("proxy_resets", is_reset, IssueType.NETWORK, 5.0),
        ("expiring_certificate", presents_what_ends_soon, IssueType.NETWORK, 5.0),
        ("flapping", comes_and_goes, IssueType.NETWORK, 5.0),
    ],
)
def test_a_fault_on_the_way_is_met_behind_the_proxy_and_nowhere_else(
    lab: Lab, fault: str, is_there: Look, issue_type: IssueType, timeout_s: float
) -> None:
    """The server itself is well."""
    breakage = lab.make(fault)
    assert urlsplit(breakage.url).port != lab.server.port
    with client_of(breakage.url, timeout_s=timeout_s) as client:
        assert is_there(client)
    issues = lab.issues(breakage.url, timeout_s=timeout_s, now=datetime.now(UTC))
    assert {issue.issue_type for issue in issues} == {issue_type}
    assert lab.issues() == []
    lab.reset()
    with client_of(breakage.url) as client, pytest.raises(valkey.exceptions.ConnectionError, match="refused"):
        client.ping()


def test_every_fault_of_the_server_is_tried_here() -> None:
    """One that is added is tried as well."""
    tried = {*EXPECTED, "writable_replica_changed", "diverged_replica", "broken_replication"}
    tried |= {"proxy_delays", "proxy_drops", "proxy_resets", "background_load", "setting_out_of_range"}
    tried |= {"expiring_certificate", "flapping"}
    others = {"grid", "process", "host", "endpoint"}
    assert {name for name, fault in FAULTS.items() if fault.part not in others} == tried


def test_every_fault_says_what_heals_it_or_what_a_person_does() -> None:
    """And never neither."""
    assert [name for name, fault in FAULTS.items() if bool(fault.healed_by) == bool(fault.advice)] == []
