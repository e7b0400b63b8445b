"""Start server processes that outlive the command that started them, know them again, and stop them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
from pydantic import BaseModel, ConfigDict

from medic8.errors import ConfigurationError, UnreachableError
from medic8.local.account import Account

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOOK_AGAIN_S = 0.02
_KILL_PATIENCE_S = 10.0
_TAIL_LINES = 15
_TAIL_BYTES = 16_384
#: A server that could not have its port says so, and then how it went down, at length.
_SEARCHED_BYTES = 64 << 10
# The child waits for one line before it becomes the server. The starter writes it only after the child's
# identity is on disk, so a starter that dies at any point leaves either a server that is on record or no
# server.
_GATE = 'read -r go && exec "$@" </dev/null'


class Identity(BaseModel):
    """
    What makes a process this process and not a later one with the same number.

    Attributes:
        pid: Its number.
        start_ticks: When it started, in clock ticks since the machine booted. Not ``psutil``'s
            ``create_time``: that is wall-clock time, and a step of the clock would make a living server look
            like a stranger.
        boot_id: The boot of the machine in which pid and ticks mean something.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    start_ticks: int
    boot_id: str

    def is_alive(self) -> bool:
        """
        Tell whether this very process still runs.

        A zombie does not run. A zombie that is our child is buried on the way, so that its number becomes
        free.
        """
        if self.boot_id != boot_id() or _start_ticks(self.pid) != self.start_ticks:
            return False
        if not _has_ended(self.pid):
            return True
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return False


def boot_id() -> str:
    """Get the kernel's name for the present boot of this machine; a fixed word where the kernel has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return "unknown"


def identify(pid: int) -> Identity | None:
    """Get the identity of the process that has number *pid* now, None if there is none or only a zombie."""
    ticks = _start_ticks(pid)
    if ticks is None or _has_ended(pid):
        return None
    return Identity(pid=pid, start_ticks=ticks, boot_id=boot_id())


def launch(
    command: Sequence[str],
    *,
    log: Path,
    folder: Path,
    environment: Mapping[str, str],
    account: Account | None,
    record: Callable[[Identity], None],
) -> Identity:
    """
    Start *command* in a session of its own, detached from the terminal, and get its identity.

    The process is no longer tied to us: it survives our exit, and while we live a dead one is buried by
    `Identity.is_alive`.

    Args:
        command: Program and arguments, the program by absolute path.
        log: Output and errors are appended here; the file is ours, also where the server runs as another
            user.
        folder: Working folder; the server must be able to enter it.
        environment: The whole environment of the server.
        account: User to switch to; None to stay who we are.
        record: Called with the identity *before* the program runs. If it raises, the program never runs.
    Raises:
        ConfigurationError: The process could not be created, for instance since we may not switch users.
    """
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _GATE, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(environment),
                start_new_session=True,
                umask=0o077,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise ConfigurationError(f"cannot start {command[0]}: {exc}") from exc
    gate = child.stdin
    # From here on the process is known by its identity alone; a Popen object would complain about a child
    # that is meant to outlive us.
    child.returncode = 0
    identity = identify(child.pid)
    ended = ConfigurationError(f"{command[0]} ended before it began; see {log}")
    if gate is None or identity is None:
        raise ended
    try:
        record(identity)
        gate.write(b"go\n")
        gate.flush()
    except BrokenPipeError as exc:
        raise ended from exc
    except BaseException:
        _close(gate)
        _gone((identity,), _KILL_PATIENCE_S)
        raise
    finally:
        _close(gate)
    return identity


def wait_until(
    is_ready: Callable[[], bool],
    identity: Identity,
    *,
    what: str,
    log: Path,
    timeout_s: float,
    look_again_s: float = _LOOK_AGAIN_S,
) -> None:
    """
    Wait until a server that was just launched says it is ready.

    Args:
        is_ready: Asked again and again; False is "not yet".
        identity: The server; when it ends there is nothing to wait for.
        what: Its name for people.
        log: Where it writes.
        timeout_s: When to give up.
        look_again_s: Pause between two questions.
    Raises:
        UnreachableError: It ended, or was not ready in time; with the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        alive = identity.is_alive()
        if alive and is_ready():
            return
        if not alive:
            raise UnreachableError(f"{what} ended while it was starting; {last_lines(log)}")
        if time.monotonic() > deadline:
            raise UnreachableError(f"{what} was not ready within {timeout_s:g} s; {last_lines(log)}")
        time.sleep(look_again_s)


