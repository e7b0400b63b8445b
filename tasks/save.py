"""Open a recovery, and save what it is about to change."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate
from medic8.model.recovery import Recovery
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract, interrupted
from medic8.recovery.admitting import PolicyError
from medic8.recovery.journal import Journal
from medic8.sessions import session_on
from medic8.settings import Settings
from medic8.settings.asking import asking
from tasks.attempts import ATTEMPTS
from tasks.light import task
from tasks.pause import variable_pause

#: Longest an attempt to save state may take.
SAVING_S = 600


@task(task_run_name="open recovery of {target.name}", timeout_seconds=1800, **ATTEMPTS)
def open_recovery(
    target: Target,
    plan: Plan,
    site: Settings,
    flow_run: str,
    resolution: str,
    issue: Issue | None,
    mandate: Mandate,
) -> Recovery:
    """
    Be granted all that *plan* touches, and a place among what may be under way.

    Raises:
        ChangedError: a recovery that had died there was ended first, so that *plan* is outdated.
        PolicyError: a rule of the site says no.
        RefusedError: a living recovery holds it, or it is closed to automation.
        SilentError: the journal does not answer.
    """
    question = asking(
        site,
        target,
        mandate,
        issue=plan.issue_fingerprint,
        issue_type="" if issue is None else issue.issue_type.value,
        pauses=variable_pause(),
        at=datetime.now(UTC),
    )
    journal = Journal(site.journal_url)
    with session_on(target, site) as session:
        try:
            return interrupted.open_recovery(
                journal,
                session,
                plan,
                this_process(flow_run),
                session_of=lambda name: session_on(site.target(name), site),
                clock=lambda: datetime.now(UTC),
                resolution=resolution,
                admit=question,
            )
        except PolicyError as exc:
            raise PolicyError(question.told(journal, exc.refusal)) from None


@task(task_run_name="save state of {target.name}", timeout_seconds=SAVING_S, **ATTEMPTS)
def save_state(target: Target, recovery: Recovery, site: Settings) -> Recovery:
    """
    Save what every step is about to change; durable when this returns.

    Raises:
        RefusedError: it is more than the limit, or than the disk has room for.
    """
    with session_on(target, site) as session:
        return contract.save_state(
            Journal(site.journal_url),
            session,
            recovery,
            folder=site.saved_state,
            limit_bytes=site.max_saved_mib << 20,
        )
