"""Servers and their replicas on the whole road: found out of step, healed, and compared key by key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import valkey

from flows.run import run
from medic8.cli.run import run as medic8
from medic8.local.scratch import scratch_valkey
from medic8.model.resolution import Outcome, Resolution, Treatment
from tests.damaged_files import flip_a_bit
from tests.replicas import contents, cut_off, is_in_step, pair, until, writing, written_to

pytestmark = pytest.mark.usefixtures("prefect_api")

CONFIGURATION = """
[[target]]
name = "server"
kind = "valkey"
url = "{url}"
mode = "act"
allow = ["{allow}"]
{more}
"""

Site = Callable[..., None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Get a function that configures one server."""

    def write(url: str, *, allow: str, more: str = "") -> None:
        (tmp_path / "medic8.toml").write_text(CONFIGURATION.format(url=url, allow=allow, more=more))

    monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
    return write


def resolution_by(strategy: str, treatment: Treatment) -> Resolution:
    """The one resolution that had a plan of *strategy*."""
    found = [each for each in treatment.resolutions if each.plan and each.plan.strategy == strategy]
    assert len(found) == 1, [(each.issue.about, each.outcome, each.reason) for each in treatment.resolutions]
    return found[0]


def number(url: str, section: str, field: str) -> int:
    with valkey.Valkey.from_url(url) as client:
        return int(client.info(section)[field])


def test_copies_that_break_off_again_and_again_end_once_enough_may_wait(site: Site, tmp_path: Path) -> None:
    """More is written during a copy than may wait, again and again; then the replica gets in step."""
    with pair(tmp_path, repl_backlog_size="65536") as (primary, replica):
        with valkey.Valkey.from_url(primary.url) as client:
            client.mset({f"key:{n}": str(n) for n in range(500)})
            client.config_set("client-output-buffer-limit", "replica 200000 0 0")
            client.config_set("rdb-key-save-delay", "2000")
        with writing(primary.url, size=20_000, per_s=50):
            cut_off(primary.url, missed=200_000)
            until(lambda: number(primary.url, "stats", "sync_full") >= 8)
            site(primary.url, allow="resize_backlog")
            waiting = resolution_by("resize_backlog", run("heal", target="server"))
            assert waiting.outcome is Outcome.AWAITING_APPROVAL, waiting.reason  # 256 MiB are much
            assert waiting.plan is not None
            resolution = resolution_by(
                "resize_backlog", run("heal", target="server", approved=[waiting.plan.digest])
            )
            assert resolution.outcome is Outcome.RESOLVED, resolution.reason
            until(lambda: is_up(replica.url))
        until(lambda: is_in_step(primary.url, replica.url))
        assert contents(replica.url) == contents(primary.url)
        assert len(contents(primary.url)) == 520


def is_up(url: str) -> bool:
    with valkey.Valkey.from_url(url) as client:
        return bool(client.info("replication")["master_link_status"] == "up")


def test_a_replica_that_was_cut_off_needs_no_full_copy_once_the_backlog_holds_enough(
    site: Site, tmp_path: Path
) -> None:
    """Every cut cost a full copy; after it was healed the next cut costs none."""
    with pair(tmp_path, repl_backlog_size="65536") as (primary, replica):
        for _ in range(7):
            cut_off(primary.url, missed=200_000)
            until(lambda: is_in_step(primary.url, replica.url))
        copies = number(primary.url, "stats", "sync_full")
        assert copies >= 7
        site(primary.url, allow="resize_backlog")
        with writing(primary.url, size=1000, per_s=100):
            resolution = resolution_by("resize_backlog", run("heal", target="server"))
        assert resolution.outcome is Outcome.RESOLVED, resolution.reason
        cut_off(primary.url, missed=200_000)
        until(lambda: is_in_step(primary.url, replica.url))
        assert number(primary.url, "stats", "sync_full") == copies
        assert contents(replica.url) == contents(primary.url)


