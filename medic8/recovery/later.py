"""Undo a recovery that has ended: a plan and a new recovery of its own, under the same three-way rule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from medic8.errors import ChangedError, ConfigurationError, RefusedError, UndoError, VerifyError
from medic8.model.plan import Plan, Risk, Step, StepClass, Undoes, Unit
from medic8.model.recovery import Claim, Recovery, RecoveryState, SavedItem, StepRecord, digest_of
from medic8.model.target import Resource, Target
from medic8.model.wording import counted, short
from medic8.recovery import contract, saved_state
from medic8.recovery.ended import STANDS, require_kept
from medic8.recovery.hand_over import conflict, saved_items
from medic8.recovery.journal import Journal
from medic8.targets.kind import Holds, Session

#: The strategy's name; it is on no allow-list, since only a person asks for it.
STRATEGY = "undo"


def target_of(earlier: Recovery, target_named: Callable[[str], Target]) -> Target:
    """
    The target that *earlier* worked on.

    Raises:
        ConfigurationError: it is no longer configured, or cannot be used.
    """
    try:
        return target_named(earlier.plan.target)
    except ConfigurationError as exc:
        raise ConfigurationError(
            f"recovery {earlier.id} worked on a target that cannot be used now: {exc}; nothing was touched, "
            "and the recovery and what it saved are as they were"
        ) from exc


def plan_undo(session: Session, earlier: Recovery, *, restorable_only: bool) -> Plan:
    """
    Plan to put back what *earlier* had replaced, as far as the target still holds what it wrote.

    Reads the target and all that will be put back; changes nothing.

    Args:
        session: A connection to the target.
        earlier: A recovery that has ended.
        restorable_only: Leave out steps that cannot be taken back, instead of refusing.
    Returns:
        A plan without units if there is nothing to put back; what stays as it is stands under ``left_open``.
    Raises:
        RefusedError: the recovery is open or left nothing behind, a step of it cannot be taken back, what
            it saved is gone or altered, or the target is no longer what it changed.
    """
    numbers = standing_steps(earlier, restorable_only=restorable_only)
    saved = _saved_digests(session, earlier, numbers)
    holds = session.still_holds(earlier)
    if holds is Holds.SOMETHING_ELSE:
        raise RefusedError(
            f"target {earlier.plan.target} leads to something else than what recovery {earlier.id} changed; "
            f"changed was {', '.join(resource.identity for resource in earlier.resources)}"
        )
    if holds is Holds.NOTHING:
        raise RefusedError(
            f"the server of target {earlier.plan.target} was restarted since recovery {earlier.id}, and what "
            "was set went with that; nothing is left to undo"
        )
    steps = _steps_of(earlier)
    present = {number: digest_of(session.capture(steps[number])) for number in numbers}
    return plan_from(earlier, present, saved)


def standing_steps(earlier: Recovery, *, restorable_only: bool) -> tuple[int, ...]:
    """
    The numbers of the steps to take back, the last one first.

    Raises:
        RefusedError: the recovery is open, left nothing behind, or a step of it cannot be taken back.
    """
    if earlier.state is RecoveryState.OPEN:
        raise RefusedError(
            f"recovery {earlier.id} is open: it is under way, or died half way and is ended by medic8 "
            "recover-interrupted; only one that has ended is undone later"
        )
    steps = _steps_of(earlier)
    standing = [record for record in reversed(earlier.steps) if record.state in STANDS]
    if not standing:
        raise RefusedError(
            f"recovery {earlier.id} ended {earlier.state.value.replace('_', ' ')} and left nothing behind "
            "that could be undone"
        )
    one_way = [record for record in standing if steps[record.number].step_class is StepClass.ONE_WAY]
    if one_way and not restorable_only:
        named = ", ".join(f"step {record.number + 1} ({record.title})" for record in reversed(one_way))
        others = len(standing) - len(one_way)
        rest = (
            f"--restorable-only leaves that as it is and undoes the other {counted(others, 'step')}"
            if others
            else "it has no other step that could be undone"
        )
        raise RefusedError(f"{named} of recovery {earlier.id} cannot be taken back; {rest}")
    restorable = [each for each in standing if steps[each.number].step_class is StepClass.RESTORABLE]
    return tuple(record.number for record in restorable)


def plan_from(earlier: Recovery, present: Mapping[int, str], saved: Mapping[int, str]) -> Plan:
    """
    The plan for what is there now; pure.

    Args:
        earlier: A recovery that has ended.
        present: The digest of what each step that is to be taken back touches, by its number.
        saved: The digest of what it would put back; absent by now if its own expiry has passed.
    """
    planned = _steps_of(earlier)
    by_unit: dict[int, list[int]] = {}
    left, same = [], 0
    for number, found in sorted(present.items(), reverse=True):
        record = earlier.steps[number]
        if found == saved[number]:
            same += 1
        elif found != record.written_digest:
            left.append(conflict(planned[number], record, found))
        else:
            by_unit.setdefault(record.unit, []).append(number)
    left += [
        f"step {record.number + 1} ({record.title}): "
        + (
            "cannot be taken back and stays"
            if planned[record.number].step_class is StepClass.ONE_WAY
            else "nothing is declared to be put back"
        )
        for record in earlier.steps
        if record.state in STANDS and record.number not in present
    ]
    units = tuple(
        Unit(
            title=f"{earlier.plan.units[unit].title} as it was found",
            steps=tuple(_backwards(planned[number], number) for number in numbers),
        )
        for unit, numbers in by_unit.items()
    )
    steps = tuple(number for numbers in by_unit.values() for number in numbers)
    return Plan(
        target=earlier.plan.target,
        strategy=STRATEGY,
        issue_fingerprint=earlier.plan.issue_fingerprint,
        summary=_summary(earlier, back=len(steps), same=same),
        risk=Risk.MEDIUM,
        units=units,
        left_open=tuple(left),
        undoes=Undoes(recovery=earlier.id, steps=steps),
    )


def carried_out_by(session: Session, journal: Journal, recovery: Recovery) -> Session:
    """
    The session that carries *recovery* out: *session* itself, unless its plan takes an earlier one back.

    To undo such a recovery, *session* itself suffices.

    Raises:
        RefusedError: retention has let go of what the earlier one saved.
    """
    undoes = recovery.plan.undoes
    if undoes is None:
        return session
    return _PutsBack(session, recovery.plan, undoes, require_kept(journal, undoes.recovery))


class _PutsBack:
    """
    A session whose new values are those that an earlier recovery had saved.

    Args:
        session: The real one, which reads and changes the target.
        plan: The plan that takes the earlier recovery back.
        undoes: Which of its steps the plan's steps take back.
        earlier: That recovery.
    """

    def __init__(self, session: Session, plan: Plan, undoes: Undoes, earlier: Recovery) -> None:
        self._session = session
        self._plan = plan
        self._undoes = undoes
        self._earlier = earlier

    def prepare(self, step: Step) -> bytes | None:
        """
        What the earlier recovery had found, if the target still holds what that one wrote.

        Raises:
            ChangedError: somebody else changed it since the plan was made.
            RefusedError: what was saved cannot be read, or is not what was saved.
        """
        record = self._record_of(step)
        found = digest_of(self._session.capture(step))
        if found != record.written_digest:
            raise ChangedError(conflict(step, record, found))
        return self._found_by(record, step)

    def verify(self, unit: Unit) -> None:
        """
        Look whether everything of *unit* is as the earlier recovery had found it.

        Raises:
            VerifyError: it is not.
        """
        for step in unit.steps:
            wanted = digest_of(self._found_by(self._record_of(step), step))
            found = digest_of(self._session.capture(step))
            if found != wanted:
                raise VerifyError(
                    f"{step.touches} did not stay as it was put back: put back {short(wanted)}, "
                    f"found {short(found)}"
                )

    def _found_by(self, record: StepRecord, step: Step) -> bytes | None:
        try:
            saved = saved_state.value_of(Path(self._earlier.saved_state), self._items[record.number])
        except UndoError as exc:
            raise RefusedError(str(exc)) from exc
        return self._session.as_of_now(step, saved)

    @functools.cached_property
    def _items(self) -> dict[int, SavedItem]:
        return saved_items(self._earlier)

    def _record_of(self, step: Step) -> StepRecord:
        number = next(number for number, _, each in contract.steps_of(self._plan) if each == step)
        return self._earlier.steps[self._undoes.steps[number]]

    # -- everything else is the real session's ---------------------------------------------------

    def resources(self) -> tuple[Resource, ...]:
        return self._session.resources()

    def still_holds(self, recovery: Recovery) -> Holds:
        return self._session.still_holds(recovery)

    def stands_on(self) -> str:
        return self._session.stands_on()

    def still_stands(self, recovery: Recovery) -> bool:
        return self._session.still_stands(recovery)

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        return self._session.tags_of(plan)

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        self._session.take_claim(claim, lasts_s=lasts_s)

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        self._session.renew_claim(claim, lasts_s=lasts_s)

    def release_claim(self, claim: Claim) -> None:
        self._session.release_claim(claim)

    def cut_off(self, claim: Claim) -> None:
        self._session.cut_off(claim)

    def capture(self, step: Step) -> bytes | None:
        return self._session.capture(step)

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        self._session.swap(step, expected=expected, new=new, claim=claim)

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        return self._session.as_of_now(step, saved)

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        return self._session.by_hand(step, value, file=file, offset=offset)

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        return self._session.took_effect(step, recovery)


def _saved_digests(session: Session, earlier: Recovery, numbers: tuple[int, ...]) -> dict[int, str]:
    """Read all that would be put back, so that nothing is begun that cannot be finished."""
    steps, folder = _steps_of(earlier), Path(earlier.saved_state)
    try:
        items = saved_items(earlier)
        values = ((number, saved_state.value_of(folder, items[number])) for number in numbers)
        return {number: digest_of(session.as_of_now(steps[number], value)) for number, value in values}
    except UndoError as exc:
        raise RefusedError(f"recovery {earlier.id} cannot be undone, and nothing was changed: {exc}") from exc


def _backwards(step: Step, number: int) -> Step:
    return step.model_copy(update={"title": f"take back step {number + 1}: {step.title}"})


def _steps_of(earlier: Recovery) -> tuple[Step, ...]:
    return tuple(step for _, _, step in contract.steps_of(earlier.plan))


def _summary(earlier: Recovery, *, back: int, same: int) -> str:
    ended = "" if earlier.closed_at is None else f", {earlier.closed_at:%Y-%m-%d %H:%M %Z}"
    about = f"recovery {short(earlier.id)} ({earlier.plan.strategy}{ended})"
    holds = f" {counted(same, 'value')} of it {'is' if same == 1 else 'are'} as it found them already."
    if not back:
        return f"Nothing that {about} changed can be put back.{holds if same else ''}"
    as_found = "as it was found" if back == 1 else "as they were found"
    return (
        f"Put back {counted(back, 'value')} that {about} had replaced, {as_found}: what it healed comes back "
        f"as well.{holds if same else ''} What it did: {earlier.plan.summary}"
    )
