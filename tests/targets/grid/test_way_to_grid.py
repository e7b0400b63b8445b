"""A grid is looked at over the same ways as its server, and what is wrong with them is told as theirs."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime

import valkey

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.issue import IssueType
from medic8.model.target import Target
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.kind import KIND
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import options_of
from tests.raw_clients import BUSY
from tests.targets.valkey.bad_doors import HOST, door

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)


def issues(url: str, *names: str, grid: str = "slow-way") -> list[tuple[IssueType, frozenset[str]]]:
    target = Target(name=grid, kind="grid", url=url)
    results = {name: KIND.diagnostics[name](target, AROUND) for name in names}
    found = detect_issues(analyze(results.values()), KIND.rules, target="slow-way", at=NOW)
    return [(each.issue_type, frozenset(each.signs)) for each in found]


def test_a_slow_way_to_a_grid_is_an_issue_of_the_network(client: valkey.Valkey, valkey_url: str) -> None:
    """It was a finding that belonged to no issue, so that nobody was told what it was."""
    Grid.create(client, "slow-way", 2)
    options = options_of(valkey_url)

    def slowly(near: socket.socket) -> None:
        with socket.create_connection((options["host"], options["port"])) as far:
            while asked := near.recv(1 << 16):
                time.sleep(0.06)
                far.sendall(asked)
                near.sendall(far.recv(1 << 16))

    with door(slowly) as port:
        found = issues(f"valkey://{HOST}:{port}/0", "reachability")
    assert found == [(IssueType.NETWORK, frozenset({"network.slow_way"}))]


def test_what_holds_up_everybody_holds_up_a_grid(client: valkey.Valkey, valkey_url: str) -> None:
    """A grid that is whole and served late is not well."""
    Grid.create(client, "slow-way", 2)
    client.config_resetstat()
    client.eval(BUSY, 0)
    (found,) = issues(valkey_url, "reachability", "grid", "locks", "commands")
    assert found[0] is IssueType.SLOW_OPERATIONS


def test_a_server_that_refuses_what_a_grid_writes_is_an_issue_of_the_grid(
    client: valkey.Valkey, valkey_url: str
) -> None:
    """Its blocks are whole, and nothing can be written into them."""
    Grid.create(client, "full", 2)
    looks = ("grid", "memory", "clients", "errors")
    assert issues(valkey_url, *looks, grid="full") == []
    client.setrange("fills", 2_000_000, "x")
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
    try:
        found = issues(valkey_url, *looks, grid="full")
    finally:
        client.config_set("maxmemory", "0")
    assert found == [(IssueType.RESOURCE_EXHAUSTION, frozenset({"memory.near_limit"}))]
