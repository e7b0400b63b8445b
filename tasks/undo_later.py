"""Find and plan the undo of a recovery that has ended."""

from __future__ import annotations

from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.recovery import later
from medic8.recovery.ended import require_kept
from medic8.recovery.journal import Journal
from medic8.sessions import session_on
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task

#: Longest that reading what was saved and what is there may take.
_READING_S = 600


@task(task_run_name="plan the undo of {recovery} on {target.name}", timeout_seconds=_READING_S, **ATTEMPTS)
def plan_undo(target: Target, recovery: str, site: Settings, *, restorable_only: bool) -> Plan:
    """
    What would be put back of what a recovery had replaced; changes nothing.

    Raises:
        RefusedError: it cannot be undone, and the message says why.
    """
    earlier = require_kept(Journal(site.journal_url), recovery)
    with session_on(target, site) as session:
        return later.plan_undo(session, earlier, restorable_only=restorable_only)
