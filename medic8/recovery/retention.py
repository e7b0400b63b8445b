"""Decide how long what a recovery saved is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.saved import Decision, Keep, SavedState
from medic8.recovery.journal import Journal


def kept_until(recovery: Recovery, keep: Keep) -> datetime | None:
    """
    Until when what *recovery* saved is kept; None as long as nobody can tell.

    That is while it is open, since whoever ends it needs it, and while it waits
    for a person, who may need it. A person who has acknowledged a recovery has
    as many days from then on as others have from their end.
    """
    if recovery.state is RecoveryState.OPEN:
        return None
    since = recovery.closed_at
    if recovery.state is RecoveryState.NEEDS_PERSON:
        since = recovery.acknowledged_at
    return None if since is None else since + timedelta(days=keep.days)


def kept_until_of(journal: Journal, recovery_id: str, keep: Keep) -> datetime | None:
    """`kept_until` of a recovery by its id; None if *recovery_id* is empty, or nothing was saved."""
    recovery = journal.read(recovery_id) if recovery_id else None
    return kept_until(recovery, keep) if recovery is not None and recovery.saved_state else None


def decide(
    saved: Iterable[SavedState], keep: Keep, *, now: datetime, read_by: Collection[str] = ()
) -> tuple[Decision, ...]:
    """
    What stays and what goes, the oldest first.

    Args:
        saved: What is there.
        keep: What the site asks for.
        now: The time now; what is kept until exactly now goes.
        read_by: Ids of recoveries whose saved state an undo in progress needs.
    """
    held, ended = [], []
    for each in saved:
        if each.kept_until is None:
            held.append(Decision(saved=each, stays_since="its recovery is open, or waits for a person"))
        elif each.recovery in read_by:
            held.append(Decision(saved=each, stays_since="an undo in progress reads it"))
        else:
            ended.append((each.kept_until, each))
    ended.sort(key=lambda pair: (pair[0], pair[1].recovery))
    kept_bytes = sum(each.size_bytes for until, each in ended if until > now)
    decisions = []
    for until, each in ended:
        if until <= now:
            decisions.append(Decision(saved=each, goes_since=f"keep_days = {keep.days} is over"))
        elif keep.mib is not None and kept_bytes > keep.mib << 20:
            kept_bytes -= each.size_bytes
            decisions.append(Decision(saved=each, goes_since=f"more than keep_mib = {keep.mib} is kept"))
        else:
            decisions.append(Decision(saved=each, stays_since="its days are not over"))
    return (*held, *decisions)
