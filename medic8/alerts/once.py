"""Whether an alert is news, a repeat or an echo of what was healed; pure."""

from __future__ import annotations

from enum import StrEnum

from medic8.model.alert import Alert, End
from medic8.model.frozen import Frozen


class Step(StrEnum):
    """What an alert that arrives does."""

    JOINS = "joins"  #: the open generation of its target, or opens one
    COMES_AGAIN = "comes again"  #: the same, after a run that did not heal or long after one that did
    REPEATS = "repeats"  #: its row is brought up to date, and nothing else
    ENDS = "ends"  #: it is over


class Known(Frozen):
    """
    What is known of an alert that was sent before.

    Attributes:
        is_firing: Whether it fired when it was last sent.
        generation: What answered it; empty = nothing did.
        outcome: How that ended; None = it has not, or there is none.
        ended_at_s: When.
        look_back_s: For how long after that a repeat is an echo.
    """

    is_firing: bool
    generation: str = ""
    outcome: End | None = None
    ended_at_s: float = 0.0
    look_back_s: int = 0


def step(alert: Alert, known: Known | None, now_s: float) -> Step:
    """
    What *alert* does that arrives at *now_s*.

    A rule looks back: it fires for minutes after its reason is gone. So a repeat after a target was healed is
    an echo until that time has passed; one after a run that did not heal is a reason to try again.
    """
    if not alert.is_firing:
        return Step.ENDS
    if known is None or not known.is_firing or not known.generation:
        return Step.JOINS
    if known.outcome is None:
        return Step.REPEATS
    if known.outcome.is_well and now_s < known.ended_at_s + known.look_back_s:
        return Step.REPEATS
    return Step.COMES_AGAIN
