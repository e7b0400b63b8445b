"""Manifests, parts and packs of one target, and who may write and prune them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from backup_samples import LOGIN, NOW, a_backup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from medic8.backups.choosing import chosen_backup
from medic8.backups.errors import BackupDamagedError
from medic8.backups.packs import build_pack, new_pack, pack_named, read_frame, read_trailer, write_pack
from medic8.backups.place import BackupPlace, Retention
from medic8.backups.presence import PRESENCES, Doing, Presence
from medic8.backups.repository import Repository, part_path
from medic8.backups.sweep import prune
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BackupList
from medic8.model.recovery import Owner
from medic8.owner import this_process


def clock() -> datetime:
    return NOW


@pytest.fixture
def repository(folder: Path) -> Repository:
    """Get the backups of a grid that has none."""
    return Repository(BackupPlace.of(folder), "grid", "lab")


@pytest.fixture
def keyed(folder: Path) -> Repository:
    """Get the same with a key."""
    return Repository(BackupPlace(url=str(folder), key=SecretStr("ab" * 32)), "grid", "lab")


def manifest_of(repository: Repository) -> Path:
    assert repository.storage.local is not None
    (path,) = (repository.storage.local / "manifests").iterdir()
    return path


def test_a_backup_is_there_when_its_manifest_is(repository: Repository) -> None:
    """It reads back as it was written; deleted, it is not there."""
    backup = a_backup(timedelta(0))
    repository.write(backup)
    assert repository.list(NOW).backups == (backup,)
    assert repository.read(backup.id) == backup == chosen_backup(repository)
    repository.delete(backup.id)
    assert repository.list(NOW).backups == ()
    with pytest.raises(ConfigurationError, match=f"has no backup '{backup.id}'"):
        repository.read(backup.id)
    with pytest.raises(RefusedError, match="there is no backup in"):
        chosen_backup(repository)


def test_the_newest_complete_one_is_chosen(repository: Repository) -> None:
    """A newer one that lacks pages is chosen only where it is named, or where there is no other."""
    whole, hurt = a_backup(timedelta(hours=2)), a_backup(timedelta(hours=1), lost_pages=1)
    repository.write(hurt)
    assert chosen_backup(repository) == hurt
    repository.write(whole)
    assert chosen_backup(repository) == whole
    assert chosen_backup(repository, hurt.id) == hurt
    assert chosen_backup(repository, hurt.id[:14]) == hurt
    with pytest.raises(ConfigurationError, match="has no backup '2026'"):
        chosen_backup(repository, "2026")


def change(field: str, value: object) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))

    return do


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-40]), "its manifest is none"),
    "empty": (lambda path: path.write_bytes(b""), "its manifest is none"),
    "no object": (lambda path: path.write_text("[1]"), "its manifest is none"),
    "nested beyond reason": (lambda path: path.write_text("[" * 100_000), "its manifest is none"),
    "changed": (change("content_bytes", 5), "does not match its seal"),
    "unsealed": (change("seal", ""), "does not match its seal"),
    "too new": (change("format", 4), "has format 4; the limit is format 3"),
    "unknown field": (change("extra", 1), "extra: Extra inputs"),
    "wrong type": (change("parts", "x"), "parts: "),
    "no time zone": (change("created_at", "2026-03-31T18:00:00"), "created_at: "),
    "a time that no zone can tell": (change("created_at", "9999-12-31T23:59:59-23:59"), "created_at: "),
    "too many bytes to count": (change("content_bytes", 10**400), "content_bytes: "),
    "a grid that cannot be": (
        change("grid", {"uuid": "a", "created_s": 0, "depth": 65_537, "blocks": 0}),
        "grid.depth: Input should be less than or equal to 65536",
    ),
    "a file elsewhere": (
        change("parts", [{"number": 0, "file": "../x"}]),
        "parts.0.file: String should match",
    ),
    "another name": (
        lambda path: path.rename(path.with_name("old.json")),
        "its name is none that a backup has",
    ),
    "another id": (
        lambda path: path.rename(path.with_name("20260131T180000Z-000000.json")),
        "in a wrong place",
    ),
    "huge": (lambda path: path.write_bytes(bytes(17 << 20)), "the limit is 16777216"),
}


def test_a_manifest_may_be_called_anything(repository: Repository) -> None:
    """A name of bytes that are no text, and one that would move the cursor: told, as JSON as well."""
    for name in (b"\xff\xfe.json", b"\x1b[2J.json"):
        repository.storage.write(f"manifests/{os.fsdecode(name)}", b"")
    listed = repository.list(NOW)
    assert BackupList.model_validate_json(listed.model_dump_json()) == listed
    assert [each.path.rpartition("/")[2] for each in listed.problems] == [
        "\\x1b[2J.json",
        "\\udcff\\udcfe.json",
    ]


@pytest.mark.parametrize("harm", HARMS)
def test_a_manifest_that_is_none_is_a_problem_and_spoils_no_other(repository: Repository, harm: str) -> None:
    """It is listed with its reason; pruning refuses, since nobody knows what it needs."""
    sound = a_backup(timedelta(days=90))
    repository.write(a_backup(timedelta(0)))
    do, message = HARMS[harm]
    do(manifest_of(repository))
    repository.write(sound)
    listed = repository.list(NOW)
    assert listed.backups == (sound,)
    (problem,) = listed.problems
    assert message in problem.reason
    with pytest.raises(RefusedError, match="nobody knows what it needs; medic8 backup delete takes it away"):
        prune(repository, Retention(keep_last=0), lambda _, __: frozenset(), clock=clock)
    assert repository.list(NOW).backups == (sound,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    edits=st.lists(
        st.tuples(st.integers(0), st.binary(max_size=6), st.integers(0, 9)), min_size=1, max_size=4
    )
)
def test_whatever_happens_to_a_manifest_it_is_read_right_or_not_at_all(
    repository: Repository, edits: list[tuple[int, bytes, int]]
) -> None:
    """Bytes are cut out and put in anywhere: the same backup or a problem, never another one or a crash."""
    backup = a_backup(timedelta(0))
    repository.write(backup)
    path = manifest_of(repository)
    content = path.read_bytes()
    for at, put, cut in edits:
        place = at % (len(content) + 1)
        content = content[:place] + put + content[place + cut :]
    path.write_bytes(content)
    listed = repository.list(NOW)
    assert listed.backups in {(), (backup,)}
    assert len(listed.backups) + len(listed.problems) == 1


def test_a_seal_by_a_key_cannot_be_made_without_it(keyed: Repository, repository: Repository) -> None:
    """Whoever can write to the storage cannot pass a backup of their own off for one of ours."""
    backup = a_backup(timedelta(0)).model_copy(update={"key_id": keyed.secrecy.key_id})
    keyed.write(backup)
    document = json.loads(manifest_of(keyed).read_text())
    document["content_bytes"] = 5
    seal = document.pop("seal")
    assert seal.startswith("hmac-sha256:")
    document["seal"] = repository.secrecy.seal(
        json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    )
    manifest_of(keyed).write_text(json.dumps(document))
    (problem,) = keyed.list(NOW).problems
    assert "does not match its seal" in problem.reason


def test_where_there_is_a_key_a_backup_without_one_must_be_named(
    keyed: Repository, repository: Repository
) -> None:
    """Whoever can write to the storage can make one, as new as they like; it is not taken for the site's."""
    forged = a_backup(timedelta(0))
    repository.write(forged)
    with pytest.raises(RefusedError, match=f"if backup {forged.id} is yours, name it"):
        chosen_backup(keyed)
    ours = a_backup(timedelta(days=1), lost_pages=1).model_copy(update={"key_id": keyed.secrecy.key_id})
    keyed.write(ours)
    assert chosen_backup(keyed) == ours
    assert chosen_backup(keyed, forged.id) == forged


