"""Whoever may write to a server's folder leads a look at its files nowhere else, and gains no rights."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import valkey

from medic8.errors import RefusedError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Step, StepClass
from medic8.model.report import DiagnosticResult
from medic8.targets.valkey.acts.act import ActedOn
from medic8.targets.valkey.acts.rewrite import REWRITE_FILE, RewriteAct, RewriteFile
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.data_files import SETTINGS, DataFiles, Part, keep_aside, located
from medic8.targets.valkey.file_check import damage_of, loaded
from medic8.targets.valkey.server_process import Process, running
from tests.replicas import until
from tests.targets.valkey.debian_server import needs_redis, redis_server
from tests.targets.valkey.looking_at import a_target
from tests.targets.valkey.looking_at import look as look_by

_MOST = 32 << 20
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be led to what others may not read")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScratchValkey]:
    """Get a server with a snapshot and an append-only file."""
    with scratch_valkey(tmp_path, config={"appendonly": "yes"}) as started:
        with valkey.Valkey.from_url(started.url) as client:
            client.mset({f"key:{n}": f"value {n}" for n in range(100)})
            client.save()
        yield started


def look(server: ScratchValkey) -> DiagnosticResult:
    return look_by(server.url, "files")


def files_of(server: ScratchValkey, **said: str) -> DataFiles:
    """Where they are, by what the server says but for *said*."""
    with valkey.Valkey.from_url(server.url) as client:
        settings = {name: client.config_get(name)[name] for name in SETTINGS}
        return located(client.info("server"), settings | said)


def manifest(server: ScratchValkey) -> Path:
    return server.data / "appendonlydir" / "appendonly.aof.manifest"


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Get a folder for temporary files that the server's user reaches."""
    with tempfile.TemporaryDirectory(prefix="medic8-test-", dir="/var/tmp") as made:
        Path(made).chmod(0o711)
        folder = Path(made) / "inner"
        folder.mkdir()
        folder.chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def test_a_name_in_a_manifest_leads_nowhere_else(server: ScratchValkey, temporary: Path) -> None:
    """It is damage, as the server itself says at its start, and nothing is written beside the copy."""
    (server.data.parent / "planted").write_text("planted")
    with manifest(server).open("a") as file:
        file.write("file ../../planted seq 2 type i\n")
    assert [each.code for each in look(server).findings] == ["persistence.aof_damaged"]
    assert list(temporary.rglob("*")) == []
    assert not (temporary.parent / "planted").exists()


@pytest.mark.parametrize(
    "damage",
    [
        b'file "a seq 1 type b\n',
        b"\xff\xfe broken\n",
        b"seq 1 type b\n",
        b"file a\\x00b seq 1 type z\n",
        b'file "a\\x00b" seq 1 type b\n',
        b"",
        b"file .. seq 1 type b\n",
    ],
)
def test_a_manifest_that_cannot_be_parsed_is_damage(server: ScratchValkey, damage: bytes) -> None:
    """Whatever is in it."""
    manifest(server).write_bytes(damage)
    assert [each.code for each in look(server).findings] == ["persistence.aof_damaged"]


@pytest.mark.parametrize("setting", ["dbfilename", "appendfilename", "appenddirname"])
@pytest.mark.parametrize(
    "name", ["../x", "a/b", "/etc/passwd", ".", "..", "--\nloadmodule x.so", "-x", "a\nb", "a\0b"]
)
def test_a_setting_names_a_file_within_the_folder(server: ScratchValkey, setting: str, name: str) -> None:
    """Or nothing is looked at."""
    with pytest.raises(RefusedError, match="no name of a file"):
        files_of(server, **{setting: name})


def test_a_number_of_databases_is_one(server: ScratchValkey) -> None:
    """It is given to the temporary server."""
    with pytest.raises(RefusedError, match="number of databases"):
        files_of(server, databases="--\nloadmodule /x.so")


def test_a_link_is_not_followed(server: ScratchValkey) -> None:
    """Neither that of a file nor that of a folder."""
    snapshot = server.data / "dump.rdb"
    snapshot.rename(server.data / "other.rdb")
    snapshot.symlink_to("other.rdb")
    folder = server.data / "appendonlydir"
    folder.rename(server.data / "other")
    folder.symlink_to("other")
    result = look(server)
    assert (result.findings, result.readings) == ((), ())
    assert [line.partition(":")[0] for line in result.unseen] == ["snapshot", "append-only file"]
    assert all("link" in line for line in result.unseen)


def test_a_pipe_is_not_waited_for(server: ScratchValkey) -> None:
    """Nor anything else that is no regular file."""
    snapshot = server.data / "dump.rdb"
    snapshot.unlink()
    os.mkfifo(snapshot)
    assert any("no regular file" in line for line in look(server).unseen)


