"""Whether a memory limit may be raised: pure, with the numbers; and what this machine tells."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looking_at import NOW, OF_CLIENTS, a_target, look, report_of, report_on

from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Finding, Severity
from medic8.model.plan import Risk
from medic8.model.report import DiagnosticResult
from medic8.targets.facts import Facts
from medic8.targets.machine.cgroup import left_in_cgroup
from medic8.targets.valkey.client import connection, info
from medic8.targets.valkey.looks.facts import parse_info
from medic8.targets.valkey.looks.machine import Available, Unknown, available_to
from medic8.targets.valkey.looks.room import Room, room_of
from medic8.targets.valkey.plans.limits import plan_raise

GIB = 1 << 30
FULL = {
    "maxmemory": 4 * GIB,
    "used_memory": 4 * GIB - (100 << 20),
    "used_memory_rss": 4 * GIB,
    "total_system_memory": 16 * GIB,
    "aof_enabled": 0,
}
QUIET = Facts({"save": "", "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60"})


def a_room(available: Available | Unknown | None = None, settings: Facts = QUIET, **changed: object) -> Room:
    room = room_of(Facts({name: str(value) for name, value in (FULL | changed).items()}), settings, available)
    assert room is not None
    return room


def test_one_step_is_a_quarter_and_fits_a_host_that_has_it() -> None:
    """4 GiB become 5 of 16."""
    room = a_room()
    assert (room.raised, room.fits, room.helps()) == (5 * GIB, True, True)


@pytest.mark.parametrize(
    ("available", "settings", "changed", "whose"),
    [
        (None, QUIET, {"total_system_memory": 5 * GIB}, "90% of the host's memory"),
        (Available(GIB // 2, None), QUIET, {}, "the host has left"),
        (Available(8 * GIB, GIB // 2), QUIET, {}, "control group leaves"),
        (Available(2 * GIB, None), QUIET, {"rdb_last_cow_size": 2 * GIB}, "the host has left"),
        (Available(2 * GIB, None), Facts({"save": "3600 1"}), {}, "the host has left"),
        (
            Available(2 * GIB, None),
            QUIET,
            {"connected_slaves": 8, "rdb_last_cow_size": 1},
            "the host has left",
        ),
        (Available(2 * GIB, None), QUIET, {"mem_clients_normal": GIB}, "the host has left"),
        (
            Available(2 * GIB, None),
            QUIET,
            {"used_memory_rss": 6 * GIB, "used_memory": 3 * GIB},
            "host has left",
        ),
        (None, QUIET, {"total_system_memory": "?"}, "nobody tells"),
    ],
)
def test_what_does_not_fit_is_said_with_its_numbers(
    available: Available | None, settings: Facts, changed: dict[str, object], whose: str
) -> None:
    """Each of host, control group, forks, replicas, clients and fragmentation can be what is in the way."""
    room = a_room(available, settings, **changed)
    assert not room.fits
    assert whose in room.in_words


NUMBER = st.integers(0, 64 * GIB)


@given(
    has=NUMBER,
    cgroup=st.none() | NUMBER,
    copied=NUMBER,
    replicas=st.integers(0, 10),
    clients=NUMBER,
    more=st.integers(0, GIB),
)
def test_more_that_is_needed_never_makes_it_fit(
    has: int, cgroup: int | None, copied: int, replicas: int, clients: int, more: int
) -> None:
    """What fits with more in the way fits without; and what fits is within every bound."""
    fields = {"rdb_last_cow_size": copied, "connected_slaves": replicas, "mem_clients_normal": clients}
    room = a_room(Available(has, cgroup), **fields)
    worse = a_room(Available(has, cgroup), **fields | {"mem_clients_normal": clients + more})
    assert room.fits or not worse.fits
    if room.fits:
        assert room.needs <= 4 * GIB + min(has, 64 * GIB if cgroup is None else cgroup)
        assert room.needs >= room.raised


@given(
    st.dictionaries(st.sampled_from([*FULL, "rdb_last_cow_size", "connected_slaves"]), st.text(max_size=6))
)
def test_nonsense_is_no_room(told: dict[str, str]) -> None:
    """Whatever a server tells, nothing breaks."""
    room = room_of(Facts(told), Facts({"client-output-buffer-limit": "slave x y slave"}), None)
    assert room is None or isinstance(room.fits, bool)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_tightest_limit_of_all_control_groups_counts(tmp_path: Path) -> None:
    """A parent's as well as the own one; unused pages of files are given back under pressure."""
    write(tmp_path / "proc" / "7", cgroup="0::/outer/inner\n")
    groups = tmp_path / "groups"
    write(groups / "outer" / "inner", memory__max="max", memory__current="50", memory__stat="inactive_file 9")
    write(groups / "outer", memory__max="100", memory__current="80", memory__stat="anon 5\ninactive_file 30")
    assert left_in_cgroup(7, proc=tmp_path / "proc", groups=groups) == 50
    write(groups / "outer" / "inner", memory__max="60")
    assert left_in_cgroup(7, proc=tmp_path / "proc", groups=groups) == 19
    write(groups / "outer", memory__max="max")
    write(groups / "outer" / "inner", memory__max="max")
    assert left_in_cgroup(7, proc=tmp_path / "proc", groups=groups) is None
    assert left_in_cgroup(8, proc=tmp_path / "proc", groups=groups) is None