def test_a_replica_that_was_written_to_is_copied_to_after_a_person_said_yes(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Found, refused without a yes, saved, copied, and equal key by key; the primary is as it was.

    What the replica had is listed, and comes back by a backup that is made of it, key by key.
    """
    with pair(tmp_path) as (primary, replica):
        with valkey.Valkey.from_url(primary.url) as client:
            client.mset({f"key:{n}": str(n) for n in range(300)})
            client.rpush("list", *range(50))
        until(lambda: is_in_step(primary.url, replica.url))
        with written_to(replica.url) as client:
            client.set("key:7", "changed there")
            client.set("added", "only there")
            client.lpop("list")
        was, diverged = contents(primary.url), contents(replica.url)
        site(primary.url, allow="resync_replica", more=f'replicas = ["{replica.url}"]')
        waiting = resolution_by("resync_replica", run("heal", target="server"))
        assert waiting.outcome is Outcome.AWAITING_APPROVAL, waiting.reason
        assert contents(replica.url) == diverged
        assert waiting.plan is not None
        done = resolution_by("resync_replica", run("heal", target="server", approved=[waiting.plan.digest]))
        assert done.outcome is Outcome.RESOLVED, done.reason
        assert contents(primary.url) == was
        assert contents(replica.url) == was
        assert is_in_step(primary.url, replica.url)
        capsys.readouterr()
        assert medic8(["recoveries", "keys", done.recovery, "--json"], environ=os.environ) == 0
        listed = json.loads(capsys.readouterr().out)["keys"]
        assert [(each["name"], each["type"]) for each in listed] == [
            ("added", "string"),
            ("key:7", "string"),
            ("list", "list"),
        ]
        assert medic8(["recoveries", "backup", done.recovery, "--json"], environ=os.environ) == 0
        made = json.loads(capsys.readouterr().out)
        chosen = {"names": ("added", "list"), "overwrite": True}
        assert run("restore_backup", target="server", backup=made["id"], **chosen).written == 2
        assert contents(primary.url) == {**was, **{name: diverged[name] for name in (b"added", b"list")}}


def test_a_replica_of_sentinels_is_advised_only(site: Site, tmp_path: Path) -> None:
    """Somebody listens where Sentinels speak: roles are theirs."""
    with pair(tmp_path) as (primary, replica):
        with written_to(replica.url) as client:
            client.set("added", "only there")
        diverged = contents(replica.url)
        site(primary.url, allow="resync_replica", more=f'replicas = ["{replica.url}"]')
        with valkey.Valkey.from_url(primary.url) as client, client.pubsub() as sentinel:
            sentinel.subscribe("__sentinel__:hello")
            sentinel.get_message(timeout=60)
            resolution = resolution_by("resync_replica", run("heal", target="server"))
        assert resolution.outcome is Outcome.REFUSED
        assert "Sentinel" in resolution.reason
        assert contents(replica.url) == diverged


def test_damaged_files_are_written_anew_and_the_server_starts_from_them(site: Site, tmp_path: Path) -> None:
    """Found, kept aside, written anew and loaded; after a crash the server has every key again."""
    with scratch_valkey(tmp_path, config={"appendonly": "yes", "save": "3600 1"}) as server:
        with valkey.Valkey.from_url(server.url) as client:
            client.mset({f"key:{n}": f"value {n} " * 20 for n in range(3000)})
            client.rpush("list", *range(50))
            client.save()
            client.bgrewriteaof()
            until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        was = contents(server.url)
        (base,) = server.data.rglob("*.base.rdb")
        snapshot = server.data / "dump.rdb"
        flip_a_bit(base)
        flip_a_bit(snapshot)
        damaged = {base.name: base.read_bytes(), snapshot.name: snapshot.read_bytes()}
        site(server.url, allow="rewrite_files")
        waiting = run("heal", target="server")
        plans = [
            each.plan for each in waiting.resolutions if each.plan and each.plan.strategy == "rewrite_files"
        ]
        assert [each.outcome for each in waiting.resolutions if each.plan in plans] == (
            [Outcome.AWAITING_APPROVAL] * 2
        )
        done = run("heal", target="server", approved=[each.digest for each in plans])
        mine = [each for each in done.resolutions if each.plan and each.plan.strategy == "rewrite_files"]
        assert [each.outcome for each in mine] == [Outcome.RESOLVED] * 2, [each.reason for each in mine]
        kept = {
            path.name: path.read_bytes()
            for path in (server.data / "medic8-damaged").rglob("*")
            if path.is_file()
        }
        assert kept.items() >= damaged.items()
        server.kill()
        server.start()
        assert contents(server.url) == was
