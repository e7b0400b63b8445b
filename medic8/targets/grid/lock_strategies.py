"""What can be done about locks whose owner is gone, and about owners who wait in a circle; pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medic8.model.issue import Issue, IssueType
from medic8.model.locks import Deadlock, LockReport, StaleLock
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.grid.lock_breaking import BREAK_LOCK, BreakLock
from medic8.targets.grid.lock_judgement import deadlock_about, stale_about
from medic8.targets.kind import Strategy

BREAK_STALE_LOCK = "break_stale_lock"
RELEASE_DEADLOCK_VICTIM = "release_deadlock_victim"

#: Locks broken by one plan; the next diagnosis finds the rest.
_MOST_AT_ONCE = 64


def plan_break_stale(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to break every stale lock, so that others are let in and its owner, should it come back, is not.

    One unit for each lock. It can be put back exactly as long as nobody has
    taken the lock since; its fence keeps a late owner out all the while.
    """
    locks, left = _treatable(issue, report, stale_about)
    stale = locks.stale if locks else ()
    more = len(stale) - _MOST_AT_ONCE
    if more > 0:
        left = (*left, f"{counted(more, 'more stale lock')}; heal again after this")
    owners = ", ".join(dict.fromkeys(each.item.owner_name for each in stale[:_MOST_AT_ONCE]))
    return Plan(
        target=target.name,
        strategy=BREAK_STALE_LOCK,
        issue_fingerprint=issue.fingerprint,
        summary=f"Break {counted(len(stale[:_MOST_AT_ONCE]), 'lock')} whose lease lapsed, held by {owners}: "
        "others are let in, and a late owner writes nothing."
        if stale
        else "No lock is broken" + (f": {left[0]}." if left else "."),
        risk=Risk.MEDIUM,
        units=tuple(_break(each) for each in stale[:_MOST_AT_ONCE]),
        left_open=left,
    )


def plan_release_victim(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to end each deadlock by taking the cheapest victim's lock away.

    One-way: the victim lives, and is told that its lock was lost, so its work
    under the lock fails. The circle is compared by the act that writes.
    """
    locks, left = _treatable(issue, report, deadlock_about)
    found = locks.deadlocks[:_MOST_AT_ONCE] if locks else ()
    victims = ", ".join(each.victim.owner_name for each in found)
    return Plan(
        target=target.name,
        strategy=RELEASE_DEADLOCK_VICTIM,
        issue_fingerprint=issue.fingerprint,
        summary=f"End {counted(len(found), 'deadlock')} by taking a lock away from {victims}, whose work "
        "under it fails. This cannot be taken back."
        if found
        else "No lock is taken away" + (f": {left[0]}." if left else "."),
        risk=Risk.HIGH,
        units=tuple(_release(each) for each in found),
        left_open=left,
    )


def _break(lock: StaleLock) -> Unit:
    item = lock.item
    what = f"the lock of group {item.group} of grid {item.grid}"
    step = Step(
        title=f"break {what}, held by {item.owner_name}",
        action=BREAK_LOCK,
        arguments=BreakLock(item=item).as_arguments(),
        touches=what,
    )
    return Unit(title=what, proves_itself=True, steps=(step,))


def _release(deadlock: Deadlock) -> Unit:
    item = deadlock.victim
    what = f"the lock of group {item.group} of grid {item.grid}"
    step = Step(
        title=f"take {what} away from {item.owner_name}",
        action=BREAK_LOCK,
        arguments=BreakLock(item=item, circle=deadlock.links).as_arguments(),
        touches=what,
        step_class=StepClass.ONE_WAY,
    )
    names = ", ".join(link.waiter_name for link in deadlock.links)
    return Unit(title=f"deadlock of {names}", proves_itself=True, steps=(step,))


def _treatable(
    issue: Issue, report: DiagnosticReport, about: Callable[[str], str]
) -> tuple[LockReport | None, tuple[str, ...]]:
    """The report on the locks if a plan may be made from it; else None, and why not."""
    locks = report.locks if issue.issue_type is IssueType.SYNCHRONIZATION else None
    if locks is None or issue.about != about(locks.grid):
        return None, ()
    if report.grid is None:
        return None, ("the grid could not be looked at",)
    if primary := report.grid.health.replica_of:
        return None, (
            f"the server of target {report.target} is a replica of {primary}: point the target's url there",
        )
    return locks, ()


STRATEGIES: Mapping[str, Strategy] = {
    BREAK_STALE_LOCK: plan_break_stale,
    RELEASE_DEADLOCK_VICTIM: plan_release_victim,
}
