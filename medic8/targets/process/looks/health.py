"""Whether the process does its work, by the command that the site has for telling."""

from __future__ import annotations

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
from medic8.targets.site_command import run_bounded


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
        ended = run_bounded(words, target.timeout_s)
    except (OSError, ValueError) as exc:
        return Checked(is_well=False, said=f"it could not be started: {shown(str(exc))}")
    if ended is None:
        return Checked(is_well=False, said=f"no end within {target.timeout_s:g} s")
    return Checked(is_well=ended.status == 0, said=f"exit status {ended.status}: {shown(ended.last_line)}")


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
