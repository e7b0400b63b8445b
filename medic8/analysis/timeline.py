"""Put in order of time what was done about one issue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from medic8.model.recovery import Recovery, RecoveryState, StepRecord
from medic8.model.resolution import Resolution
from medic8.model.wording import short, size

#: Most steps of one recovery that are told one by one: half of them the first, half the last.
MOST_STEPS = 24

_ENDED = {
    RecoveryState.HEALTHY: "verified",
    RecoveryState.RESTORED: "undone",
    RecoveryState.NEEDS_PERSON: "left for a person",
}


@dataclass(frozen=True)
class Diagnosis:
    """
    When a diagnosis was made.

    Attributes:
        began_at: When it began.
        found_at: When it had ended, and the issue was known.
    """

    began_at: datetime
    found_at: datetime


@dataclass(frozen=True)
class Event:
    """
    One thing that happened.

    Attributes:
        at: When.
        what: In one word or two.
        about: What it was about.
    """

    at: datetime
    what: str
    about: str = ""


def timeline(
    resolution: Resolution,
    recoveries: Iterable[Recovery],
    diagnosis: Diagnosis | None,
    asked_at: datetime | None,
    saved_at: Mapping[str, datetime],
) -> tuple[Event, ...]:
    """
    What happened, the earliest first; of what nobody knows the time there is no event.

    Args:
        resolution: What was done.
        recoveries: Those that were opened for it, each with its steps, as the journal knows them.
        diagnosis: The one that found the issue.
        asked_at: When the run began that the resolution is a part of.
        saved_at: When what a recovery was about to change was saved, by the recovery's id.
    """
    events = [*_before(resolution, diagnosis, asked_at)]
    for recovery in recoveries:
        events += _of_recovery(recovery, saved_at.get(recovery.id))
    events.append(Event(resolution.ended_at, resolution.outcome.value.replace("_", " ")))
    # Sorting keeps the order of what happened at the same time.
    return tuple(sorted(events, key=lambda event: event.at))


def _before(
    resolution: Resolution, diagnosis: Diagnosis | None, asked_at: datetime | None
) -> Iterator[Event]:
    if asked_at is not None:
        yield Event(asked_at, "asked", f"by a {resolution.mandate.origin.value}")
    if diagnosis is not None:
        title = resolution.issue.title if resolution.issue else ""
        yield Event(diagnosis.began_at, "diagnosis begun")
        yield Event(diagnosis.found_at, "diagnosed", title)
    if resolution.plan is not None:
        plan = resolution.plan
        yield Event(resolution.started_at, "planned", f"{plan.strategy}, {plan.step_count} steps")
    if resolution.approval is not None:
        yield Event(resolution.approval.at, "approved", f"by the {resolution.approval.by}")


def _of_recovery(recovery: Recovery, saved_at: datetime | None) -> Iterator[Event]:
    name = f"recovery {short(recovery.id)}"
    yield Event(recovery.opened_at, "opened", name)
    if saved_at is not None:
        yield Event(saved_at, "saved", f"{recovery.saved_items} values, {size(recovery.saved_bytes)}")
    begun = [step for step in recovery.steps if step.begun_at is not None]
    half = MOST_STEPS // 2
    if len(begun) > MOST_STEPS:
        left_out = begun[half:-half]
        at = left_out[0].begun_at
        if at is not None:
            yield Event(at, "more steps", f"{len(left_out)} that are not listed here")
        begun = [*begun[:half], *begun[-half:]]
    for step in begun:
        yield from _of_step(step)
    if recovery.closed_at is not None:
        yield Event(recovery.closed_at, _ENDED.get(recovery.state, recovery.state.value), name)


def _of_step(step: StepRecord) -> Iterator[Event]:
    if step.begun_at is not None:
        yield Event(step.begun_at, "step begun", step.title)
    if step.done_at is not None:
        yield Event(step.done_at, "step done", step.title)
    if step.undone_at is not None:
        yield Event(step.undone_at, f"step {step.state.value}", step.title)