@needs_root
def test_a_file_of_another_user_is_not_read_for_the_server(server: ScratchValkey) -> None:
    """Root could, and would give it to the server's user."""
    os.chown(server.data / "dump.rdb", 0, 0)
    result = look(server)
    assert "files.snapshot" not in [each.name for each in result.readings]
    assert any("belongs to user 0" in line for line in result.unseen)


@needs_root
def test_programs_run_as_the_process_does_whoever_has_the_folder(server: ScratchValkey) -> None:
    """A folder such as ``/tmp`` is root's, and everybody writes there."""
    os.chown(server.data, 0, 0)
    server.data.chmod(0o1777)
    assert {each.name: each.value for each in look(server).readings} == {
        "files.snapshot": "whole",
        "files.aof": "whole",
    }
    with (
        loaded(files_of(server), Part.SNAPSHOT, most_bytes=_MOST) as (url, _),
        valkey.Valkey.from_url(url) as copy,
    ):
        process = psutil.Process(copy.info("server")["process_id"])
        assert set(process.uids()) == set(psutil.Process(server.pid).uids()) != {0}


def test_what_is_run_is_what_the_process_runs(server: ScratchValkey, tmp_path: Path) -> None:
    """And not what the server says."""
    said, ran = tmp_path / "valkey-server", tmp_path / "ran"
    said.write_text(f"#!/bin/sh\ntouch {ran}\n")
    said.chmod(0o755)
    with valkey.Valkey.from_url(server.url) as client:
        facts = {**client.info("server"), "executable": str(said)}
        settings = {name: client.config_get(name)[name] for name in SETTINGS}
    assert damage_of(located(facts, settings), Part.SNAPSHOT, most_bytes=_MOST) == ""
    assert not ran.exists()


def test_a_program_gets_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the passwords of targets are, and the program is the server's user's."""
    monkeypatch.setenv("MEDIC8_PASSWORD", "secret")
    with subprocess.Popen(["/bin/sh", "-c", "read end"], stdin=subprocess.PIPE) as shell:
        started_s = psutil.Process(shell.pid).create_time()
        process = Process(shell.pid, started_s, "valkey", os.geteuid(), os.getegid())
        with running(process, "server", "-c", "export -p; echo said") as (child, out):
            child.wait(60)
            out.seek(0)
            said = out.read()
        shell.communicate(b"\n", timeout=20)
    assert b"said" in said
    assert b"secret" not in said


@needs_redis
def test_a_program_that_is_kept_under_another_of_its_names_reads_the_files(tmp_path: Path) -> None:
    """Debian's redis-server is a link to its check tool."""
    with redis_server(tmp_path) as url:
        with valkey.Valkey.from_url(url) as client:
            client.set("a", 1)
            client.save()
            client.config_set("appendonly", "yes")
            until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        assert {each.name: each.value for each in look_by(url, "files").readings} == {
            "files.snapshot": "whole",
            "files.aof": "whole",
        }


def test_another_program_is_no_check_tool(server: ScratchValkey) -> None:
    """The server names the process of somebody else."""
    with valkey.Valkey.from_url(server.url) as client:
        facts = client.info("server")
    ours = psutil.Process()
    lie = {**facts, "process_id": ours.pid, "uptime_in_seconds": time.time() - ours.create_time()}
    with pytest.raises(RefusedError, match="no check tool"):
        located(lie, {"dir": str(server.data)})


def test_damaged_files_are_kept_in_the_servers_folder_only(server: ScratchValkey, tmp_path: Path) -> None:
    """A link in the way leads nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (server.data / "medic8-damaged").symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="cannot be kept"):
        keep_aside(files_of(server), Part.SNAPSHOT, "r")
    assert list(elsewhere.iterdir()) == []


def test_what_a_damaged_manifest_does_not_name_is_kept_too(server: ScratchValkey) -> None:
    """The server deletes its old parts once it has written new ones."""
    parts = {path.name for path in manifest(server).parent.iterdir()}
    assert len(parts) > 1
    manifest(server).write_bytes(b"broken\n")
    place = keep_aside(files_of(server), Part.AOF, "r")
    assert {path.name for path in place.rglob("*") if path.is_file()} == parts


@pytest.mark.parametrize("database", [0, 3, 20])
def test_a_new_file_is_compared_in_the_targets_database(tmp_path: Path, database: int) -> None:
    """Also in one that a server has only because its configuration says so."""
    with scratch_valkey(tmp_path, config={"databases": "32"}) as server:
        url = f"{server.url.rstrip('/').removesuffix('/0')}/{database}"
        with valkey.Valkey.from_url(url) as client:
            client.mset({f"key:{n}": f"value {n}" for n in range(50)})
            until(lambda: client.object("idletime", "key:1") >= 5)
            client.save()
        step = Step(
            title="x",
            action=REWRITE_FILE,
            arguments=RewriteFile(part=Part.SNAPSHOT).model_dump(mode="json"),
            touches="x",
            step_class=StepClass.ONE_WAY,
        )
        with connection(url) as client:
            RewriteAct().verify(ActedOn(client, a_target(url), lambda _key, _value: b""), [step])
