"""What a sender says is wrong, in one form whoever says it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from medic8.model.frozen import Frozen

#: What the run that answers the alerts about a target is called.
RUN_NAME = "answer alerts about {target}"


#: So many labels stand for the name of an alert that has none.
_MOST_SAID = 3


class AlertStatus(StrEnum):
    """Whether it is still so."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Frozen):
    """
    One alert: a hint where to look, and no diagnosis.

    Attributes:
        source: The configured source that sent it.
        fingerprint: What the sender knows it by, whenever it fires; ours over its labels if it says none.
        starts_at: Since when it fires; None = the sender does not say.
        ends_at: When it ended; None = it has not, or the sender does not say.
        status: Whether it fires.
        labels: What it is about; routing looks at nothing else.
        annotations: For people.
    """

    source: str
    fingerprint: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    status: AlertStatus
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        """64 digits that are the same for every repeat, and no others: of source, fingerprint and start."""
        begun = self.starts_at.isoformat() if self.starts_at else ""
        return hashlib.sha256(json.dumps([self.source, self.fingerprint, begun]).encode()).hexdigest()

    @property
    def name(self) -> str:
        """How its sender calls the rule; empty if it does not."""
        return self.labels.get("alertname", "")

    @property
    def words(self) -> str:
        """What people call it: its name, or what else its sender says of it."""
        if self.name:
            return self.name
        said = ", ".join(f"{name}={value}" for name, value in sorted(self.labels.items())[:_MOST_SAID])
        return said or self.annotations.get("summary", "") or f"an alert of {self.source} without a name"

    @property
    def is_firing(self) -> bool:
        """Whether it is still so, as far as its sender knows."""
        return self.status is AlertStatus.FIRING


class Malformed(Frozen):
    """
    An element of a batch that is no alert.

    Attributes:
        index: Where in the batch, from 0.
        reason: What is wrong with it.
        excerpt: How it begins, for whoever mends the sender.
    """

    index: int
    reason: str
    excerpt: str = ""


class Batch(Frozen):
    """
    What one request brought.

    Attributes:
        alerts: The alerts in it, in its order.
        malformed: What else was in it.
        left_out: So many more the sender had, and did not send.
    """

    alerts: tuple[Alert, ...] = ()
    malformed: tuple[Malformed, ...] = ()
    left_out: int = 0


def fingerprint_of(labels: dict[str, str]) -> str:
    """16 digits over *labels*, for a sender that names no fingerprint."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]


class End(StrEnum):
    """How the run that answered alerts about a target ended."""

    ALREADY_HEALTHY = "already_healthy"  #: nothing was wrong when it looked
    HEALED = "healed"  #: something was, and is not any more
    NOT_HEALED = "not_healed"  #: something still is; the resolutions say why
    CLEARED = "cleared"  #: every alert was resolved before anything was begun
    EXPIRED = "expired"  #: no run could be started for it in time
    FAILED = "failed"  #: its runs died, again and again

    @property
    def is_well(self) -> bool:
        """Whether the target was well at the end, so that a repeat may be an echo."""
        return self in {End.ALREADY_HEALTHY, End.HEALED}


class Taken(Frozen):
    """
    What became of the alerts of a request, by their number.

    Attributes:
        accepted: New ones.
        repeated: Known ones.
        resolved: Told to be over.
        ignored: Kept, and nothing is done about them: a rule says so, or they are heartbeats.
        unknown: Of *accepted*, those that name no known target.
        malformed: What was no alert.
    """

    accepted: int = 0
    repeated: int = 0
    resolved: int = 0
    ignored: int = 0
    unknown: int = 0
    malformed: int = 0


class Generation(Frozen):
    """
    The alerts about one target that one run answers.

    Attributes:
        id: Unique.
        target: The target's name.
        opened_at_s: When the first was accepted, in seconds since the epoch.
        ended_at_s: When it was over; None = it is not.
        outcome: How it ended; None = it has not.
        reason: Why, or why nothing has been started yet; empty if that needs no words.
        accepted: How many alerts have joined it.
        is_again: Whether a repeat opened it, after a run that did not heal.
        run: The flow run; empty if none could be started yet.
        attempt: How many runs were started for it, if a run died; from 1.
    """

    id: str
    target: str
    opened_at_s: float
    ended_at_s: float | None = None
    outcome: End | None = None
    reason: str = ""
    accepted: int
    is_again: bool = False
    run: str = ""
    attempt: int = 1


class Row(Frozen):
    """
    An alert as the inbox keeps it.

    Attributes:
        id: By which it is found; 64 digits.
        alert: What its sender said last.
        target: The target that it is about; empty if it names none that is known.
        routed_by: What led there.
        is_ignored: Whether nothing is to be done about it.
        accepted_at_s: When it was accepted first, in seconds since the epoch.
        seen_at_s: When it was sent last.
        times: How often it was sent.
        answer: What answers it; None = nothing does.
    """

    id: str
    alert: Alert
    target: str
    routed_by: str
    is_ignored: bool
    accepted_at_s: float
    seen_at_s: float
    times: int
    answer: Generation | None = None


class MalformedRow(Frozen):
    """
    What was in a batch and was no alert, as the inbox keeps it.

    Attributes:
        source: The configured source that sent it.
        at_s: When, in seconds since the epoch.
        reason: What is wrong with it.
        excerpt: How it begins.
    """

    source: str
    at_s: float
    reason: str
    excerpt: str
