"""Say how undoing a recovery later ended, from what happened."""

from __future__ import annotations

from medic8.analysis.ending import Ending
from medic8.model.plan import Plan
from medic8.model.recovery import RecoveryResult, RecoveryState
from medic8.model.resolution import Outcome

_OUTCOMES = {
    RecoveryState.RESTORED: Outcome.RESTORED,
    RecoveryState.NEEDS_PERSON: Outcome.NEEDS_PERSON,
}


def nothing_to_undo(plan: Plan) -> Ending:
    """Nothing was touched: everything is as it was found already, or was changed by somebody else."""
    outcome = Outcome.UNSUPPORTED if plan.left_open else Outcome.RESOLVED
    return Ending(outcome=outcome, reason=plan.summary, left=plan.left_open)


def undone(result: RecoveryResult) -> Ending:
    """What the recovery that takes an earlier one back came to."""
    recovery = result.recovery
    left_open = recovery.plan.left_open
    outcome = _OUTCOMES.get(recovery.state, Outcome.PARTLY_RESOLVED if left_open else Outcome.RESOLVED)
    reason = result.reason or f"{recovery.plan.summary} Verified by digests."
    if outcome is Outcome.RESTORED:
        but = ", but for what is listed" if recovery.left else ""
        reason = f"{reason}. The target is as it was before the undo{but}."
    return Ending(
        outcome=outcome,
        reason=reason,
        recovery=recovery.id,
        saved_state=recovery.saved_state,
        saved_items=recovery.saved_items,
        saved_bytes=recovery.saved_bytes,
        steps=recovery.steps,
        left=(*recovery.left, *left_open),
        after=result.after,
    )