def test_an_equal_part_is_not_written_again(repository: Repository, keyed: Repository) -> None:
    """Also where encryption makes every file look different."""
    for each in (repository, keyed):
        first = each.write_part(3, b"what is in it")
        assert each.write_part(3, b"what is in it", first) == first
        other = each.write_part(3, b"something else", first)
        assert other.file != first.file
        backup = a_backup(timedelta(0)).model_copy(update={"key_id": each.secrecy.key_id})
        assert each.read_part(backup, first) == b"what is in it"
        assert each.storage.local is not None
        (each.storage.local / part_path(first)).write_bytes(b"junk")
        with pytest.raises(BackupDamagedError, match="has digest"):
            each.read_part(backup, first)


def test_a_pack_says_what_it_holds(keyed: Repository) -> None:
    """The last frame describes the others by their places; a pack cut short or grown is damage."""
    pack = new_pack(7, "20260131T180000Z-000000")
    assert pack_named(pack.path.removeprefix("packs/")) == pack
    cipher = keyed.secrecy.file(pack.file)
    frames = [cipher.make(bytes([n]) * 100, n) for n in range(3)]
    content, places = build_pack(frames, lambda at: repr(at).encode(), cipher)
    write_pack(keyed.storage, pack, content)
    assert keyed.packs() == {pack: len(content)}
    assert read_trailer(keyed.storage, keyed.secrecy, pack, len(content)) == repr(places).encode()
    assert [read_frame(keyed.storage, cipher, pack, at, most=100) for at in places] == [
        bytes([n]) * 100 for n in range(3)
    ]
    for size in (0, 5, len(content) - 1):
        with pytest.raises(BackupDamagedError):
            read_trailer(keyed.storage, keyed.secrecy, pack, size)


