"""Backups of a real server's keys, and restores: nothing is lost, mixed, half written or turned back."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import valkey
from databases import contents, databases, make, raw, value
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr

from medic8.backups.choosing import chosen_backup
from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import BackupPlace, Retention
from medic8.backups.retention import decide
from medic8.backups.sweep import prune
from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.local.loopback import free_port
from medic8.local.scratch import scratch_valkey
from medic8.model.backup import BackupManifest, RestoreReport, RestoreWish
from medic8.model.target import Target
from medic8.targets.kind import Surroundings, no_progress
from medic8.targets.valkey import backup_index, backup_writing, read_key, read_pieces, restore_keys, write_key
from medic8.targets.valkey.backups import ValkeyBackups
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.conversation import Command
from medic8.targets.valkey.elements import Kind
from medic8.targets.valkey.key_names import glob_of_prefix, key_name
from medic8.targets.valkey.seen import SeenKeys
from medic8.targets.valkey.temporary import LASTS_MS, TEMPORARY, TemporaryNames
from medic8.targets.valkey.write_key import Pieces

BACKUPS = ValkeyBackups()
ONE_REAL_SERVER = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Site:
    """A server, a place for its backups, and what people do with both."""

    def __init__(self, url: str, folder: Path, key: SecretStr | None = None) -> None:
        self.target = Target(name="cache-1", kind="valkey", url=SecretStr(url))
        self.place = BackupPlace(url=str(folder), key=key)
        self.client = valkey.Valkey.from_url(url)

    def around(self, progress: Any = no_progress) -> Surroundings:
        return Surroundings(backups=self.place, now=datetime.now(UTC), progress=progress)

    def back_up(self, prefix: str = "", names: tuple[str, ...] = ()) -> BackupManifest:
        return BACKUPS.create(self.target, self.around(), prefix=prefix, names=names)

    def restore(self, backup: BackupManifest, **wish: Any) -> RestoreReport:
        return BACKUPS.restore(self.target, self.around(), backup, RestoreWish(**wish))

    def is_sound(self, backup: BackupManifest) -> bool:
        report = BACKUPS.verify(self.target, self.around(), backup)
        assert backup.keyspace is not None
        return report.is_sound and report.items == backup.keyspace.count

    def files(self) -> list[Path]:
        root = Path(self.place.url)
        return sorted(
            path
            for path in root.rglob("*")
            if path.is_file() and path.name != ".lock" and root in path.parents
        )


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> str:
    """Get the shared server; ``MEDIC8_TEST_SERVER`` names another one, which is emptied."""
    return os.environ.get("MEDIC8_TEST_SERVER") or request.getfixturevalue("valkey_url")


@pytest.fixture
def site(server_url: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(server_url, tmp_path / "backups")
    with found.client:
        found.client.flushall()
        yield found


def has_field_expiries(client: valkey.Valkey) -> bool:
    try:
        raw(client, "HPEXPIRETIME", "none", "FIELDS", 1, "none")
    except valkey.exceptions.ResponseError:
        return False
    return True


@ONE_REAL_SERVER
@given(steps=databases())
def test_an_emptied_server_gets_everything_back(site: Site, steps: list[Any]) -> None:
    """Types, values, expiries, groups and what is pending in them, as plain commands tell them."""
    if not has_field_expiries(site.client):
        steps = [step for step in steps if step[0] != "HPEXPIREAT"]
    make(site.client, steps)
    before = contents(site.client)
    backup = site.back_up()
    assert backup.keyspace is not None
    assert backup.keyspace.count == len(before)
    assert backup.is_complete
    same = site.restore(backup)
    assert (same.same, same.written) == (len(before), 0)
    site.client.flushall()
    report = site.restore(backup)
    assert contents(site.client) == before
    assert (report.asked, report.written, report.left_count) == (len(before), len(before), 0)
    again = site.restore(backup)
    assert (again.same, again.written, again.newer) == (len(before), 0, 0)


@ONE_REAL_SERVER
@given(steps=databases())
@pytest.mark.usefixtures("small_pieces")
def test_values_of_any_size_are_read_and_written_piece_by_piece_alike(site: Site, steps: list[Any]) -> None:
    """With pieces and frames of a few bytes, every value takes the way of the huge ones."""
    if not has_field_expiries(site.client):
        steps = [step for step in steps if step[0] != "HPEXPIREAT"]
    make(site.client, steps)
    before = contents(site.client)
    backup = site.back_up()
    site.client.flushall()
    assert site.restore(backup).written == len(before)
    assert contents(site.client) == before
    assert site.is_sound(backup)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make limits so small that values of a few bytes exceed them."""
    from medic8.targets.valkey import backup_reading, restore_keys, write_key

    monkeypatch.setattr(read_key, "SMALL_BYTES", 0)
    monkeypatch.setattr(restore_keys, "SMALL_BYTES", 0)
    monkeypatch.setattr(read_pieces, "PIECE_BYTES", 64)
    monkeypatch.setattr(read_pieces, "PIECE_ELEMENTS", 2)
    monkeypatch.setattr(read_pieces, "_FIRST_ELEMENTS", 1)
    monkeypatch.setattr(write_key, "_ROUND_ELEMENTS", 2)
    for module in (backup_index, backup_writing, backup_reading):
        monkeypatch.setattr(module, "FRAME_BYTES", 50)
    monkeypatch.setattr(backup_writing, "_PACK_BYTES", 300)
    monkeypatch.setattr(backup_writing, "_PART_KEYS", 3)


