"""Tell the inbox how far the answer to alerts has come."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.alerts.inbox import Inbox
from medic8.model.alert import End
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task


@task(task_run_name="begin to look, for alerts {generation}", **ATTEMPTS)
def begin_diagnosis(generation: str, site: Settings) -> bool:
    """Note that a diagnosis begins; false if nobody needs it any more."""
    return Inbox(Journal(site.journal_url)).begin_diagnosis(generation)


@task(task_run_name="begin to treat, for alerts {generation}", **ATTEMPTS)
def begin_treatment(generation: str, site: Settings) -> bool:
    """Note that the target is treated; false if every alert was resolved meanwhile."""
    return Inbox(Journal(site.journal_url)).begin_treatment(generation)


@task(task_run_name="end the answer to alerts {generation}", **ATTEMPTS)
def end_answer(generation: str, outcome: End, reason: str, site: Settings) -> bool:
    """End it; false if an alert has come since the last diagnosis began."""
    inbox = Inbox(Journal(site.journal_url))
    return inbox.end(generation, outcome, datetime.now(UTC).timestamp(), reason)