@pytest.mark.parametrize("name", ["", "x", "00001-", "00001-zz.m8p", "1-" + "00" * 16 + ".m8p", "../x"])
def test_a_file_that_is_no_pack_is_none(name: str) -> None:
    """Strays among the packs are passed over."""
    assert pack_named(name) is None


# Who may write and prune.


@pytest.fixture
def remote(ftp_url: str, request: pytest.FixtureRequest) -> Repository:
    """Get backups on a server that has no locks."""
    return Repository(BackupPlace(url=ftp_url, options=LOGIN), "grid", request.node.name.lower()[:40])


def test_a_folder_has_one_writer(repository: Repository) -> None:
    """The second one is refused, whatever it wants to do; afterwards it may."""
    with (
        repository.turn(Doing.BACKUP, "one", clock=clock) as turn,
        pytest.raises(RefusedError, match="another process is at the backups in"),
        repository.turn(Doing.PRUNE, "two", clock=clock),
    ):
        raise AssertionError
    turn.clear_up()
    with repository.turn(Doing.PRUNE, "two", clock=clock) as turn:
        assert turn.left_behind == ()


def test_elsewhere_whoever_deletes_is_alone(remote: Repository) -> None:
    """Two backups at once do no harm; a pruning beside a backup is refused, and a backup beside a pruning."""
    with remote.turn(Doing.BACKUP, "one", clock=clock) as one:
        with remote.turn(Doing.BACKUP, "two", clock=clock) as two:
            two.clear_up()
        with (
            pytest.raises(RefusedError, match=r"a backup \(one\) is under way, of process"),
            remote.turn(Doing.PRUNE, "three", clock=clock),
        ):
            raise AssertionError
        one.clear_up()
    with remote.turn(Doing.PRUNE, "four", clock=clock) as four:
        with (
            pytest.raises(RefusedError, match=r"a prune \(four\) is under way"),
            remote.turn(Doing.BACKUP, "five", clock=clock),
        ):
            raise AssertionError
        four.clear_up()
    assert remote.storage.sizes(PRESENCES) == {}


