"""The end of the server's own log, where it lies on this machine and may be read."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.restarts import judge_restarts, starts_of
from medic8.targets.valkey.policy import policy_of

#: So much of its end is read.
MOST_BYTES = 64 << 10

_HERE = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_SHOWN = 200
_SHOWN = 5

#: ``1234:M 25 Nov 2026 02:01:22.123 # text``: process, role, time, level (# is a warning), text.
_LINE = re.compile(rb"^(\d+):[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.\-*#]) (.*)$", re.MULTILINE)


class Known(NamedTuple):
    """A warning that we can say more about: what is in its text, how urgent it is, and what to do."""

    sign: bytes
    severity: Severity
    means: str
    advice: str


_KNOWN = (
    Known(
        b"crashed by signal",
        Severity.ERROR,
        "the server crashed",
        "keep the log: it holds the stack trace that its developers ask for",
    ),
    Known(
        b"Can't save in background",
        Severity.WARNING,
        "a snapshot could not begin, most likely for want of memory for the fork",
        "sysctl vm.overcommit_memory=1 on the host",
    ),
    Known(
        b"Failed opening the temp RDB file",
        Severity.WARNING,
        "a snapshot could not be written",
        "let the server's user write to the folder that CONFIG GET dir names",
    ),
    Known(
        b"Asynchronous AOF fsync is taking too long",
        Severity.WARNING,
        "the disk is too slow for the append-only file",
        "give the append-only file a faster disk, or one of its own",
    ),
    Known(
        b"closed ASAP for overcoming of output buffer limits",
        Severity.WARNING,
        "clients or replicas are cut off because they read too slowly",
        "look at those clients; CONFIG GET client-output-buffer-limit",
    ),
    Known(
        b"Possible SECURITY ATTACK",
        Severity.WARNING,
        "somebody speaks HTTP to the server: a web page or program that was led there",
        "let only those reach the port who need it",
    ),
    Known(
        b"overcommit",
        Severity.INFO,
        "the host refuses memory that snapshots ask for in advance",
        "sysctl vm.overcommit_memory=1 on the host",
    ),
    Known(
        b"Transparent Huge Pages",
        Severity.INFO,
        "huge pages make forks slow and copy-on-write large",
        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled on the host",
    ),
)


def look_at_log(target: Target, around: Surroundings) -> DiagnosticResult:
    """Warnings in the last 64 KiB that this very process has logged."""
    with looking(target) as server:
        if not is_here(target):
            server.unseen.append("the server's log: the server is on another machine")
            return server.result("log", around)
        facts = server.info("server")
        settings = server.settings("logfile", "dir")
        if not settings:
            return server.result("log", around)
        name = settings.get("logfile", "")
        if not name:
            server.unseen.append("the server's log: it goes to standard output or to syslog, not to a file")
            return server.result("log", around)
        path = Path(settings.get("dir", "/")) / name
        try:
            end = read_end(path)
        except OSError as exc:
            server.unseen.append(f"the server's log {shown(str(path), _MOST_SHOWN)}: {exc.strerror}")
            return server.result("log", around)
        warnings = warnings_of(end, process=facts.get("process_id", ""))
        if warnings is None:
            # The address may lead through a tunnel to another machine with a file of this name here.
            server.unseen.append(
                f"the server's log {shown(str(path), _MOST_SHOWN)}: nothing in its end is by process "
                f"{facts.text('process_id')}"
            )
            return server.result("log", around)
        starts = starts_of(end)
        return server.result(
            "log",
            around,
            [
                reading("log.warnings", len(warnings), "count"),
                reading("log.starts", len(starts), "count"),
            ],
            (
                *judge_log(warnings),
                *judge_restarts(starts, facts.number("uptime_in_seconds"), policy=policy_of(target)),
            ),
        )


def is_here(target: Target) -> bool:
    """Whether a target's address leads to this machine, or to a tunnel that begins here."""
    parts = urlsplit(target.address)
    return parts.scheme == "unix" or (parts.hostname or "") in _HERE


def read_end(path: Path) -> bytes:
    """
    The last bytes of a file that a server has named, so it may name anything.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        file.seek(max(0, status.st_size - MOST_BYTES))
        return file.read(MOST_BYTES)


def warnings_of(end: bytes, *, process: str) -> list[bytes] | None:
    """The texts of the warnings that *process* wrote, oldest first; None if it wrote nothing there."""
    ours = [match for match in _LINE.finditer(end) if match[1].decode() == process]
    return [match[4] for match in ours if match[3] == b"#"] if ours else None


def judge_log(warnings: Sequence[bytes]) -> tuple[Finding, ...]:
    """What the warnings that we know mean; the others are counted, and the last ones shown."""
    known: Counter[Known] = Counter()
    last: dict[Known, bytes] = {}
    strange: list[bytes] = []
    for text in warnings:
        each = next((known_one for known_one in _KNOWN if known_one.sign in text), None)
        if each is None:
            strange.append(text)
        else:
            known[each] += 1
            last[each] = text
    found = [
        Finding(
            code="log.known",
            severity=each.severity,
            text=f"by its log, {each.means}",
            about=f"log: {each.sign.decode()}",
            evidence=(Evidence(what=f"{count} in the end of the log", seen=shown(last[each], _MOST_SHOWN)),),
            advice=(each.advice,),
        )
        for each, count in known.items()
    ]
    if strange:
        found.append(
            Finding(
                code="log.warnings",
                severity=Severity.INFO,
                text=f"{len(strange)} other warnings are in the end of its log",
                about="log",
                evidence=tuple(
                    Evidence(what="logged", seen=shown(text, _MOST_SHOWN)) for text in strange[-_SHOWN:]
                ),
            )
        )
    return tuple(found)
