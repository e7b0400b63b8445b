"""Whether the process does its work, by the command that the site has for telling."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import NamedTuple

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.process.found import care_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import Living
from medic8.targets.process.looks.looking import Look, of_a_process

#: So much of the end of what a check says is kept.
_MOST_BYTES = 4096

#: What a check has started may hold its pipe open, so that its own end does not show there.
_POLL_S = 0.02


class Checked(NamedTuple):
    """
    What the check came to.

    Attributes:
        is_well: Whether the process does its work.
        said: Its exit status and last line, fit to be shown.
    """

    is_well: bool
    said: str


def check(target: Target) -> Checked | None:
    """Run the configured check, for no longer than one answer may take; None if there is none."""
    words = care_of(target).check
    if not words:
        return None
    end = time.monotonic() + target.timeout_s
    try:
        child = subprocess.Popen(  # noqa: S603 - the site's own command, without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        return Checked(is_well=False, said=f"it could not be started: {shown(str(exc))}")
    with child:
        said = _end_of_what_it_says(child, end)
        if child.returncode is None:
            # It has not been waited for, so that the number is its own: whoever it started ends as well.
            os.killpg(child.pid, signal.SIGKILL)
            return Checked(is_well=False, said=f"no end within {target.timeout_s:g} s")
    last = (said.strip().splitlines() or [b""])[-1]
    return Checked(is_well=child.returncode == 0, said=f"exit status {child.returncode}: {shown(last)}")


def _end_of_what_it_says(child: subprocess.Popen[bytes], end: float) -> bytes:
    """
    The last of what *child* says until it ends, however much that is.

    Whatever it has started may keep the pipe open and say more: that is not waited for.
    """
    said, pipe = b"", child.stdout.fileno() if child.stdout else -1
    os.set_blocking(pipe, False)
    has_ended = False
    while time.monotonic() < end:
        has_more = bool(select.select([pipe], [], [], 0 if has_ended else _POLL_S)[0])
        more = os.read(pipe, _MOST_BYTES) if has_more else b""
        said = (said + more)[-_MOST_BYTES:]
        if has_ended and not more:
            break
        if has_more and not more:
            # Nobody can say more; it may still work.
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, end - time.monotonic()))
            break
        has_ended = child.poll() is not None
    return said


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Run the check, if there is one."""
    del process, kept
    found = check(target)
    if found is None:
        return look.result()
    findings = (
        ()
        if found.is_well
        else fact(
            "health.check_failed",
            Severity.ERROR,
            f"the check of the process fails: {found.said}",
            about="check",
            evidence=(Evidence(what="check", seen=found.said, limit="exit status 0"),),
        )
    )
    return look.result((reading("health.check", found.said),), findings)


look_at_health = of_a_process("health", _look)