def test_large_values_are_in_the_backup_whole(site: Site) -> None:
    """A string, a list, a set, a hash, a sorted set and a stream of many pieces each."""
    pipe = site.client.pipeline(transaction=False)
    pipe.set("string", random.Random(1).randbytes(5 << 20))
    for at in range(0, 30_000, 1000):
        few = range(at, at + 1000)
        pipe.rpush("list", *few)
        pipe.sadd("set", *few)
        pipe.hset("hash", mapping=dict.fromkeys(map(str, few), "v" * 20))
        pipe.zadd("zset", {str(each): each % 7 / 3 for each in few})
    for at in range(1, 3000):
        pipe.xadd("stream", {"f": "v" * 50}, id=f"{at}-0")
    pipe.xgroup_create("stream", "group", id="0")
    pipe.xreadgroup("group", "reader", {"stream": ">"})
    pipe.execute()
    site.client.xtrim("stream", maxlen=1000, approximate=False)
    before = contents(site.client, times=True)
    backup = site.back_up()
    assert site.is_sound(backup)
    site.client.flushall()
    assert site.restore(backup).written == 6
    after = contents(site.client, times=True)
    delivered = [dict(enumerate(each.pop(b"stream")[1][1][1][0][1])) for each in (before, after)]
    assert after == before
    # Servers tell how long ago an entry was delivered, and only then what time it is.
    assert len(delivered[0]) == len(delivered[1]) == 2999
    for at, (name, who, when, count) in delivered[0].items():
        other = delivered[1][at]
        assert (name, who, count) == (other[0], other[1], other[3])
        assert abs(when - other[2]) < 1000


def test_what_is_newer_stays_unless_told_otherwise(site: Site) -> None:
    """A value that differs, another type, an expiry that was moved."""
    site.client.mset({"same": 1, "value": 1, "type": 1, "expiry": 1, "gone": 1})
    backup = site.back_up()
    site.client.set("value", 2)
    site.client.delete("type", "gone")
    site.client.rpush("type", 1)
    site.client.pexpireat("expiry", 3_000_000_000_000)
    changed = contents(site.client)
    report = site.restore(backup)
    assert (report.written, report.same, report.newer) == (1, 1, 3)
    assert contents(site.client) == {**changed, b"gone": (-1, ("string", b"1"))}
    report = site.restore(backup, overwrite=True)
    assert (report.written, report.same, report.newer) == (3, 2, 0)
    assert {name: each[1][1] for name, each in contents(site.client).items()} == dict.fromkeys(
        (b"same", b"value", b"type", b"expiry", b"gone"), b"1"
    )
    assert site.client.ttl("expiry") == -1


def test_what_has_expired_since_is_not_written(site: Site) -> None:
    """Expiries are moments, and go on while the backup lies there."""
    site.client.set("short", 1, px=150)
    site.client.set("long", 1, pxat=3_000_000_000_000)
    backup = site.back_up()
    site.client.flushall()
    while time.time() * 1000 <= backup.created_at.timestamp() * 1000 + 400:
        time.sleep(0.02)
    report = site.restore(backup)
    assert (report.written, report.expired, report.is_whole) == (1, 1, True)
    assert contents(site.client) == {b"long": (3_000_000_000_000, ("string", b"1"))}


def test_keys_can_be_restored_one_by_one(site: Site) -> None:
    r"""By name, binary names spelled with ``\xNN``; what the backup has not is counted."""
    site.client.mset({"a": 1, "b": 2, b"\x00\xff\\": 3})
    backup = site.back_up()
    site.client.flushall()
    report = site.restore(backup, names=("a", r"\x00\xff\\", "never"))
    assert (report.asked, report.written, report.absent) == (3, 2, 1)
    assert sorted(site.client.keys()) == [b"\x00\xff\\", b"a"]