def stop(identity: Identity, *, first: signal.Signals = signal.SIGTERM, patience_s: float) -> bool:
    """
    Stop a server with everything that descends from it, and bury it if it is our child.

    Args:
        identity: The server; if it is not this process any more, nothing is signalled.
        first: The signal that asks politely.
        patience_s: How long to wait before SIGKILL.
    Returns:
        True if it went by itself, or was gone already.
    Raises:
        UnreachableError: It is still there after SIGKILL (stuck in the kernel), or we may not signal it.
    """
    if not identity.is_alive():
        return True
    family = _descendants(identity)
    _signal(identity, first)
    # A process that somebody has stopped hears nothing until it goes on.
    for member in (identity, *family):
        _signal(member, signal.SIGCONT)
    went = _gone((identity, *family), patience_s)
    if not went:
        family = tuple({*family, *_descendants(identity)})
        for member in (identity, *family):
            _signal(member, signal.SIGKILL)
        if not _gone((identity, *family), _KILL_PATIENCE_S):
            raise UnreachableError(
                f"process {identity.pid} is still there {_KILL_PATIENCE_S:g} s after SIGKILL"
            )
    return went


def let_go_on(identity: Identity) -> bool:
    """
    Continue a server that a signal (SIGSTOP, Ctrl-Z) has stopped, with everything that descends from it.

    Returns:
        Whether any of it was stopped. One that a debugger holds is left to the debugger.
    Raises:
        UnreachableError: We may not signal it.
    """
    if not identity.is_alive():
        return False
    # Source: proc_pid_stat(5): T is stopped on a signal, t by a tracer.
    stopped = [member for member in (identity, *_descendants(identity)) if _stat(member.pid)[:1] == ["T"]]
    for member in stopped:
        _signal(member, signal.SIGCONT)
    return bool(stopped)


def has_told(log: Path, words: str) -> bool:
    """Whether *words* stand in the end of *log*, in whatever case; more of it than a person wants to read."""
    try:
        with log.open("rb") as text:
            text.seek(max(0, log.stat().st_size - _SEARCHED_BYTES))
            return words.lower() in text.read().decode("utf-8", "replace").lower()
    except OSError:
        return False


def last_lines(log: Path) -> str:
    """Get the end of *log* as the second half of an error message."""
    try:
        with log.open("rb") as text:
            text.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = text.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    except OSError as exc:
        return f"its log {log} cannot be read: {exc}"
    return "\n".join((f"the end of its log {log}:", *(f"  {line}" for line in lines)))


def _stat(pid: int) -> list[str]:
    """
    Read what the kernel says of a process, from the state letter on; nothing if there is no such process.

    Source: proc_pid_stat(5), from field 3; the field before is a name that may hold blanks and brackets.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _start_ticks(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def _has_ended(pid: int) -> bool:
    fields = _stat(pid)
    if not fields or fields[0] not in "ZX":
        return not fields
    # While other threads are still ending, the first one is a zombie that holds the server's port and cannot
    # be buried yet.
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) <= 1
    except (FileNotFoundError, ProcessLookupError):
        return True


def _close(gate: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        gate.close()


def _descendants(identity: Identity) -> tuple[Identity, ...]:
    # PostgreSQL's backends have sessions of their own, so the process group would miss them.
    try:
        members = psutil.Process(identity.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return ()
    found = (identify(member.pid) for member in members)
    return tuple(member for member in found if member is not None)


def _signal(identity: Identity, number: signal.Signals) -> None:
    if not identity.is_alive():
        return
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise UnreachableError(
            f"process {identity.pid} belongs to somebody else and may not be signalled: {exc}"
        ) from exc


def _gone(members: Sequence[Identity], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while any(member.is_alive() for member in members):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True
