"""Real files of real servers, really damaged, are found by their copies; whole ones never are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.valkey.looks.files import look_at_files
from tests.crash.scenes import around
from tests.damaged_files import flip_a_bit
from tests.replicas import until, writing


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScratchValkey]:
    """Get a server with a snapshot and an append-only file, whose base is a snapshot as well."""
    with scratch_valkey(tmp_path, config={"appendonly": "yes"}) as started:
        with valkey.Valkey.from_url(started.url) as client:
            client.mset({f"key:{n}": f"value {n} " * 10 for n in range(2000)})
            client.save()
            client.bgrewriteaof()
            until(lambda: is_idle(started.url))
            client.mset({f"later:{n}": f"value {n} " * 10 for n in range(2000)})
        yield started


def is_idle(url: str) -> bool:
    with valkey.Valkey.from_url(url) as client:
        facts = client.info("persistence")
    return not (facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"])


def look(server: ScratchValkey, **labels: str) -> DiagnosticResult:
    given = {name.replace("_", "-"): value for name, value in labels.items()}
    return look_at_files(
        Target(name="server", kind="valkey", url=server.url, labels=given), around(Path("x"))
    )


def codes(result: DiagnosticResult) -> list[str]:
    return [each.code for each in result.findings]


def part(server: ScratchValkey, ending: str) -> Path:
    (found,) = server.data.rglob(f"*{ending}")
    return found


def test_whole_files_have_no_finding_also_while_somebody_writes(server: ScratchValkey) -> None:
    """The end of the append-only file is cut anywhere, and the server is left alone."""
    result = look(server)
    assert (codes(result), result.unseen) == ([], ())
    assert {each.name: each.value for each in result.readings} == {
        "files.snapshot": "whole",
        "files.aof": "whole",
    }
    with writing(server.url, size=3000, per_s=1000):
        for _ in range(5):
            assert codes(look(server)) == []


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_a_flipped_bit_of_a_snapshot_is_found(server: ScratchValkey, at: float) -> None:
    """By its checksum, wherever it is."""
    flip_a_bit(server.data / "dump.rdb", at=at)
    assert codes(look(server)) == ["persistence.snapshot_damaged"]


def test_a_snapshot_that_was_cut_short_is_found(server: ScratchValkey) -> None:
    """As by a copy that broke off."""
    file = server.data / "dump.rdb"
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    assert codes(look(server)) == ["persistence.snapshot_damaged"]


def test_damage_in_either_part_of_an_append_only_file_is_found(server: ScratchValkey) -> None:
    """In its base, which is a snapshot, by the checksum; in what follows, where it is no command now."""
    flip_a_bit(part(server, ".base.rdb"))
    assert codes(look(server)) == ["persistence.aof_damaged"]
    flip_a_bit(part(server, ".base.rdb"))
    assert codes(look(server)) == []
    later = part(server, ".incr.aof")
    content = later.read_bytes()
    with later.open("r+b") as opened:
        opened.seek(content.index(b"$", len(content) // 2))
        opened.write(b"#")
    assert codes(look(server)) == ["persistence.aof_damaged"]


def test_larger_files_are_said_to_be_unchecked_unless_a_label_says_so(server: ScratchValkey) -> None:
    """A label of the target says up to which size."""
    with valkey.Valkey.from_url(server.url) as client:
        client.config_set("rdbcompression", "no")
        client.mset({f"large:{n}": b"x" * (1 << 20) for n in range(3)})
        client.save()
    flip_a_bit(server.data / "dump.rdb")
    small = look(server, check_files_mib="2")
    assert codes(small) == []
    assert any("are checked at most" in line for line in small.unseen)
    assert codes(look(server, check_files_mib="100")) == ["persistence.snapshot_damaged"]


def test_nothing_is_left_of_a_look(
    server: ScratchValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No copy and no temporary server."""
    room = tmp_path / "room"
    room.mkdir()
    room.chmod(0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    flip_a_bit(server.data / "dump.rdb")
    look(server)
    assert list(room.iterdir()) == []


def test_a_server_without_files_has_nothing_to_look_at(valkey_url: str) -> None:
    """And nothing is said to be unseen."""
    result = look_at_files(Target(name="server", kind="valkey", url=valkey_url), around(Path("x")))
    assert (result.findings, result.readings) == ((), ())