def test_keys_can_be_restored_and_backed_up_by_prefix(site: Site) -> None:
    """Glob characters in a prefix mean themselves."""
    names = [b"a*b:1", b"a*b:2", b"axb:1", b"[a]1", b"a1", b"a\\1", b"\xff1", b"?1"]
    site.client.mset(dict.fromkeys(names, 1))
    whole = site.back_up()
    for prefix in ("a*b:", "[a]", r"a\\", r"\xff", "?", ""):
        start = key_name(prefix)
        wanted = sorted(name for name in names if name.startswith(start))
        part = site.back_up(prefix=prefix)
        assert part.keyspace is not None
        assert (part.keyspace.count, part.keyspace.prefix, part.is_of_all) == (
            len(wanted),
            prefix,
            not prefix,
        )
        for backup, wish in ((part, {}), (whole, {"prefix": prefix})):
            site.client.flushall()
            site.restore(backup, **wish)
            assert sorted(site.client.keys()) == wanted
        site.client.mset(dict.fromkeys(names, 1))


def test_only_named_keys_are_backed_up_before_they_are_overwritten(site: Site) -> None:
    """Such a backup holds them and says that it is of nothing else."""
    site.client.mset({"a": 1, "b": 2, "c": 3})
    backup = site.back_up(names=("a", "c", "c", "never"))
    assert backup.keyspace is not None
    assert (backup.keyspace.count, backup.keyspace.is_by_name, backup.is_of_all) == (2, True, False)


def test_a_backup_of_some_keys_is_not_taken_for_one_of_all(site: Site) -> None:
    """Neither when nobody names a backup, nor by retention; only where there is no other."""
    site.client.mset({"a": 1, "b": 2})
    repository = BACKUPS.repository(site.target, site.place)
    by_name = site.back_up(names=("a",))
    assert chosen_backup(repository) == by_name
    whole = site.back_up()
    by_prefix = site.back_up(prefix="a")
    assert chosen_backup(repository) == whole
    decisions = decide(
        [by_name, whole, by_prefix],
        Retention(keep_last=1, keep_daily=0, keep_weekly=0),
        now=datetime.now(UTC),
    )
    assert all(decision.kept_by for decision in decisions)


def test_a_server_has_no_blocks(site: Site) -> None:
    """Whoever asks for some is told, and nothing is changed."""
    backup = site.back_up()
    for wish in ({"blocks": (1,)}, {"into": "other"}):
        with pytest.raises(RefusedError, match="has keys and no blocks"):
            site.restore(backup, **wish)


def test_what_is_not_backed_up_is_said_by_type_and_count(site: Site) -> None:
    """Medic8's own keys are passed over; what the user may not read is counted, without its name."""
    site.client.mset({"open": 1, "secret:1": 2, "secret:2": 3, CLAIM_KEY: "claim", TEMPORARY + b"x": 1})
    site.client.sadd("secret:3", 1)
    site.client.execute_command("ACL SETUSER reader on nopass +@all ~open")
    site.target = site.target.model_copy(
        update={"url": SecretStr(site.target.address.replace("://", "://reader:x@"))}
    )
    backup = site.back_up()
    site.client.acl_deluser("reader")
    assert backup.keyspace is not None
    assert (backup.keyspace.count, backup.is_complete) == (1, False)
    assert backup.keyspace.left_out == ("3 keys that the user may not read",)
    assert "secret" not in backup.model_dump_json()


def test_an_encrypted_backup_shows_neither_keys_nor_values(site: Site) -> None:
    """In none of its files; and another key opens nothing."""
    site.place = site.place.model_copy(update={"key": SecretStr("ab" * 32)})
    site.client.set("name-of-a-key", "a-value" * 50)
    backup = site.back_up()
    for path in site.files():
        assert b"name-of-a-key" not in path.read_bytes()
        assert b"a-value" not in path.read_bytes()
    assert site.is_sound(backup)
    site.place = site.place.model_copy(update={"key": SecretStr("cd" * 32)})
    with pytest.raises(RefusedError, match="encrypted by key"):
        site.restore(backup)


def write_all_the_time(url: str, stop: Event) -> None:
    """Change keys so that each is, at every moment, what one act made it."""
    with valkey.Valkey.from_url(url) as client:
        number = 0
        while not stop.is_set():
            number += 1
            pipe = client.pipeline(transaction=True)
            pipe.hset("hash", mapping=dict.fromkeys(map(str, range(50)), number))
            pipe.delete("list")
            pipe.rpush("list", *[number] * 40)
            pipe.set(f"come-and-go:{number % 50}", number)
            pipe.delete(f"come-and-go:{(number + 25) % 50}")
            pipe.execute()
            # Rarely, so that a reading of many pieces can come in between.
            if number % 200 == 0:
                pipe.delete("large")
                pipe.rpush("large", *[number] * 5000)
                pipe.execute()


