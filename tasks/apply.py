"""Apply one step."""

from __future__ import annotations

from datetime import UTC, datetime

from medic8.model.plan import Step
from medic8.model.policy import Mandate
from medic8.model.recovery import Recovery, StepMark
from medic8.model.target import Target
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.recovery.later import carried_out_by
from medic8.sessions import session_on
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task
from tasks.pause import require_unpaused


@task(task_run_name="{step.title}", **ATTEMPTS)
def apply_step(
    target: Target,
    step: Step,
    recovery: Recovery,
    number: int,
    site: Settings,
    reached: tuple[StepMark, ...] = (),
    mandate: Mandate | None = None,
) -> tuple[StepMark, ...]:
    """
    Journal *step* as begun, then apply it; idempotent, see `contract.apply_step`.

    With a *mandate*, as the first of a unit has it, it is seen first that nobody has paused it.

    Returns:
        What the journal is to hear of with its next entry.

    Raises:
        ChangedError: somebody else changed what was saved.
        FencedError: the target is another's now, or moved.
        PolicyError: somebody has paused it.
    """
    del step  # names the run; the journal's own copy is what is applied
    if mandate is not None:
        require_unpaused(target, site, mandate)
    journal = Journal(site.journal_url)
    with session_on(target, site) as session:
        return contract.apply_step(
            journal,
            carried_out_by(session, journal, recovery),
            recovery,
            number,
            clock=lambda: datetime.now(UTC),
            reached=reached,
        )