def test_elsewhere_a_writer_that_is_gone_is_told_from_one_that_may_live(remote: Repository) -> None:
    """Dead on this machine: gone. On another machine: after a day without a sign of life. Given up: gone."""
    here = this_process()
    dead = here.model_copy(update={"started_at": here.started_at - 1})
    elsewhere = Owner(machine="another", boot="b", pid_namespace="p", pid=1, started_at=1)

    def put(name: str, owner: Owner, age: timedelta, *, is_over: bool = False) -> None:
        note = Presence(id=name, doing=Doing.BACKUP, owner=owner, renewed_at=NOW - age, is_over=is_over)
        remote.storage.write(note.path, note.model_dump_json().encode())

    put("dead", dead, timedelta(0))
    put("given-up", here, timedelta(0), is_over=True)
    put("long-ago", elsewhere, timedelta(hours=25))
    with remote.turn(Doing.PRUNE, "mine", clock=clock) as turn:
        assert {each.id for each in turn.left_behind} == {"dead", "given-up", "long-ago"}
        turn.clear_up(*turn.left_behind)
    put("lately", elsewhere, timedelta(hours=23))
    with (
        pytest.raises(RefusedError, match=r"lately.* on machine another, seen last at 2026-03-30 19:00:00Z"),
        remote.turn(Doing.PRUNE, "mine", clock=clock),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    "change",
    [
        {"renewed_at": "2026-03-31T18:00:00"},
        {"id": "../../../victim"},
        {"a field of a later version": 1},
    ],
    ids=["no time zone", "a file elsewhere", "of a later version"],
)
def test_a_note_that_cannot_be_read_names_no_file_and_ends_no_list(
    repository: Repository, folder: Path, change: dict[str, Any]
) -> None:
    """On this machine the lock tells who is there, so nobody is held up; and nothing elsewhere is deleted."""
    victim = folder / "victim.json"
    repository.storage.write(f"{PRESENCES}/20260331T180000Z-000000.json", a_note(**change))
    victim.write_text("")
    assert repository.list(NOW).unfinished == ()
    with repository.turn(Doing.BACKUP, "mine", clock=clock) as turn:
        turn.clear_up(*turn.left_behind)
    assert victim.exists()


def test_elsewhere_a_note_that_cannot_be_read_may_be_of_somebody_who_lives(remote: Repository) -> None:
    """Nobody deletes, or writes what another may delete, until a person has looked."""
    remote.storage.write(f"{PRESENCES}/20260331T180000Z-000000.json", a_note(later=1))
    for doing in Doing:
        with (
            pytest.raises(RefusedError, match=r"presences/20260331T180000Z-000000.json: somebody may be at"),
            remote.turn(doing, "mine", clock=clock),
        ):
            raise AssertionError
    remote.storage.delete(f"{PRESENCES}/20260331T180000Z-000000.json")
    with remote.turn(Doing.PRUNE, "mine", clock=clock) as turn:
        turn.clear_up()


def a_note(**changes: object) -> bytes:
    note = Presence(
        id="20260331T180000Z-000000", doing=Doing.BACKUP, owner=this_process(), renewed_at=NOW
    ).model_dump(mode="json")
    return json.dumps(note | changes).encode()


def test_a_long_backup_shows_that_it_lives(remote: Repository) -> None:
    """Its note is renewed as time goes by, and not at every turn."""
    now = [NOW]
    with remote.turn(Doing.BACKUP, "mine", clock=lambda: now[0]) as turn:

        def noted() -> datetime:
            (name,) = remote.storage.sizes(PRESENCES)
            note = remote.storage.read(f"{PRESENCES}/{name}", most=10_000)
            return Presence.model_validate_json(note).renewed_at

        now[0] += timedelta(minutes=1)
        turn.renew()
        assert noted() == NOW
        now[0] += timedelta(hours=1)
        turn.renew()
        assert noted() == now[0]
        turn.clear_up()


def test_of_two_that_begin_at_once_elsewhere_at_least_one_sees_the_other(ftp_url: str) -> None:
    """Pruning and backing up side by side, many times: never both go on."""
    place = BackupPlace(url=ftp_url, options=LOGIN)

    def take(doing: Doing, number: int, begin: threading.Barrier, went_on: list[Doing]) -> None:
        repository = Repository(place, "grid", "at-once")
        begin.wait(60)
        try:
            with repository.turn(doing, f"{doing}-{number}", clock=clock) as turn:
                went_on.append(doing)
                begin.wait(60)  # the other one has decided as well by now
                turn.clear_up()
        except RefusedError:
            begin.wait(60)

    ends = []
    for number in range(8):
        begin, went_on = threading.Barrier(2), list[Doing]()
        threads = [threading.Thread(target=take, args=(doing, number, begin, went_on)) for doing in Doing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not begin.broken
        ends.append(len(went_on))
    assert max(ends) == 1
