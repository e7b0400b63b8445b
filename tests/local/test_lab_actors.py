"""Actors are on record before they act, end with their server, and are ended by who they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import valkey
import valkey.exceptions

from medic8.errors import RefusedError, TransientError
from medic8.local import stack
from medic8.local.lab import actors
from medic8.local.lab.acting.order import LASTS_S, Order
from medic8.local.lab.actors import Troupe, end_all, recorded
from medic8.local.lab.snapshots import block_saves, unblock_saves
from medic8.local.scratch import scratch_valkey
from tests.local.broken_lab import Lab, until


def names(lab: Lab) -> set[str]:
    with valkey.Valkey.from_url(lab.server.url, decode_responses=True) as client:
        return {each["name"] for each in client.client_list()}


def act(order: Order) -> subprocess.Popen[str]:
    """The program of an actor, as a child of ours."""
    child = subprocess.Popen(
        [sys.executable, "-m", "medic8.local.lab.acting"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    child.stdin.write(order.model_dump_json() + "\n")
    child.stdin.flush()
    assert "reads and writes" in child.stdout.readline()
    return child


def finished(child: subprocess.Popen[str]) -> int:
    code = child.wait(60)
    child.stdin.close()
    child.stdout.close()
    return code


def test_an_actor_is_recorded_and_ended_by_the_next_command(lab: Lab) -> None:
    """Its client leaves the server, its record the home."""
    (told,) = lab.make("background_load").actors
    (actor,) = recorded(lab.home)
    assert actor.is_alive
    assert actor.shown == told
    assert "lab-load" in names(lab)
    assert end_all(lab.home) == (f"actor {told} has ended",)
    assert not actor.is_alive
    assert until(lambda: "lab-load" not in names(lab))
    assert recorded(lab.home) == ()
    assert end_all(lab.home) == ()


def test_an_actor_whose_number_was_given_to_somebody_else_leaves_them_alone(lab: Lab) -> None:
    """A record is of one process, and not of whoever has its number later."""
    lab.make("background_load")
    (actor,) = recorded(lab.home)
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        mine = actor.model_copy(
            update={"identity": actor.identity.model_copy(update={"pid": bystander.pid, "start_ticks": 1})}
        )
        actors._write(lab.home / "lab-actors", mine)
        end_all(lab.home)
        assert bystander.poll() is None
    finally:
        bystander.communicate(b"\n", timeout=30)


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_an_actor_whose_record_is_lost_is_found(lab: Lab, damage: str) -> None:
    """By the folder that it works in and by its program."""
    lab.make("background_load")
    (actor,) = recorded(lab.home)
    record = lab.home / "lab-actors" / f"{actor.identity.pid}.json"
    record.unlink() if damage == "missing" else record.write_text("{")
    (line,) = end_all(lab.home)
    assert str(actor.identity.pid) in line
    assert not actor.is_alive
    assert not record.exists()


def test_the_server_that_an_actor_left_behind_when_it_was_killed_is_ended(lab: Lab) -> None:
    """A replica is on record with its actor, and its files go with it."""
    breakage = lab.make("writable_replica_changed")
    (actor,) = recorded(lab.home)
    os.kill(actor.identity.pid, signal.SIGKILL)
    assert until(lambda: not actor.is_alive)
    with valkey.Valkey.from_url(breakage.url) as client:
        assert client.ping()
    assert len(end_all(lab.home)) == 1
    assert not any(member.is_alive() for member in actor.family)
    assert [folder for folder in actor.folders if folder.exists()] == []


def test_an_actor_ends_when_its_server_does(tmp_path: Path) -> None:
    """Nobody acts on a server that happens to come up at the same place."""
    with scratch_valkey(tmp_path) as server:
        actor, _ = Troupe(tmp_path / "home", server.url).start("load", amount=20)
        server.kill()
        assert until(lambda: not actor.is_alive)
    assert end_all(tmp_path / "home") == ()


def test_an_actor_ends_when_its_time_is_up(lab: Lab) -> None:
    """By itself, also if nobody resets the lab."""
    child = act(Order(act="load", url=lab.server.url, amount=20, lasts_s=1))
    assert finished(child) == 0
    assert LASTS_S == 1800


def test_an_actor_that_is_never_ordered_ends(tmp_path: Path) -> None:
    """Whoever dies between the start and the record leaves nobody behind."""
    child = subprocess.run(
        [sys.executable, "-m", "medic8.local.lab.acting"], stdin=subprocess.DEVNULL, check=False, cwd=tmp_path
    )
    assert child.returncode == 0


def test_no_more_actors_run_than_there_may(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names how many there are, how many there may be, and what ends them."""
    monkeypatch.setattr(actors, "MOST_ACTORS", 1)
    lab.make("background_load")
    with pytest.raises(RefusedError, match=r"1 actors .* at most 1 may; \"medic8 lab reset\""):
        lab.make("forgotten_monitor")
    assert len(recorded(lab.home)) == 1


def test_a_limit_on_the_server_against_a_fault_is_said(lab: Lab) -> None:
    """What cannot be made is refused, and leaves no actor."""
    with valkey.Valkey.from_url(lab.server.url) as client:
        before = client.config_get("client-output-buffer-limit")["client-output-buffer-limit"]
        client.config_set("client-output-buffer-limit", "normal 1048576 0 0")
        try:
            with pytest.raises(RefusedError, match=r"strength 24: .*normal 1048576 0 0 .*would close"):
                lab.make("slow_reader")
        finally:
            client.config_set("client-output-buffer-limit", before)
    assert recorded(lab.home) == ()


def test_a_fault_that_is_made_half_way_leaves_no_actor(lab: Lab) -> None:
    """Its connections would stay where its setting could not be changed."""
    lab.make("memory_full", 4)
    before = recorded(lab.home)
    with pytest.raises(TransientError, match="no memory"):
        lab.make("idle_clients")
    assert recorded(lab.home) == before


def test_a_stopped_stack_has_no_actors_and_saves_again(lab: Lab) -> None:
    """``medic8 down`` is enough, for who does not know that there was a lab."""
    lab.make("background_load")
    (actor,) = recorded(lab.home)
    said: list[str] = []
    stack.down(lab.home, progress=said.append, environment={})
    assert not actor.is_alive
    assert said == [f"actor {actor.shown} has ended"]


def test_a_snapshot_that_was_in_the_way_comes_back(tmp_path: Path) -> None:
    """Blocking is undone as often as one likes, and half of it as well."""
    (tmp_path / "dump.rdb").write_bytes(b"kept")
    for _ in range(2):
        block_saves(tmp_path)
    assert (tmp_path / "dump.rdb").is_dir()
    assert unblock_saves(tmp_path)
    assert not unblock_saves(tmp_path)
    assert (tmp_path / "dump.rdb").read_bytes() == b"kept"


def test_a_reset_ends_everything_at_once(lab: Lab) -> None:
    """Faults that keep each other from being taken back are taken back in an order that works."""
    lab.make("background_load")
    lab.make("idle_clients")
    lab.make("memory_full", 4)
    lab.make("failed_save")

    with pytest.raises(RefusedError, match="MISCONF"):
        lab.make("big_key")
    lab.reset()
    lab.make("failed_save")
    lab.reset()
    lab.make("too_many_clients", 20)
    with valkey.Valkey.from_url(lab.server.url) as client:
        client.config_set("save", "")
    lab.make("busy_script")
    lines = lab.reset()
    assert "setting maxclients is 10000 again" in lines
    assert lab.issues() == []
