"""All steps of a recovery, as the flow takes them, without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from medic8.model.recovery import Recovery, StepMark
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.kind import Session


def take_all_steps(
    journal: Journal, session: Session, recovery: Recovery, *, clock: Callable[[], datetime]
) -> tuple[StepMark, ...]:
    """Apply and verify unit after unit; what the journal does not know yet comes back."""
    reached: tuple[StepMark, ...] = ()
    for unit in range(len(recovery.plan.units)):
        for step in contract.numbers_of(recovery.plan, unit):
            reached = contract.apply_step(journal, session, recovery, step, clock=clock, reached=reached)
        reached += contract.verify_unit(session, recovery, unit)
    return reached
