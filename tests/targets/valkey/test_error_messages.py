"""Every error message that tells of a server's state is brought about for real, recognised and explained."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import valkey
import valkey.exceptions
from looking_at import found, look, report_on

from medic8.analysis.analyzer import UNREACHABLE
from medic8.local.loopback import HOST, free_port
from medic8.local.programs import find_valkey
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.issue import IssueType, Severity
from medic8.model.report import DiagnosticResult, Health
from medic8.targets.valkey.client import connection
from tests.meanwhile import meanwhile


def refused(url: str, *command: str) -> Callable[[], None]:
    """A command that the server must refuse each time."""

    def send() -> None:
        with valkey.Valkey.from_url(url) as client, pytest.raises(valkey.exceptions.ValkeyError):
            client.execute_command(*command)

    return send


def errors_during(url: str, *command: str, of: str = "") -> DiagnosticResult:
    """The diagnostic ``errors`` of *of* while a client of *url* is refused *command*."""
    with meanwhile(refused(url, *command)):
        return look(of or url, "errors")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_misconf(tmp_path: Path) -> None:
    """A snapshot that cannot be written: found before anybody writes, and as an error when somebody does."""
    with scratch_valkey(tmp_path, config={"save": "3600 1"}) as server, connection(server.url) as client:
        client.set("key", "value")
        # A folder where the file should be is in the way of anybody, root included.
        (server.data / "dump.rdb").mkdir()
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        assert (
            "writes are refused (MISCONF)"
            in found(look(server.url, "persistence"), "persistence.failed").text
        )
        misconf = found(errors_during(server.url, "SET", "key", "2"), "errors.misconf")
        assert misconf.severity is Severity.ERROR
        assert "could not be written to disk" in misconf.text
        client.config_set("stop-writes-on-bgsave-error", "no")
        assert "writes go on" in found(look(server.url, "persistence"), "persistence.failed").text
        client.config_set("save", "")  # else it would not end without having saved


def test_readonly_and_masterdown(tmp_path: Path) -> None:
    """A write to a replica; and a replica without its primary that is to give no stale data."""
    (tmp_path / "replica").mkdir()
    with (
        scratch_valkey(tmp_path) as primary,
        scratch_valkey(tmp_path / "replica", config={"replicaof": f"{HOST} {primary.port}"}) as replica,
        valkey.Valkey.from_url(replica.url) as client,  # ours would ask while it loads its copy
    ):
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        readonly = found(errors_during(replica.url, "SET", "key", "value"), "errors.readonly")
        assert any("ROLE" in line for line in readonly.advice)
        assert look(replica.url, "replication").findings == ()
        client.config_set("replica-read-only", "no")
        assert found(look(replica.url, "replication"), "replication.writable").severity is Severity.WARNING
        client.config_set("replica-read-only", "yes")
        client.config_set("replica-serve-stale-data", "no")
        primary.kill()
        wait_until(lambda: client.info("replication")["master_link_status"] == "down")
        down = found(look(replica.url, "reachability"), "errors.masterdown")
        assert "lost its primary" in down.text
        link = found(look(replica.url, "replication"), "replication.link_down")
        assert "MASTERDOWN" in link.text
        report = report_on(replica.url)
        assert report.analysis.health is Health.FAILING
        assert {issue.issue_type for issue in report.issues} == {IssueType.SYNCHRONIZATION}


def test_oom(valkey_url: str) -> None:
    """At maxmemory, with nothing that may be evicted."""
    with connection(valkey_url) as client:
        client.setrange("key", 2_000_000, "x")  # takes no room in the buffers of a connection
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
        oom = found(errors_during(valkey_url, "SET", "other", "value"), "errors.oom")
        memory = look(valkey_url, "memory")
        client.config_set("maxmemory", "0")
    assert oom.severity is Severity.ERROR
    assert any("maxmemory-policy" in line for line in oom.advice)
    assert "writes fail with OOM" in found(memory, "memory.near_limit").text


def test_loading(tmp_path: Path) -> None:
    """A server that reads its data back says how far it is, and everything else is said not to be seen."""
    with scratch_valkey(tmp_path, config={"save": "3600 1"}) as server:
        with connection(server.url) as client:
            pipe = client.pipeline(transaction=False)
            for number in range(10_000):
                pipe.set(f"key:{number}", "x" * 100)
            pipe.execute()
        server.stop()
        with slowly_loading(server) as url:  # where each answer takes a while
            report = report_on(url, only=("reachability", "memory", "keys"))
    assert found(report.results["reachability"], "server.loading").severity is Severity.ERROR
    assert report.analysis.health is Health.FAILING
    (issue,) = [issue for issue in report.issues if issue.about == "LOADING"]
    assert issue.issue_type is IssueType.SLOW_OPERATIONS
    assert any("left" in fact.seen for fact in issue.evidence)
    assert any("LOADING" in text for text in report.results["keys"].unseen)


@contextmanager
def slowly_loading(server: ScratchValkey) -> Iterator[str]:
    """The data of a stopped *server* in one that takes minutes to read them, once it answers."""
    port = free_port(())
    program = find_valkey(server.data.parent, None)
    process = subprocess.Popen(
        [
            str(program),
            "--port",
            str(port),
            "--bind",
            HOST,
            "--dir",
            str(server.data),
            "--save",
            "",
            "--key-load-delay",
            "5000",
            "--loading-process-events-interval-bytes",
            "1024",
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"valkey://{HOST}:{port}/0"

        def answers() -> bool:
            try:
                with valkey.Valkey.from_url(url) as client:
                    client.ping()
            except valkey.exceptions.BusyLoadingError:
                return True
            except valkey.exceptions.ConnectionError:
                return False
            raise AssertionError("it is not loading")

        wait_until(answers)
        yield url
    finally:
        process.kill()
        process.wait(timeout=60)


def test_busy(tmp_path: Path) -> None:
    """A script that does not end; what else could be looked at is said."""
    with scratch_valkey(tmp_path, config={"busy-reply-threshold": "50"}) as server:
        thread = threading.Thread(target=refused(server.url, "EVAL", "while true do end", "0"))
        thread.start()
        try:
            wait_until(lambda: is_busy(server.url))
            report = report_on(server.url)
            in_another_database = look(server.url.replace("/0", "/1"), "reachability")
        finally:
            with valkey.Valkey.from_url(server.url) as person:
                person.script_kill()
            thread.join(timeout=60)
    busy = found(report.results["reachability"], "server.busy")
    assert busy.severity is Severity.CRITICAL
    assert found(in_another_database, "server.busy").advice == busy.advice
    assert any("SCRIPT KILL" in line for line in busy.advice)
    assert next(iter(report.issues)).about == "BUSY"
    assert all(any("BUSY" in text for text in report.results[name].unseen) for name in ("memory", "keys"))


def is_busy(url: str) -> bool:
    with valkey.Valkey.from_url(url) as client:
        try:
            client.ping()
        except valkey.exceptions.ResponseError as exc:
            return "BUSY" in str(exc)
    return False


def test_noreplicas(valkey_url: str) -> None:
    """Found before anybody writes, and as an error when somebody does."""
    with connection(valkey_url) as client:
        client.config_set("min-replicas-to-write", "2")
        state = found(look(valkey_url, "replication"), "errors.noreplicas")
        answered = found(errors_during(valkey_url, "SET", "key", "value"), "errors.noreplicas")
        client.config_set("min-replicas-to-write", "0")
    assert "0 of 2 replicas" in state.text
    assert "min-replicas-to-write" in answered.text


def test_wrongpass(valkey_url: str) -> None:
    """Somebody else's wrong password is an error of the server's; our own is one of the target's."""
    wrong = valkey_url.replace("valkey://", "valkey://intruder:guess@")
    answered = found(errors_during(wrong, "PING", of=valkey_url), "errors.wrongpass")
    assert any("intruder" in fact.seen for fact in answered.evidence if fact.what == "ACL LOG")
    ours = look(wrong, "reachability")
    unreachable = found(ours, UNREACHABLE)
    assert "we log in with a user or password that the server does not know" in unreachable.text
    assert any("target's url" in line for line in unreachable.advice)
    assert "guess" not in ours.model_dump_json()


