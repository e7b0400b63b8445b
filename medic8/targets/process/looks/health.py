"""Whether the process does its work, by the command that the site has for telling."""

from __future__ import annotations

import subprocess
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
    try:
        done = subprocess.run(  # noqa: S603 - the site's own command, without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=target.timeout_s,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return Checked(is_well=False, said=f"no end within {target.timeout_s:g} s")
    except (OSError, ValueError) as exc:
        return Checked(is_well=False, said=f"it could not be started: {shown(str(exc))}")
    last = (done.stdout.strip().splitlines() or [b""])[-1]
    return Checked(is_well=done.returncode == 0, said=f"exit status {done.returncode}: {shown(last)}")


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
