"""With what a process runs: saved before a restart, and compared afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from medic8.model.frozen import Frozen
from medic8.model.recovery import Owner
from medic8.model.report import DiagnosticReport
from medic8.targets.process.living import Living, UntoldError
from medic8.targets.process.looks.limits import limits_of

#: The finding that says which process runs.
RUNS = "presence.runs"

#: Variables that are other ones after each start. Source: systemd.exec(5), sd_listen_fds(3).
_OF_ONE_START = frozenset(
    {
        b"INVOCATION_ID",
        b"JOURNAL_STREAM",
        b"LISTEN_PID",
        b"LISTEN_PIDFDID",
        b"MAINPID",
        b"SYSTEMD_EXEC_PID",
        b"WATCHDOG_PID",
    }
)

#: The end of a command line whose place holds a shorter title; two empty words are nobody's.
_FILLED_UP = b"\0\0\0"

#: Names and values are bytes; in this encoding each byte is one character.
_BYTES = "latin-1"

Told = TypeVar("Told")


class Setup(Frozen):
    """
    With what a process runs. Production data: an environment may hold secrets.

    Attributes:
        program: The path of what it runs; None if it may not be seen, as of the others.
        command_line: Its words.
        environment: As it was started with, without what is another one after each start.
        limits: The soft limits that it has, by the kernel's names.
        folder: Its working folder.
        users: Its user and group numbers.
    """

    program: str | None
    command_line: tuple[str, ...] | None
    environment: dict[str, str] | None
    limits: dict[str, float] | None
    folder: str | None
    users: str | None

    @property
    def canonical(self) -> bytes:
        """As bytes that are compared."""
        return self.model_dump_json().encode()

    @property
    def environment_of_start(self) -> dict[bytes, bytes]:
        """What a command that starts it is given; empty if it may not be seen."""
        return {name.encode(_BYTES): value.encode(_BYTES) for name, value in (self.environment or {}).items()}

    @property
    def digests(self) -> dict[str, str]:
        """A digest of each part that may be seen, by its name for people."""
        parts: dict[str, object] = {
            "program": self.program,
            "command line": self.command_line,
            "environment": self.environment,
            "limits": self.limits,
            "working folder": self.folder,
            "user": self.users,
        }
        return {
            name: hashlib.sha256(repr(part).encode()).hexdigest()
            for name, part in parts.items()
            if part is not None
        }


class Meant(Frozen):
    """
    The process that a plan is for.

    Attributes:
        process: Who it was when the plan was made.
        setup: Digests of its command line, environment and limits, so that a yes is to that process.
    """

    process: Owner
    setup: dict[str, str]


def meant_by(report: DiagnosticReport) -> Meant | None:
    """The process that *report* is about; None if it did not run."""
    for finding in report.analysis.findings:
        if finding.code == RUNS:
            return Meant.model_validate(finding.objects[0])
    return None


def setup_of(process: Living) -> Setup:
    """
    With what *process* runs, as far as it may be seen.

    Raises:
        GoneError: it has ended.
    """
    return Setup(
        program=_told(lambda: process.executable().encode("utf-8", "surrogateescape").decode(_BYTES)),
        command_line=_told(lambda: _command_line(process)),
        environment=_told(lambda: _environment(process)),
        limits=_told(lambda: dict(sorted(limits_of(process).items()))),
        folder=_told(lambda: process.link("cwd").encode("utf-8", "surrogateescape").decode(_BYTES)),
        users=_told(lambda: _users(process)),
    )


def _told(read: Callable[[], Told]) -> Told | None:
    try:
        return read()
    except UntoldError:
        return None


def _command_line(process: Living) -> tuple[str, ...]:
    """Its words; a program that shows a title in their place may change it at any moment."""
    raw = process.read("cmdline")
    environ = _told(lambda: process.read("environ"))
    if raw.endswith(_FILLED_UP) or (environ is not None and not _is_as_started(environ)):
        raise UntoldError("cmdline was written over by the program")
    return tuple(word.decode(_BYTES) for word in raw.rstrip(b"\0").split(b"\0"))


def _environment(process: Living) -> dict[str, str]:
    raw = process.read("environ")
    if not _is_as_started(raw):
        raise UntoldError("environ was written over by the program, or is too large")
    pairs = (word.partition(b"=") for word in sorted(raw.split(b"\0")[:-1]))
    return {
        name.decode(_BYTES): value.decode(_BYTES) for name, _, value in pairs if name not in _OF_ONE_START
    }


def _is_as_started(environ: bytes) -> bool:
    """
    Whether an environment is the one that the process was started with.

    A program that sets its title, as data servers and web servers do, writes over the place where it was.
    What is left of it is empty, or begins in the middle of a word. Source: proc_pid_environ(5).
    """
    *words, rest = environ.split(b"\0")
    return not rest and all(word.find(b"=") > 0 for word in words)


def _users(process: Living) -> str:
    status = process.status()
    return " / ".join(" ".join(status.get(name, "").split()) for name in ("Uid", "Gid"))


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The names of what differs, of what was seen both times."""
    return [name for name in before if name in after and before[name] != after[name]]