def test_noauth(tmp_path: Path) -> None:
    """A server that wants a password and is given none."""
    with scratch_valkey(tmp_path) as server:
        with connection(server.url) as client:
            client.config_set("requirepass", "secret")
        finding = found(look(server.url, "reachability"), UNREACHABLE)
        assert "put user and password into the target's url" in finding.advice
        with connection(server.url.replace("valkey://", "valkey://:secret@")) as client:
            client.config_set("requirepass", "")


def test_too_many_clients(tmp_path: Path) -> None:
    """Whoever comes too late is told so, and a person what to do."""
    with scratch_valkey(tmp_path, config={"maxclients": "3"}) as server:
        held = [valkey.Valkey.from_url(server.url) for _ in range(3)]
        for client in held:
            client.ping()
        report = report_on(server.url, only=("reachability",))
        for client in held:
            client.close()
    full, unreachable = report.issues
    assert (full.issue_type, unreachable.signs) == (IssueType.RESOURCE_EXHAUSTION, (UNREACHABLE,))
    assert unreachable.follows_from[0].cause == full.fingerprint
    assert "as many clients are connected as maxclients allows" in full.evidence[0].seen + str(
        report.analysis
    )


def test_noperm(valkey_url: str) -> None:
    """Which user, which command."""
    with connection(valkey_url) as admin:
        admin.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@read", "+client"])
    reader = valkey_url.replace("valkey://", "valkey://reader:any@")
    answered = found(errors_during(reader, "SET", "key", "value", of=valkey_url), "errors.noperm")
    assert any("user reader, command set" in fact.seen for fact in answered.evidence)


def test_errors_of_the_past_are_no_issue(valkey_url: str) -> None:
    """They are worth knowing; what is wrong is what is being answered."""
    with connection(valkey_url) as client:
        client.config_set("min-replicas-to-write", "2")
        refused(valkey_url, "SET", "key", "value")()
        client.config_set("min-replicas-to-write", "0")
    report = report_on(valkey_url)
    assert found(report.results["errors"], "errors.past").about == "NOREPLICAS"
    assert report.issues == ()
    assert report.analysis.health is Health.HEALTHY


def test_callers_mistakes_are_no_finding(valkey_url: str) -> None:
    """A wrong type or an unknown command says nothing about the server."""
    with connection(valkey_url) as client:
        client.set("key", "value")
    result = errors_during(valkey_url, "LPUSH", "key", "value")
    assert result.findings == ()
    assert result.reading("errors.WRONGTYPE") is not None
