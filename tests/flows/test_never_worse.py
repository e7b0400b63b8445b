"""A recovery that makes something worse, on a real server and a real Prefect API: what it undoes and says."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import valkey
from rich.console import Console

from flows.run import run
from medic8.analysis import markdown
from medic8.cli.render_history import render_resolution_of
from medic8.model.guard import GuardVerdict, Verdict
from medic8.model.recovery import StepState
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import role_key
from tasks.track import history, resolution_of

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["set_settings"]

[[target.setting]]
name = "slowlog-max-len"
minimum = 1000

[[target]]
name = "lab"
kind = "grid"
url = "{url}"
mode = "act"
allow = ["rebuild_from_parity"]
"""

#: One client that sorts a long list again and again: everybody else waits for each sort.
SLOW = """
import sys, valkey
client = valkey.Valkey.from_url(sys.argv[1])
client.rpush("long", *(str((n * 7919) % 40000) for n in range(40000)))
print(flush=True)
sys.stdin.readline()
while True:
    client.sort("long", alpha=True, store="sorted")
"""


@pytest.fixture
def client(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[valkey.Valkey]:
    """Get a client of a server with a setting that is out of range, which is configured as two targets."""
    (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(url=valkey_url))
    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("slowlog-max-len", "10")
        yield client


@contextlib.contextmanager
def once(is_so: Callable[[], bool], do: Callable[[], None]) -> Iterator[None]:
    """Another client, which does something as soon as a recovery has changed what it looks at."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_so():
            if is_over.is_set():
                return
            time.sleep(0.005)
        do()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(60)


@contextlib.contextmanager
def slow_client(url: str) -> Iterator[Callable[[], None]]:
    """A client that begins its slow work when told so, and ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    orders = process.stdin

    def begin() -> None:
        orders.write(b"begin\n")
        orders.flush()

    try:
        process.stdout.readline()
        yield begin
    finally:
        process.kill()
        process.communicate()


def setting(client: valkey.Valkey) -> str:
    return str(client.config_get("slowlog-max-len")["slowlog-max-len"])


def only_resolution(treatment: Treatment) -> Resolution:
    assert len(treatment.resolutions) == 1
    return treatment.resolutions[0]


def guards_of(resolution: Resolution) -> dict[str, GuardVerdict]:
    return {each.guard: each for each in resolution.guards}


def test_a_recovery_that_makes_nothing_worse_stands_and_shows_what_was_watched(
    client: valkey.Valkey,
) -> None:
    """Hard and soft, each with its verdict, in the history and in the artifact."""
    resolution = only_resolution(run("heal", target="server"))
    assert (resolution.outcome, resolution.verdict) == (Outcome.RESOLVED, Verdict.BETTER)
    guards = guards_of(resolution)
    assert {"role", "snapshot", "other keys", "latency", "memory", "CPU"} <= set(guards)
    assert guards["role"].verdict is Verdict.UNCHANGED
    assert Verdict.WORSE not in {each.verdict for each in guards.values()}
    assert setting(client) == "1000"
    entry = history(target="server", limit=1)[0]
    assert resolution_of(entry.run)[1] == resolution
    console = Console(file=io.StringIO(), width=200)
    for part in render_resolution_of(entry, resolution, ""):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    for shown in (console.file.getvalue(), markdown.resolution(resolution)):
        assert "Never worse" in shown
        assert guards["latency"].before in shown


def test_settings_that_make_the_server_slow_are_put_back_with_the_numbers(
    client: valkey.Valkey, valkey_url: str
) -> None:
    """Its clients answer the new setting with slow work: twice measured, and undone."""
    with slow_client(valkey_url) as begin, once(lambda: setting(client) == "1000", begin):
        resolution = only_resolution(run("heal", target="server"))
    assert resolution.outcome is Outcome.RESTORED, resolution
    assert setting(client) == "10"
    latency = guards_of(resolution)["latency"]
    assert (latency.verdict, latency.is_hard) == (Verdict.WORSE, False)
    for number in (latency.before, latency.after, "measured twice", "server became worse"):
        assert number in resolution.reason
    assert [step.state for step in resolution.steps] == [StepState.UNDONE]


def test_another_key_that_vanishes_meanwhile_undoes(client: valkey.Valkey) -> None:
    """A hard guard: it was at rest, and it went while the recovery worked."""
    client.set("made", "precious value")
    client.execute_command("RESTORE", "precious", 0, client.dump("made"), "IDLETIME", 3600)
    with once(lambda: setting(client) == "1000", lambda: client.delete("precious")):
        resolution = only_resolution(run("heal", target="server"))
    assert resolution.outcome is Outcome.RESTORED
    assert "other keys" in resolution.reason
    assert "after a minute at rest" in resolution.reason
    assert guards_of(resolution)["other keys"].verdict is Verdict.WORSE
    assert setting(client) == "10"


def damaged_grid(client: valkey.Valkey, *groups: int) -> bytes:
    """A grid of three whole groups, with one block of each of *groups* missing; gives a value of group 0."""
    rng = np.random.default_rng(1)
    Grid.create(client, "lab", 32).fill(
        lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=range(3)
    )
    whole = client.get(role_key("lab", 0, 0))
    for group in groups:
        client.delete(role_key("lab", group, 0))
    assert isinstance(whole, bytes)
    return whole


def test_a_proven_repair_stands_although_the_server_is_slow_and_says_so(
    client: valkey.Valkey, valkey_url: str
) -> None:
    """Right bytes are not taken away for the sake of a latency; the verdict is worse all the same."""
    whole = damaged_grid(client, 0)
    with (
        slow_client(valkey_url) as begin,
        once(lambda: bool(client.exists(role_key("lab", 0, 0))), begin),
    ):
        resolution = only_resolution(run("heal", target="lab"))
    assert (resolution.outcome, resolution.verdict) == (Outcome.RESOLVED, Verdict.WORSE), resolution
    assert client.get(role_key("lab", 0, 0)) == whole
    assert "stays since it is proven: latency" in resolution.reason
    assert set(guards_of(resolution)) >= {"other groups", "copies of the manifest", "latency", "memory"}


def test_a_group_beside_that_is_spoilt_meanwhile_stops_the_repair(client: valkey.Valkey) -> None:
    """What was proven stands; the reason names the group that was good before."""
    whole = damaged_grid(client, 0)
    with once(
        lambda: bool(client.exists(role_key("lab", 0, 0))),
        lambda: bool(client.setrange(role_key("lab", 2, 5), 100, b"spoilt")),
    ):
        resolution = run("heal", target="lab").resolutions[0]
    assert resolution.outcome is Outcome.PARTLY_RESOLVED, resolution
    assert "group 2: not good by its checksums" in resolution.reason
    assert client.get(role_key("lab", 0, 0)) == whole
    assert [step.state for step in resolution.steps] == [StepState.COMMITTED]
