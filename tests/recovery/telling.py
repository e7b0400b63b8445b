"""Things that people are told of, in a journal, to test with."""

from __future__ import annotations

from datetime import datetime, timedelta

from medic8.model.notice import Event, Notice
from medic8.model.recovery import RecoveryState, StepState
from medic8.model.resolution import Outcome, Resolution
from medic8.model.target import Resource
from medic8.owner import this_process
from medic8.recovery import notices
from medic8.recovery.journal import Journal
from tests.recovery.asking import AT, ISSUE
from tests.recovery.memory import plan_of

PLAN = plan_of((("a", "new"),))
SECOND = timedelta(seconds=1)


def a_recovery(journal: Journal, end: RecoveryState, *, resolution: str = "", left: str = "") -> str:
    """The id of a recovery with one step, and how it ended."""
    owner = this_process(resolution or "r")
    held = (Resource(identity=f"valkey:{end}{left}{resolution}", carries="its server"),)
    opened = journal.open(PLAN, held, owner, stands_on="", at=AT, resolution=resolution)
    journal.begun(opened, 0, written_digest="d", at=AT)
    if end is not RecoveryState.HEALTHY:
        journal.undone(opened, 0, state=StepState.UNDONE, note="", at=AT)
    journal.close(opened, end, left=(left,) if left else (), at=AT)
    return opened.id


def some(journal: Journal, number: int, *, event: Event = Event.RESOLVED, at: datetime = AT) -> None:
    with journal.transaction() as connection:
        for each in range(number):
            when = at + each * SECOND / 100
            notices.put(connection, Notice(event=event, target="pot", title=f"news {each}", at=when))


def a_resolution(outcome: Outcome, **more: object) -> Resolution:
    given = {"target": "pot", "kind": "teapot", "issue": ISSUE, "plan": PLAN, "outcome": outcome}
    given |= {"reason": "because", "started_at": AT, "ended_at": AT}
    return Resolution.model_validate({**given, **more})
