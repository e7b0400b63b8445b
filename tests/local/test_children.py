"""Processes of our own: known again, not mistaken, stopped with everything that descends from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from medic8.errors import ConfigurationError, UnreachableError
from medic8.local.children import Identity, identify, launch, stop, wait_until


def start(folder: Path, *command: str, known: list[Identity] | None = None) -> Identity:
    """Launch *command* as a server of ours."""
    notes: list[Identity] = [] if known is None else known
    identity = launch(
        command,
        log=folder / "log",
        folder=folder,
        environment={"PATH": "/usr/bin:/bin"},
        account=None,
        record=notes.append,
    )
    assert notes == [identity]
    return identity


def until(condition: object) -> None:
    """Wait, with a bound, until the function *condition* says yes."""
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_child_outlives_its_starter_in_a_session_of_its_own(tmp_path: Path) -> None:
    """Closing the terminal does not reach it, and the interpreter's end does not complain about it."""
    code = (
        "import sys; from pathlib import Path; from medic8.local.children import launch\n"
        "f = Path(sys.argv[1])\n"
        "print(launch(['/bin/sleep', '60'], log=f / 'log', folder=f, environment={}, account=None,"
        " record=lambda i: None).model_dump_json())"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stderr == ""
    identity = Identity.model_validate_json(answer.stdout)
    try:
        assert identity.is_alive()
        assert os.getsid(identity.pid) == identity.pid
    finally:
        stop(identity, patience_s=5)
    assert not identity.is_alive()


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    """A dead child is buried by whoever asks, and its number is free."""
    identity = start(tmp_path, "/bin/sleep", "60")
    os.kill(identity.pid, signal.SIGKILL)
    until(lambda: not identity.is_alive())
    until(lambda: not psutil.pid_exists(identity.pid))


def test_somebody_elses_zombie_is_not_alive() -> None:
    """Where nobody buries the dead, their number stays taken, and still nothing runs."""
    script = "sleep 60 & echo $!; exec sleep 60"  # its child is never waited for
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        identity = identify(int(parent.stdout.readline()))
        try:
            assert identity is not None
            assert identity.is_alive()
            # Until it is replaced, the shell still buries its child.
            until(lambda: psutil.Process(parent.pid).name() == "sleep")
            os.kill(identity.pid, signal.SIGKILL)
            until(lambda: psutil.Process(identity.pid).status() == psutil.STATUS_ZOMBIE)
            assert not identity.is_alive()
            assert identify(identity.pid) is None
            assert stop(identity, patience_s=1)
        finally:
            parent.kill()


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_reused_number_is_not_the_server(change: dict[str, object]) -> None:
    """A stranger with the server's number is neither taken for it nor signalled."""
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        try:
            real = identify(stranger.pid)
            assert real is not None
            recorded = real.model_copy(update=change)
            assert not recorded.is_alive()
            assert stop(recorded, first=signal.SIGKILL, patience_s=1)
            assert real.is_alive()
        finally:
            stranger.kill()


def test_nothing_runs_that_could_not_be_recorded(tmp_path: Path) -> None:
    """A starter that dies or fails before the note is on disk leaves no server."""
    seen: list[Identity] = []

    def fail(identity: Identity) -> None:
        seen.append(identity)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        launch(
            ["/bin/sh", "-c", f"echo ran > {tmp_path}/ran"],
            log=tmp_path / "log",
            folder=tmp_path,
            environment={},
            account=None,
            record=fail,
        )
    until(lambda: not seen[0].is_alive())
    assert not (tmp_path / "ran").exists()


def test_stop_takes_the_descendants_along(tmp_path: Path) -> None:
    """A child in a session of its own, as PostgreSQL's are, does not survive a parent that was killed."""
    script = "trap '' TERM; setsid sleep 60 & echo $! > child; while :; do sleep 1; done"
    identity = start(tmp_path, "/bin/sh", "-c", script)
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip())
    child = identify(int((tmp_path / "child").read_text()))
    assert child is not None
    assert stop(identity, patience_s=0.2) is False
    assert not identity.is_alive()
    assert not child.is_alive()


def test_a_server_that_ends_while_starting_is_told_with_its_log(tmp_path: Path) -> None:
    """The message holds what the server said, and where it says more."""
    identity = start(tmp_path, "/bin/sh", "-c", "echo cannot open the grid; exit 3")
    with pytest.raises(UnreachableError, match=r"(?s)Valkey ended while .*log: *\n  cannot open the grid"):
        wait_until(lambda: False, identity, what="Valkey", log=tmp_path / "log", timeout_s=10)


def test_a_server_that_never_becomes_ready_is_given_up(tmp_path: Path) -> None:
    """Waiting has a bound."""
    identity = start(tmp_path, "/bin/sleep", "60")
    with pytest.raises(UnreachableError, match=r"was not ready within 0\.1 s"):
        wait_until(lambda: False, identity, what="Valkey", log=tmp_path / "log", timeout_s=0.1)
    stop(identity, patience_s=5)


def test_a_folder_that_is_not_there_is_a_mistake_of_the_call(tmp_path: Path) -> None:
    """The process is not even made."""
    with pytest.raises(ConfigurationError, match="cannot start /bin/sleep"):
        launch(
            ["/bin/sleep", "1"],
            log=tmp_path / "log",
            folder=tmp_path / "missing",
            environment={},
            account=None,
            record=lambda _: None,
        )
