"""A process that no supervisor keeps: found by a file or a command line, started and stopped by commands."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from medic8.errors import RefusedError, UnreachableError
from medic8.model.recovery import Owner
from medic8.model.target import ProcessCare
from medic8.model.wording import shown
from medic8.targets.process.keepers.keeper import Kept, KeptState
from medic8.targets.process.living import GoneError, UntoldError, all_pids, living
from medic8.targets.process.naming import CommandLine, PidFile

_MOST_PID_BYTES = 64
_MOST_BYTES = 1 << 17
_MOST_SHOWN = 3

#: Words that an interpreter may have before the file that it runs.
_MOST_OPTIONS = 20

#: A file is written after its process has started; clocks are read at different moments.
_SLACK_S = 2.0

#: Longest to read the command lines of all processes; those whose memory is locked take their time.
_SCAN_S = 10.0

#: Longest wait for the command line of one.
_LOCKED_S = 2.0


class Commands:
    """See `medic8.targets.process.keepers.keeper.Keeper`."""

    tells_stopping = False

    def __init__(self, name: PidFile | CommandLine, care: ProcessCare, *, timeout_s: float) -> None:
        self._name = name
        self._care = care
        self._timeout_s = timeout_s
        # Otherwise it is started with that of the process that ran before.
        self.knows_environment = bool(care.start) and Path(care.start[0]).name == "env"

    def look(self) -> Kept:
        """
        Whether there is such a process, and no other.

        Raises:
            UnreachableError: there are several.
        """
        found = _of_file(self._name) if isinstance(self._name, PidFile) else _of_words(self._name)
        if found is None:
            return Kept(state=KeptState.STOPPED, says="there is none", may_come_back=True)
        return Kept(state=KeptState.RUNS, says="it is there", pid=found.pid, started_at=found.started_at)

    def stop(self) -> None:
        """Call the command that stops it, or ask it to end."""
        if self._care.stop:
            self._run(self._care.stop, {})
            return
        found = self.look()
        if found.pid is None:
            return
        try:
            with living(found.pid) as process:
                if process.identity.started_at == found.started_at:
                    process.send(signal.SIGTERM)
        except GoneError:
            return
        except (PermissionError, UntoldError) as exc:
            raise RefusedError(f"{self._name.in_words} may not be sent a signal: {exc}") from exc

    def start(self, environment: Mapping[bytes, bytes]) -> None:
        """Call the command that starts it, unless it is there."""
        if self.look().pid is None:
            self._run(self._care.start, environment)

    def why_no_restart(self) -> str:
        """Without a command that starts it."""
        return "" if self._care.start else f"no command is configured that starts {self._name.in_words}"

    def by_hand(self) -> str:
        """The command that starts it."""
        return shlex.join(self._care.start)

    def _run(self, words: tuple[str, ...], environment: Mapping[bytes, bytes]) -> None:
        """
        Run a command of the site; one that does not end may be the process itself, and goes on.

        Raises:
            RefusedError: it cannot be started, or says that it failed.
        """
        try:
            # It outlives us, so that nothing of ours may be its: no session, pipe or folder.
            child = subprocess.Popen(  # noqa: S603 - the site's own command, without a shell
                words,
                env=environment or {b"PATH": os.defpath.encode()},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise RefusedError(f"{shown(words[0])} could not be started: {shown(str(exc))}") from exc
        try:
            status = child.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            child.returncode = 0  # it is nobody's to wait for
            return
        if status:
            raise RefusedError(f"{shown(words[0])} ended with exit status {status}")


def _of_file(name: PidFile) -> Owner | None:
    """The process whose number the file holds; None if there is none of that number."""
    path = Path(name.path)
    try:
        # A pipe in its place would have us wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            told = os.fstat(descriptor)
            if not stat.S_ISREG(told.st_mode):
                raise UnreachableError(f"{path} is no file ({stat.filemode(told.st_mode)})")
            text, written_s = file.read(_MOST_PID_BYTES).strip(), told.st_mtime
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UnreachableError(f"{path} cannot be read: {exc.strerror}") from exc
    if not text.isdigit():
        raise UnreachableError(f"{path} holds {shown(text)}, which is no number of a process")
    pid = int(text)
    try:
        with living(pid) as process:
            found, whose = process.identity, process.user()
    except GoneError:
        return None
    except UntoldError as exc:
        raise UnreachableError(str(exc)) from exc
    # Whoever may write the file chooses whom we stop: nobody's process but his own.
    if told.st_uid not in {0, os.geteuid(), whose} or (told.st_mode & stat.S_IWOTH and whose != os.geteuid()):
        raise UnreachableError(
            f"process {pid} is user {whose}'s, and {path} can be written by others: owner {told.st_uid}, "
            f"mode {stat.S_IMODE(told.st_mode):o}"
        )
    began_s = started_s(found.started_at)
    if began_s > written_s + _SLACK_S:
        raise UnreachableError(
            f"process {pid} was started {began_s - written_s:.0f} s after {path} was written: it is another "
            "that was given the number, or the clock was set since"
        )
    return found


def started_s(ticks: int) -> float:
    """When a process was started, in seconds of Unix time, from the clock ticks since boot."""
    boot_s = next(
        float(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot_s + ticks / os.sysconf("SC_CLK_TCK")


def _of_words(name: CommandLine) -> Owner | None:
    exact, begun = list[Owner](), list[Owner]()
    for pid in _with_words(name):
        with contextlib.suppress(GoneError, UntoldError), living(pid) as process:
            words = process.words("cmdline")
            if name.matches(words):
                exact.append(process.identity)
            elif name.begins(words):
                begun.append(process.identity)
    found = exact or begun
    if len(found) > 1:
        listed = ", ".join(str(each.pid) for each in found[:_MOST_SHOWN])
        more = ", …" if len(found) > _MOST_SHOWN else ""
        raise UnreachableError(
            f"{len(found)} processes have the command line {shown(shlex.join(name.words))} ({listed}{more}): "
            "name one"
        )
    return found[0] if found else None


def _with_words(name: CommandLine) -> list[int]:
    """
    The numbers of processes that had such a command line, when they were asked.

    They are asked in another thread, since one whose memory is locked may never answer; then another thread
    goes on with the next one.

    Raises:
        UnreachableError: not all could be asked in time.
    """
    pids, found = iter(sorted(all_pids())), list[int]()
    asked = [0]

    def ask() -> None:
        for pid in pids:
            asked[0] += 1
            raw = _words_of(pid)
            # Those with fewer words are not taken apart, and of long ones only the beginning.
            if raw.count(b"\0") >= len(name.words) - 1:
                words = raw.split(b"\0", len(name.words) + _MOST_OPTIONS)
                if name.begins([word.decode("utf-8", "backslashreplace") for word in words]):
                    found.append(pid)

    end = time.monotonic() + _SCAN_S
    while time.monotonic() < end:
        one = threading.Thread(target=ask, daemon=True)
        one.start()
        before = -1
        while one.is_alive() and asked[0] != before:
            before = asked[0]
            one.join(_LOCKED_S)
        if not one.is_alive():
            return found
    raise UnreachableError(f"the command lines of all processes were not read within {_SCAN_S:g} s")


def _words_of(pid: int) -> bytes:
    """The command line of a process, its words apart by zero bytes; empty if it has none."""
    try:
        descriptor = os.open(f"/proc/{pid}/cmdline", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _MOST_BYTES).rstrip(b"\0")
    except OSError:
        return b""
    finally:
        os.close(descriptor)
