"""Verify what was changed."""

from __future__ import annotations

from medic8.analysis.verdict import require_better
from medic8.model.issue import Issue
from medic8.model.plan import Unit
from medic8.model.recovery import Recovery, StepMark
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.recovery.later import carried_out_by
from medic8.sessions import session_on
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task

#: Longest an attempt to verify a unit may take.
VERIFYING_S = 600


@task(task_run_name="verify {unit.title}", timeout_seconds=VERIFYING_S, **ATTEMPTS)
def verify_unit(
    target: Target, unit: Unit, recovery: Recovery, number: int, site: Settings
) -> tuple[StepMark, ...]:
    """
    Verify one unit; one that proves itself stands from now on.

    Returns:
        What the journal is to hear of with its next entry.
    Raises:
        VerifyError: it did not bring back what it is for.
    """
    del unit  # names the run; the journal's own copy is what is verified
    with session_on(target, site) as session:
        carrying = carried_out_by(session, Journal(site.journal_url), recovery)
        return contract.verify_unit(carrying, recovery, number)


@task(task_run_name="verify that {issue.target} got better", timeout_seconds=60, **ATTEMPTS)
def verify_recovery(
    target: Target, issue: Issue, recovery: Recovery, after: DiagnosticReport, site: Settings
) -> None:
    """
    Hold the diagnosis taken *after* the treatment against what the plan promised.

    Raises:
        VerifyError: the issue did not get better.
        FencedError: the target is no longer the server that was claimed, and may have lost what was proven.
    """
    require_better(issue, recovery.plan, after)
    with session_on(target, site) as session:
        contract.require_same_ground(session, recovery)
