"""Look whether anything became worse that a recovery must not make worse."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from medic8.analysis.never_worse import broken, confirmed, judge_soft, soft_breach_undoes
from medic8.errors import WorseError
from medic8.model.guard import GuardReadings, GuardVerdict
from medic8.model.plan import Plan, Unit
from medic8.model.target import Target
from medic8.settings import Settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from tasks.attempts import ATTEMPTS
from tasks.light import task

#: Longest an attempt to look may take.
GUARDING_S = 60

#: Between the first measurement that saw a breach and the second.
_UNTIL_SECOND_S = 1.0


@task(task_run_name="read guards of {target.name}", timeout_seconds=GUARDING_S, **ATTEMPTS)
def read_guards(target: Target, plan: Plan, site: Settings) -> GuardReadings:
    """What must not become worse, as it is before the first change; takes about half a second."""
    guards = kind_named(target.kind).guards
    if guards is None:
        return GuardReadings()
    hard = guards.read_hard(target, _around(site), plan, ())
    return GuardReadings(hard=hard, soft=guards.read_soft(target, guards.soft_of(plan)))


@task(task_run_name="guard {target.name} after {unit.title}", timeout_seconds=GUARDING_S, **ATTEMPTS)
def guard_unit(target: Target, unit: Unit, plan: Plan, before: GuardReadings, site: Settings) -> None:
    """
    Hold the hard guards against what they were, after one unit.

    Raises:
        WorseError: one is violated.
    """
    del unit  # names the run
    _require_hard(target, plan, before, site)


@task(task_run_name="guard {target.name}", timeout_seconds=GUARDING_S, **ATTEMPTS)
def guard_recovery(
    target: Target, plan: Plan, before: GuardReadings, site: Settings
) -> tuple[GuardVerdict, ...]:
    """
    Hold all guards against what they were, after the last unit.

    Raises:
        WorseError: a hard one is violated, or a soft one is, twice, and what would be put back for it is
            nothing that proved itself.
    """
    hard = _require_hard(target, plan, before, site)
    soft = _soft(target, before)
    if (worse := broken(soft)) and soft_breach_undoes(plan):
        raise WorseError(_in_words(target, worse), (*hard, *soft))
    return (*hard, *soft)


def _require_hard(
    target: Target, plan: Plan, before: GuardReadings, site: Settings
) -> tuple[GuardVerdict, ...]:
    guards = kind_named(target.kind).guards
    if guards is None:
        return ()
    after = guards.read_hard(target, _around(site), plan, before.hard)
    verdicts = guards.judge_hard(before.hard, after)
    if worse := broken(verdicts):
        raise WorseError(_in_words(target, worse), verdicts)
    return verdicts


def _soft(target: Target, before: GuardReadings) -> tuple[GuardVerdict, ...]:
    guards = kind_named(target.kind).guards
    if guards is None or not before.soft:
        return ()
    wanted = [each.guard for each in before.soft]
    verdicts = judge_soft(before.soft, guards.read_soft(target, wanted))
    if not broken(verdicts):
        return verdicts
    time.sleep(_UNTIL_SECOND_S)
    return confirmed(verdicts, judge_soft(before.soft, guards.read_soft(target, wanted)))


def _in_words(target: Target, worse: Sequence[GuardVerdict]) -> str:
    return f"{target.name} became worse: " + "; ".join(each.in_words for each in worse)


def _around(site: Settings) -> Surroundings:
    return Surroundings(backups=site.backups, now=datetime.now(UTC))
