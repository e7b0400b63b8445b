"""What people are told of, where that goes, and how far it came."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from medic8.model.frozen import Frozen
from medic8.model.schedule import NAME


class Event(StrEnum):
    """What became true."""

    NEEDS_PERSON = "needs_person"  #: a recovery ended as far as a program can
    NEEDS_APPROVAL = "needs_approval"  #: a plan waits for a yes
    NOT_APPROVED = "not_approved"  #: somebody said no to it, or nobody said anything in time
    ESCALATED = "escalated"  #: a rule stopped automation, and waiting does not end that
    RESTORED = "restored"  #: a recovery was taken back
    RESOLVED = "resolved"  #: a recovery ended healthy
    REFUSED = "refused"  #: nothing was begun, by a rule, a limit or a precondition
    ALERT_UNANSWERED = "alert_unanswered"  #: no run could be started for an alert, or its runs died
    HEARTBEAT_SILENT = "heartbeat_silent"  #: an alert that always fires stopped
    SCHEDULE_SILENT = "schedule_silent"  #: nobody looks at a target any more


#: What a route without ``digest`` collects.
COLLECTED = (Event.REFUSED,)


class Notice(Frozen):
    """
    Something that people are told of; no secret, and no value of a key.

    Attributes:
        id: Unique; empty before it is kept.
        event: What became true.
        target: The target's name; empty if it is about none.
        title: That in a few words, without the target.
        issue: What is wrong; empty if that is not known.
        plan: What was to be done, in a sentence.
        digest: Of the plan.
        done: What was done, a line for each step.
        left: What is left for a person, commands among it, one line each.
        reason: Why it came to this.
        lost: What nobody has any more since; empty if nothing was lost.
        run: The flow run; empty = none.
        recovery: The recovery's id; empty = none.
        approval: The id of the request that waits; empty = none.
        at: When it became true.
    """

    id: str = ""
    event: Event
    target: str = ""
    title: str
    issue: str = ""
    plan: str = ""
    digest: str = ""
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    reason: str = ""
    lost: str = ""
    run: str = ""
    recovery: str = ""
    approval: str = ""
    at: datetime


class Route(Frozen):
    """
    Where something is told: ``[[notify]]``.

    Attributes:
        name: How people call it.
        url: An address as Apprise understands it; None = it cannot be had here.
        events: What is told at once.
        digest: What is collected, and told together.
        targets: Targets by name, or labels as ``key=value``, ``*`` for anything; none = it gets what no other
            route takes.
        digest_above: So many messages at most within *digest_within_s*; more become one.
        digest_within_s: The time that *digest_above* is for, in seconds.
        digest_every_s: For so long is collected what *digest* names, in seconds.
        approval_links: Whether who reads a message may decide by a link in it.
        problem: Why the address cannot be had here and now; empty if it can.
    """

    name: str = Field(min_length=1, max_length=63, pattern=NAME)
    url: SecretStr | None = None
    events: tuple[Event, ...] = tuple(each for each in Event if each not in COLLECTED)
    digest: tuple[Event, ...] = COLLECTED
    targets: tuple[str, ...] = ()
    digest_above: int = Field(default=5, ge=1, le=1000)
    digest_within_s: int = Field(default=60, ge=1, le=86_400)
    digest_every_s: int = Field(default=3600, ge=1, le=7 * 86_400)
    approval_links: bool = True
    problem: str = ""

    @model_validator(mode="after")
    def _is_good_for_something(self) -> Self:
        if not self.events and not self.digest:
            raise ValueError("needs events, digest, or both: it would tell nothing")
        return self

    def takes(self, event: Event) -> bool:
        """Whether *event* is told here, at once or later."""
        return event in self.events or event in self.digest

    def collects(self, event: Event) -> bool:
        """Whether *event* waits here for others."""
        return event not in self.events


class Delivery(StrEnum):
    """How far a notice came on its way to a route."""

    WAITING = "waiting"
    SENT = "sent"  #: at least once
    FAILED = "failed"  #: given up


class Portion(Frozen):
    """
    What one message tells.

    Attributes:
        message: The message's id.
        notices: What it tells, the oldest first; more than one are a digest.
        attempt: How often it is tried with this, from 1.
    """

    message: str
    notices: tuple[Notice, ...] = Field(min_length=1)
    attempt: int = 1


class Sent(Frozen):
    """
    What came of one attempt.

    Attributes:
        route: Where to.
        notices: How many notices the message told.
        is_sent: Whether the service took it.
        reason: Why not; empty if it did.
    """

    route: str
    notices: int = 1
    is_sent: bool
    reason: str = ""


class RouteState(Frozen):
    """
    How one route does.

    Attributes:
        name: Its name.
        waiting: Notices that wait for it.
        sent: Notices that went there and are still kept.
        failed: Notices that were given up.
        last_sent_at: When the last went; None = none did.
        reason: Why the newest that waits did not go, or was given up; empty if one went since.
    """

    name: str
    waiting: int = 0
    sent: int = 0
    failed: int = 0
    last_sent_at: datetime | None = None
    reason: str = ""


class Told(Frozen):
    """
    A notice and what became of it.

    Attributes:
        notice: The notice.
        is_routed: Whether somebody has asked yet where it goes.
        deliveries: By route, how far it came; none = it goes nowhere.
    """

    notice: Notice
    is_routed: bool
    deliveries: dict[str, Delivery] = Field(default_factory=dict)