def test_control_groups_of_the_first_version_are_read_too(tmp_path: Path) -> None:
    """Also from within a container, which sees its own group at the root."""
    write(tmp_path / "proc" / "7", cgroup="9:cpu:/x\n4:memory,hugetlb:/docker/abc\n0::/\n")
    write(
        tmp_path / "groups" / "memory",
        memory__limit_in_bytes="100",
        memory__usage_in_bytes="80",
        memory__stat="total_inactive_file 30",
    )
    assert left_in_cgroup(7, proc=tmp_path / "proc", groups=tmp_path / "groups") == 50


def test_only_the_very_process_on_this_machine_is_asked(valkey_url: str) -> None:
    """Elsewhere is elsewhere; here, a number that is no process, or that of another one, makes it unknown."""
    with connection(valkey_url) as client:
        facts = Facts({name: str(value) for name, value in info(client, "server").items()})
    found = available_to(valkey_url, facts)
    assert isinstance(found, Available)
    assert 0 < found.of_host < 1 << 50
    assert available_to("valkey://10.0.0.1:6379", facts) is None
    every = (each for some in psutil.net_if_addrs().values() for each in some)
    mine = [each.address for each in every if each.family == socket.AF_INET][
        -1
    ]  # of a network, if there is one
    ours = Facts({**facts, "process_id": str(os.getpid()), "uptime_in_seconds": "99999999"})
    nobody, gone = Facts({**facts, "process_id": "-5"}), parse_info(b"")
    for address in (
        valkey_url,
        f"valkey://{mine}:1",
        "valkey://127.8.9.10:1",
        "unix:///run/x",
        "valkey://[::1]",
    ):
        for told in (ours, nobody, gone):
            assert isinstance(available_to(address, told), Unknown)


def test_a_server_in_a_container_of_this_machine_is_not_given_the_machine() -> None:
    """Its process is not seen, so its control group is not either: no plan, and the reason."""
    room = a_room(available_to("valkey://localhost:1", Facts({"process_id": "1", "uptime_in_seconds": "1"})))
    assert (room.has, room.fits) == (None, False)
    finding = Finding(
        code="memory.near_limit",
        severity=Severity.ERROR,
        text="full",
        about="memory",
        objects=(room.model_dump(),),
    )
    report = report_of(DiagnosticResult(diagnostic="memory", findings=(finding,), taken_at=NOW))
    plan = plan_raise(report.issues[0], report, a_target("valkey://localhost:1"))
    assert plan.units == ()
    assert "in a container" in plan.left_open[0]


def test_a_full_server_has_a_plan_that_does_not_change_with_every_byte(tmp_path: Path) -> None:
    """So that a person can agree to it; and none for one that is far beyond one step."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        client.config_set("maxmemory", str(32 << 20))
        client.setrange("filler", int((32 << 20) * 0.93) - info(client, "memory")["used_memory"], b"x")
        plans = []
        for number in range(2):
            report = report_on(server.url, only=OF_CLIENTS)
            (issue,) = [each for each in report.issues if each.about == "memory"]
            plans.append(plan_raise(issue, report, a_target(server.url)))
            client.set(f"more:{number}", "x" * 1000)
        assert plans[0].digest == plans[1].digest
        assert (plans[0].risk, plans[0].needs_approval) == (Risk.HIGH, True)
        readings = {each.name for each in look(server.url, "memory").readings}
        assert {"memory.raised_takes", "memory.machine_has"} <= readings
        client.config_set("maxmemory", str(20 << 20))
        report = report_on(server.url, only=OF_CLIENTS)
        (issue,) = [each for each in report.issues if each.about == "memory"]
        none = plan_raise(issue, report, a_target(server.url))
        assert none.units == ()
        assert "is not enough" in none.left_open[0]