@contextmanager
def a_writer(url: str) -> Iterator[None]:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    process = context.Process(target=write_all_the_time, args=(url, stop))
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(60)


def test_each_key_is_in_the_backup_as_it_was_at_one_moment(site: Site) -> None:
    """While somebody writes: every field and every item of a key is from one act."""
    site.client.mset({f"still:{at}": at for at in range(2000)})
    site.client.rpush("large", *[0] * 5000)
    backups = []
    with a_writer(site.target.address):
        while not site.client.exists("hash"):
            time.sleep(0.01)
        backups = [site.back_up() for _ in range(5)]
    for backup in backups:
        assert backup.keyspace is not None
        assert site.is_sound(backup)
        site.client.flushall()
        site.restore(backup)
        assert len(set(site.client.hvals("hash"))) == 1
        assert len(set(site.client.lrange("list", 0, -1))) == 1
        assert site.client.llen("list") == 40
        if not backup.keyspace.changing:
            assert len(set(site.client.lrange("large", 0, -1))) == 1
            assert site.client.llen("large") == 5000
        assert all(site.client.get(f"still:{at}") == b"%d" % at for at in range(2000))


@contextmanager
def busy_with(act: Callable[[valkey.Valkey], object], url: str) -> Iterator[None]:
    """Somebody who does *act* all the while, over a connection of their own."""
    stop = threading.Event()

    def work() -> None:
        with valkey.Valkey.from_url(url) as client:
            while not stop.is_set():
                act(client)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


def test_a_large_key_that_changes_all_the_while_is_taken_and_counted(site: Site) -> None:
    """After three tries, and no further than it went at first; the backup says that it is not complete."""
    for _ in range(200):
        site.client.rpush("large", *range(1000))
    with busy_with(lambda client: client.rpush("large", "x"), site.target.address):
        backup = site.back_up()
    assert backup.keyspace is not None
    assert (backup.keyspace.changing, backup.is_complete) == (1, False)
    assert site.is_sound(backup)
    site.client.flushall()
    assert site.restore(backup).written == 1
    assert site.client.lrange("large", 0, 199_999) == [b"%d" % (at % 1000) for at in range(200_000)]


def test_a_large_key_that_was_touched_is_read_again(site: Site) -> None:
    """And is in the backup as it was after that, at one moment."""
    for _ in range(200):
        site.client.rpush("large", *range(1000))
    site.client.config_resetstat()

    def touch() -> None:
        with valkey.Valkey.from_url(site.target.address) as client:
            while client.info("commandstats").get("cmdstat_lrange", {}).get("calls", 0) < 5:
                pass
            client.rpush("large", "touched")

    thread = threading.Thread(target=touch)
    thread.start()
    backup = site.back_up()
    thread.join(60)
    assert backup.keyspace is not None
    assert (backup.keyspace.changing, backup.is_complete) == (0, True)
    site.client.flushall()
    site.restore(backup)
    assert site.client.llen("large") == 200_001


def test_a_key_that_a_scan_gives_twice_is_written_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As servers do while a table shrinks; every name is doubted here, and looked for in the index."""
    site.client.mset({f"k:{at}": at for at in range(3000)})
    from medic8.targets.valkey import dump

    monkeypatch.setattr(backup_writing, "_PART_KEYS", 500)
    monkeypatch.setattr(dump, "_MOST_DOUBTFUL", 700)
    scan = dump._Dump._scan
    monkeypatch.setattr(dump._Dump, "_scan", lambda self: (each for _ in range(2) for each in scan(self)))
    backup = site.back_up()
    assert backup.keyspace is not None
    assert backup.keyspace.count == 3000
    assert BACKUPS.verify(site.target, site.around(), backup).items == 3000


def test_what_is_called_new_was_never_seen() -> None:
    """And few others are doubted, even with twice the keys that were expected."""
    seen = SeenKeys(50_000)
    doubted = 0
    for at in range(0, 100_000, 250):
        names = [b"%d" % each for each in range(at, at + 250)]
        doubted += len(seen.sort(names)[1])
        assert seen.sort(names)[0] == []
    assert doubted < 5000


CHILD = """
import sys
from datetime import UTC, datetime
from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.model.backup import RestoreWish
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.backups import ValkeyBackups

