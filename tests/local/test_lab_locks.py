"""The lab leaves locks behind as processes do that are really killed, and a reset takes them away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import valkey

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import make
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.reset import remove_grid
from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.errors import LockBusyError
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.lock_look import survey_locks
from medic8.targets.valkey.client import connection


@pytest.fixture(params=["url", "socket_url"])
def client(
    valkey_url: str, valkey_server: ScratchValkey, request: pytest.FixtureRequest
) -> Iterator[valkey.Valkey]:
    """Get a client of the empty shared server, over TCP and over its Unix socket."""
    assert valkey_url
    with connection(getattr(valkey_server, request.param)) as found:
        yield found


@pytest.fixture
def bench(client: valkey.Valkey) -> Bench:
    """Get an empty grid of 64 groups."""
    Grid.create(client, "lab", 8)
    return Bench(client, "lab")


def broken(bench: Bench, fault: str, strength: int | None = None) -> tuple[str, ...]:
    return make(FAULTS[fault], bench, target="lab", seed=1, strength=strength).keys


def test_a_killed_process_leaves_stale_locks(bench: Bench) -> None:
    """They are stale when the fault comes back, keep others out, and add up."""
    keys = broken(bench, "stale_lock")
    report, _ = survey_locks(bench.client, bench.manifest)
    assert {f"m8:{{lab/{each.item.group}}}:lock" for each in report.stale} == set(keys)
    assert {each.item.owner_name for each in report.stale} == {"lab-stale"}
    assert len(keys) == 2
    with pytest.raises(LockBusyError, match="lab-stale"):
        Grid.open(bench.client, "lab").lock(timeout_s=0).__enter__()
    broken(bench, "stale_lock", 3)
    assert len(survey_locks(bench.client, bench.manifest)[0].stale) == 5


def test_two_killed_processes_leave_a_deadlock_for_as_long_as_their_leases_last(bench: Bench) -> None:
    """A reset takes all of it away."""
    keys = broken(bench, "deadlock")
    assert len(keys) == 2
    (found,) = survey_locks(bench.client, bench.manifest)[0].deadlocks
    assert {link.waiter_name for link in found.links} == {"lab-left-1", "lab-right-1"}
    broken(bench, "deadlock", 2)
    assert len(survey_locks(bench.client, bench.manifest)[0].deadlocks) == 3
    remove_grid(bench.client, "lab")
    assert bench.client.keys() == []


def test_more_than_there_is_room_for_is_refused(bench: Bench) -> None:
    """Before any process is started."""
    for fault, strength in (("stale_lock", 65), ("deadlock", 9)):
        with pytest.raises(RefusedError, match=f"strength {strength}: from 1 to"):
            broken(bench, fault, strength)
    assert len(bench.client.keys()) == 2