url, folder, what = sys.argv[1:]
target = Target(name="cache-1", kind="valkey", url=url)
around = Surroundings(backups=BackupPlace(url=folder), now=datetime.now(UTC))
backups = ValkeyBackups()
print("ready", flush=True)
sys.stdin.readline()
if what == "create":
    backups.create(target, around)
else:
    backup = backups.repository(target, around.backups).read(what)
    backups.restore(target, around, backup, RestoreWish())
"""


def killed_after(site: Site, what: str, seconds: float | None) -> bool:
    """Do *what* in a process of its own and kill it, None = once a key is there; whether it was at it."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, site.target.address, site.place.url, what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        child.stdin.write(b"\n")
        child.stdin.flush()
        if seconds is not None:
            time.sleep(seconds)
        while seconds is None and not site.client.dbsize() and child.poll() is None:
            pass
        child.send_signal(signal.SIGKILL)
        return child.wait(60) == -signal.SIGKILL


def a_database(client: valkey.Valkey) -> None:
    pipe = client.pipeline(transaction=False)
    for at in range(6000):
        pipe.set(f"k:{at}", f"value {at}")
    for at in range(0, 30_000, 1000):
        pipe.rpush("large", *range(at, at + 1000))
        pipe.hset("hash", mapping={str(each): "v" * 30 for each in range(at, at + 1000)})
    pipe.execute()


def test_a_killed_backup_does_not_show_and_leaves_nothing_in_the_end(site: Site) -> None:
    """Wherever it was killed: what is listed can be restored, and the next backup clears up."""
    a_database(site.client)
    for delay in (0.02, 0.1, 0.25, 0.4):
        killed_after(site, "create", delay)
    listed = BACKUPS.repository(site.target, site.place).list(datetime.now(UTC))
    assert all(site.is_sound(backup) for backup in listed.backups)
    backup = site.back_up()
    repository = BACKUPS.repository(site.target, site.place)
    prune(
        repository,
        Retention(keep_last=1, keep_daily=0, keep_weekly=0),
        BACKUPS.packs_of_part,
        clock=lambda: datetime.now(UTC),
    )
    needed = {f"{part.number:05d}-{part.file}.m8i" for part in backup.parts}
    for part in backup.parts:
        needed |= BACKUPS.packs_of_part(part.number, repository.read_part(backup, part))
    assert {path.name for path in site.files()} == {*needed, f"{backup.id}.json"}
    assert site.is_sound(backup)


def test_a_killed_restore_leaves_no_key_in_part(site: Site) -> None:
    """Each key is there whole or not at all; the next restore removes what lies under temporary names."""
    a_database(site.client)
    before = contents(site.client)
    backup = site.back_up()
    was_half_way = False
    for delay in (None, 0.05, 0.1, 0.2):
        site.client.flushall()
        killed_after(site, backup.id, delay)
        there = {
            name: found for name, found in contents(site.client).items() if not name.startswith(TEMPORARY)
        }
        assert all(before[name] == found for name, found in there.items())
        was_half_way |= 0 < len(there) < len(before)
        for name in site.client.scan_iter(TEMPORARY + b"*"):
            assert 0 < site.client.pttl(name) <= LASTS_MS
        site.restore(backup)
        assert contents(site.client) == before
    assert was_half_way


def test_only_what_dead_restores_left_is_removed(site: Site) -> None:
    """A temporary key of a living process, or of one that nobody knows, stays."""
    backup = site.back_up()
    mine = TemporaryNames().name_for(b"k")
    site.client.mset({mine: 1, TEMPORARY + b"of somebody else": 1})
    site.restore(backup)
    assert sorted(site.client.keys()) == sorted([mine, TEMPORARY + b"of somebody else"])


def test_a_temporary_key_that_is_taken_away_makes_no_key_in_part(site: Site) -> None:
    """What would be there is only the rest of it; the key is left, and said to be."""
    for _ in range(300):
        site.client.rpush("large", *range(1000))
    backup = site.back_up()
    site.client.flushall()

    def rob(client: valkey.Valkey) -> None:
        for name in client.keys(TEMPORARY + b"*"):
            client.delete(name)

    with busy_with(rob, site.target.address):
        report = site.restore(backup)
    assert (report.written, report.left_count, report.is_whole) == (0, 1, False)
    assert report.left == ("1 key: whose temporary key was removed by somebody while it was filled",)
    assert site.client.keys() == []


def test_a_temporary_key_that_is_taken_away_once_in_the_middle_makes_no_key_in_part(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after that would be a key as well, and could be renamed."""
    for _ in range(100):
        site.client.rpush("large", *range(1000))
    backup = site.back_up()
    site.client.flushall()
    fill = write_key.filling

    def robbed(kind: Kind, name: bytes, pieces: Pieces, *, now_ms: int) -> Iterator[list[Command]]:
        for number, commands in enumerate(fill(kind, name, pieces, now_ms=now_ms)):
            if number == 3:
                assert site.client.delete(name)
            yield commands

    monkeypatch.setattr(restore_keys, "filling", robbed)
    report = site.restore(backup)
    assert (report.written, report.left_count) == (0, 1)
    assert site.client.keys() == []


def test_a_key_that_is_written_at_the_last_moment_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the write, small and large; it is counted as newer."""
    site.client.set("small", 1)
    site.client.sadd("set", 1)
    site.client.rpush("large", *range(50_000))
    backup = site.back_up()
    site.client.flushall()
    from medic8.targets.valkey import restore_keys

    look = restore_keys._Restore._to_write

    def and_then_somebody_writes(self: Any, keys: Any) -> Any:
        found = look(self, keys)
        site.client.mset({"small": "newer", "set": "newer", "large": "newer"})
        return found

    monkeypatch.setattr(restore_keys._Restore, "_to_write", and_then_somebody_writes)
    report = site.restore(backup)
    assert (report.written, report.newer) == (0, 3)
    assert {site.client.get(name) for name in ("small", "set", "large")} == {b"newer"}
    assert len(site.client.keys()) == 3


def test_a_server_that_goes_away_is_a_transient_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a backup nothing is left; in the middle of a restore it says how far it came."""
    monkeypatch.setattr(backup_writing, "_PART_KEYS", 100)  # some parts are written by then
    with scratch_valkey(tmp_path) as server:
        site = Site(server.url, tmp_path / "backups")
        with site.client:
            a_database(site.client)
            backup = site.back_up()

            def restart(done: int, total: int) -> None:
                if 0 < done <= total:
                    server.kill()
                    server.start()

            files = site.files()
            with pytest.raises(TransientError, match="stopped answering"):
                BACKUPS.create(site.target, site.around(restart))
            assert site.files() == files
            listed = BACKUPS.repository(site.target, site.place).list(datetime.now(UTC))
            assert [each.id for each in listed.backups] == [backup.id]
            with pytest.raises(TransientError, match=r"when \d+ of the \d+ keys looked at had been written"):
                BACKUPS.restore(site.target, site.around(restart), backup, RestoreWish())
            site.restore(backup)
            assert site.client.dbsize() == 6002


def test_a_server_without_room_ends_a_restore(site: Site) -> None:
    """With how far it came; nothing lies under temporary names."""
    for at in range(600):
        site.client.set(f"k:{at:03d}", "x" * 60_000)
    site.client.rpush("large", *["y" * 5_000] * 400)
    backup = site.back_up()
    raw(site.client, "FLUSHALL", "SYNC")  # without the word the memory is freed some time later
    site.client.config_set("maxmemory-policy", "noeviction")
    site.client.config_set("maxmemory", int(site.client.info("memory")["used_memory"]) + (12 << 20))
    try:
        with pytest.raises(TransientError, match=r"looked at had been written, each of them whole: .*memory"):
            site.restore(backup)
    finally:
        site.client.config_set("maxmemory", 0)
    assert not list(site.client.scan_iter(TEMPORARY + b"*"))
    there = site.client.dbsize()
    assert 0 < there < 601
    assert site.restore(backup).written == 601 - there


def test_a_replica_refuses_a_restore_and_gives_a_backup(site: Site) -> None:
    """Nothing is changed, and the reason is the server's own."""
    site.client.mset({"there": 1, "gone": 2})
    backup = site.back_up()
    site.client.delete("gone")
    site.client.replicaof("127.0.0.1", "1")
    try:
        of_replica = site.back_up()
        with pytest.raises(RefusedError, match="read only replica"):
            site.restore(backup)
    finally:
        site.client.replicaof("NO", "ONE")
    assert of_replica.keyspace is not None
    assert of_replica.keyspace.count == 1
    assert site.client.keys() == [b"there"]


def test_a_user_who_may_not_write_some_keys_gets_the_others(site: Site) -> None:
    """Those that are left are counted."""
    site.client.mset({"open": 1, "closed": 2})
    site.client.sadd("closed set", 1)
    backup = site.back_up()
    site.client.flushall()
    site.client.execute_command("ACL SETUSER writer on nopass +@all ~open %R~*")
    site.target = site.target.model_copy(
        update={"url": SecretStr(site.target.address.replace("://", "://writer:x@"))}
    )
    report = site.restore(backup)
    site.client.acl_deluser("writer")
    assert (report.written, report.left_count) == (1, 2)
    assert report.left == ("2 keys: that the user may not write",)


def test_a_user_who_may_not_see_some_keys_is_not_told_that_they_are_newer(site: Site) -> None:
    """They may as well be gone, and a restore that brought none of them back would look complete."""
    site.client.mset({"open": 1, "closed": 2})
    backup = site.back_up()
    site.client.flushall()
    site.client.execute_command("ACL SETUSER writer on nopass +@all ~open")
    site.target = site.target.model_copy(
        update={"url": SecretStr(site.target.address.replace("://", "://writer:x@"))}
    )
    report = site.restore(backup)
    site.client.acl_deluser("writer")
    assert (report.written, report.newer, report.left_count) == (1, 0, 1)
    assert report.left == ("1 key: that the user may not read",)


def test_a_stream_that_counts_fewer_entries_than_are_pending_comes_back(site: Site) -> None:
    """Its counts were set by hand; what a server would refuse of it would end the restore of all keys."""
    for command in (
        ("XADD", "s", "5-0", "a", "b"),
        ("XGROUP", "CREATE", "s", "g", "0"),
        ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"),
        ("XTRIM", "s", "MAXLEN", 0),
        ("XSETID", "s", "9-0", "ENTRIESADDED", 0, "MAXDELETEDID", "0-0"),
        ("SET", "other", 1),
    ):
        raw(site.client, *command)
    before = contents(site.client)
    backup = site.back_up()
    site.client.flushall()
    assert site.restore(backup).written == 2
    assert contents(site.client) == before


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_damaged_file_is_noticed_and_nothing_of_it_is_restored(site: Site, at: int) -> None:
    """Wherever a byte of a pack or of the index was changed: verify says so, no wrong value is written."""
    make(site.client, [("SET", f"k:{each}", f"value {each}") for each in range(300)])
    site.client.rpush("list", *range(2000))
    before = contents(site.client)
    backup = site.back_up()
    files = [path for path in site.files() if path.suffix in {".m8p", ".m8i"}]
    path = files[at % len(files)]
    content = bytearray(path.read_bytes())
    content[len(content) * at // 100] ^= 0x55
    path.write_bytes(content)
    is_sound = BACKUPS.verify(site.target, site.around(), backup).is_sound
    site.client.flushall()
    report = site.restore(backup)
    assert contents(site.client).items() <= before.items()
    if is_sound:  # the byte belonged to nothing that a restore needs
        assert report.is_whole
    else:
        assert not report.is_whole
        assert report.left


def test_hostile_parts_of_an_index_are_refused(site: Site) -> None:
    """Whatever they say of counts and places."""
    from medic8.targets.valkey.backup_index import packs_of_part, unpack_keys

    site.client.mset({f"k:{at}": at for at in range(5)})
    backup = site.back_up()
    body = BACKUPS.repository(site.target, site.place).read_part(backup, backup.parts[0])
    assert len(unpack_keys(body, 0).keys) == 5
    chance = random.Random(7)
    for _ in range(3000):
        hostile = bytearray(body)
        for _ in range(chance.randint(1, 3)):
            hostile[chance.randrange(len(hostile))] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
        hostile = hostile[: chance.choice([len(hostile), chance.randrange(len(hostile))])]
        with contextlib.suppress(BackupDamagedError):
            unpack_keys(bytes(hostile), 0)
        with contextlib.suppress(BackupDamagedError):
            packs_of_part(0, bytes(hostile))


def test_memory_does_not_grow_with_values(site: Site) -> None:
    """A list of 150 MiB and a string of as much take less than a third of one of them."""
    item = "x" * 1000
    for _ in range(75):
        site.client.rpush("list", *[item] * 2000)
    site.client.set("string", b"z" * (150 << 20))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURING, site.target.address, site.place.url],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    before_kib, after_kib = map(int, measured.stdout.split())
    assert after_kib - before_kib < 50 << 10
    assert site.client.llen("list") == 150_000
    assert site.client.strlen("string") == 150 << 20


MEASURING = (
    CHILD.split("print(", maxsplit=1)[0].replace(
        "url, folder, what = sys.argv[1:]", "url, folder = sys.argv[1:]"
    )
    + """
import resource
import valkey

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

backups.create(target, around, names=("none",))
before = most()
backup = backups.create(target, around)
valkey.Valkey.from_url(url).flushall()
assert backups.restore(target, around, backup, RestoreWish()).written == 2
assert backups.verify(target, around, backup).is_sound
print(before, most())
"""
)


@pytest.mark.parametrize(
    ("text", "name"),
    [("plain", b"plain"), (r"\x00\xfF", b"\x00\xff"), (r"a\\x41", rb"a\x41"), ("é", b"\xc3\xa9"), ("", b"")],
)
def test_names_are_spelled_as_text(text: str, name: bytes) -> None:
    r"""``\xNN`` is a byte, ``\\`` a backslash; the rest is UTF-8."""
    assert key_name(text) == name


@pytest.mark.parametrize("text", ["a\\", r"\n", r"\x4", r"\xg0"])
def test_a_lone_backslash_is_a_wrong_call(text: str) -> None:
    """Rather than a key that nobody meant."""
    with pytest.raises(ConfigurationError, match="after a backslash"):
        key_name(text)


def test_a_prefix_is_no_pattern() -> None:
    """All that a server gives a meaning to is escaped."""
    assert glob_of_prefix(b"a*[b]?\\") == b"a\\*\\[b\\]\\?\\\\*"


def test_a_temporary_key_lies_in_the_slot_of_the_real_one() -> None:
    """As a cluster computes it; where that cannot stand between braces, a number lies there as well."""
    names = TemporaryNames()
    for key, tag in (
        (b"k", b"{k}"),
        (b"{t}k", b"{t}"),
        (b"a{b}c{d}", b"{b}"),
        (b"a{k", b"{a{k}"),
    ):
        assert names.name_for(key).endswith(b":" + tag)


def test_a_cluster_gets_back_whatever_the_braces_in_its_names(tmp_path: Path) -> None:
    """A name whose temporary one lies elsewhere cannot be given to it, and would end every restore."""
    config = {"cluster-enabled": "yes", "cluster-port": str(free_port(()))}
    with scratch_valkey(tmp_path, config=config) as server:
        site = Site(server.url, tmp_path / "backups")
        with site.client:
            raw(site.client, "CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            for _ in range(200):
                if b"cluster_state:ok" in raw(site.client, "CLUSTER", "INFO"):
                    break
                time.sleep(0.05)
            for name in (b"", b"}", b"{}a", b"a}b", b"a{}b{c}", b"a{k", b"{t}", b"plain"):
                site.client.sadd(name, 1)
                site.client.rpush(b"big" + name, *[b"x" * 1000] * 100)
            before = contents(site.client)
            backup = site.back_up()
            site.client.flushall()
            report = site.restore(backup)
            assert (report.written, report.left_count) == (16, 0)
            assert contents(site.client) == before


def test_an_address_that_decodes_is_refused(site: Site) -> None:
    """Bytes would be lost."""
    address = f"{site.target.address}?decode_responses=True"
    site.target = site.target.model_copy(update={"url": SecretStr(address)})
    with pytest.raises(ConfigurationError, match="decode_responses"):
        site.back_up()


def test_the_value_of_each_key_is_read_by_plain_commands(site: Site) -> None:
    """The reader that the others compare with sees a difference in every part of a stream."""
    site.client.xadd("s", {"f": "v"}, id="1-1")
    before = value(site.client, b"s")
    site.client.xgroup_create("s", "g", id="0")
    assert value(site.client, b"s") != before


def test_an_older_server_gets_what_it_can_hold_and_says_what_it_cannot(
    valkey_url: str, tmp_path: Path
) -> None:
    """Without the commands of version 7 and 9: fields that expire are left, streams lose their counters."""
    site = Site(valkey_url, tmp_path / "backups")
    gone = {"rename-command": 'PEXPIRETIME ""\nrename-command HPEXPIRETIME ""'}
    site.client.set("string", 1, pxat=3_000_000_000_000)
    site.client.hset("fields", mapping={"f": 1, "g": 2})
    raw(site.client, "HPEXPIREAT", "fields", 3_000_000_000_000, "FIELDS", 1, "f")
    site.client.hset("hash", "f", 1)
    site.client.xadd("stream", {"f": "v"}, id="1-1")
    backup = site.back_up()
    with scratch_valkey(tmp_path, config=gone) as server:
        site.target = site.target.model_copy(update={"url": SecretStr(server.url)})
        report = site.restore(backup)
        assert (report.written, report.left_count) == (3, 2)
        assert set(report.left) == {
            "1 key: hashes whose fields expire, which this server does not know",
            "1 key: streams, written; this server does not keep how many entries they ever had",
        }
        again = site.restore(backup, names=("string", "hash"))
        assert (again.same, again.newer) == (2, 0)
        older = site.back_up()
        site.client.close()
        assert older.keyspace is not None
        assert older.keyspace.by_type == {"hash": 1, "stream": 1, "string": 1}
        assert site.restore(older).same == 3
