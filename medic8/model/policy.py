"""What a site lets programs do by themselves, when and how often, and what is known when it is decided."""

from __future__ import annotations

from datetime import datetime, time
from enum import StrEnum
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence

#: Longest that a window stays open: a week, after which it would meet itself.
_LONGEST_WINDOW_MIN = 7 * 24 * 60

_DAY_S = 86_400


class Origin(StrEnum):
    """Who or what began a run."""

    PERSON = "person"  #: by the command line or a form
    SCHEDULE = "schedule"  #: a timer, of Prefect or any other
    ALERT = "alert"  #: a message from another program

    @property
    def is_automatic(self) -> bool:
        """Whether nobody was there who decided it."""
        return self is not Origin.PERSON

    @property
    def article(self) -> str:
        """For a sentence: "a schedule"."""
        return f"{'an' if self is Origin.ALERT else 'a'} {self.value}"


class Mandate(Frozen):
    """
    On whose behalf a recovery is carried out.

    Attributes:
        origin: Who or what began it.
        override: Why a person goes on although there is a pause; empty = a pause stops it.
        treatment: The run of ``heal`` that it is a part of; empty = it is by itself.
    """

    origin: Origin = Origin.PERSON
    override: str = ""
    treatment: str = ""

    @model_validator(mode="after")
    def _is_a_persons(self) -> Self:
        if self.override and self.origin.is_automatic:
            raise ValueError(f"only a person overrides a pause, not a run with origin {self.origin.value!r}")
        return self


class Day(StrEnum):
    """A day of the week, as a configuration spells it."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class Window(Frozen):
    """
    A time that comes again, in which nothing is begun automatically, or in which alone it is.

    Attributes:
        name: How people call it.
        on: Targets by name, and labels as ``key=value``; none = every target.
        days: On which days it begins, in its zone; none = every day.
        start: When it begins, by the clock on the wall of its zone. One that the clock leaves out when it is
            put forward begins that much later, one that comes twice begins the first time.
        duration_min: How long it lasts, in minutes that pass, not that the clock shows.
        zone: Name of the time zone.
        automation: ``no``: nothing is begun by itself inside. ``only``: nothing is begun by itself outside of
            all windows of this kind that are for the target.
    """

    name: str = Field(min_length=1, max_length=63)
    on: tuple[str, ...] = ()
    days: tuple[Day, ...] = ()
    start: time
    duration_min: int = Field(ge=1, le=_LONGEST_WINDOW_MIN)
    zone: str = "UTC"
    automation: Literal["no", "only"]

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as exc:
            raise ValueError(f"zone {self.zone!r} is no time zone such as 'Europe/Berlin'") from exc
        if self.start.tzinfo is not None:
            raise ValueError(f"start {self.start} has an offset; say where it is by zone")
        return self


class Policy(Frozen):
    """
    What binds runs that nobody has begun by hand.

    Attributes:
        per_domain: Most recoveries at a time in one failure domain; 0 = any number.
        domain_labels: Labels that name a failure domain, beside what a target runs on.
        per_target: Most recoveries on one target within *per_target_s*; 0 = any number.
        per_target_s: The time that *per_target* is for, in seconds.
        cool_down_s: So long after a recovery on a target no other run begins one there; 0 = at once.
        share_of_fleet: Most of all targets that are recovered at a time, as a part of 1; at least one may.
        share_of_label: The same of the targets that share the value of a label, by the label.
        failures: After so many failures of the same issue, one after the other, it is left; 0 = never.
        returns: After so many recoveries of the same issue within *returns_s*, whatever came of them, it is
            left; 0 = never.
        returns_s: How far back failures and returns count, in seconds.
        window: When nothing may be begun automatically, or when alone it may.
    """

    per_domain: int = Field(default=1, ge=0)
    domain_labels: tuple[str, ...] = ("failure-domain",)
    per_target: int = Field(default=3, ge=0)
    per_target_s: int = Field(default=3600, ge=1)
    cool_down_s: int = Field(default=0, ge=0, le=7 * _DAY_S)
    share_of_fleet: float = Field(default=0.1, gt=0, le=1)
    share_of_label: dict[str, float] = Field(default_factory=dict)
    failures: int = Field(default=2, ge=0)
    returns: int = Field(default=5, ge=0)
    returns_s: int = Field(default=_DAY_S, ge=1)
    window: tuple[Window, ...] = ()

    @model_validator(mode="after")
    def _has_shares(self) -> Self:
        for label, share in self.share_of_label.items():
            if not 0 < share <= 1:
                raise ValueError(f"share_of_label {label!r} is {share:g}, expected a part of 1 above 0")
        return self

    @property
    def looks_back_s(self) -> int:
        """How far back any rule looks, in seconds."""
        return max(self.per_target_s, self.cool_down_s, self.returns_s)


class ObserverCheck(Frozen):
    """
    When the one who looks is suspected, and not what is looked at.

    Attributes:
        references: What a healthy worker always reaches, as ``host:port``.
        share: When more than this part of a worker's targets turn ill within *within_s*.
        at_least: And so many at least; 0 = the check is off.
        within_s: The time that *share* is for, in seconds.
        timeout_s: Longest that a reference may take to accept a connection.
    """

    references: tuple[str, ...] = ()
    share: float = Field(default=0.2, gt=0, le=1)
    at_least: int = Field(default=3, ge=0)
    within_s: int = Field(default=60, ge=1, le=3600)
    timeout_s: float = Field(default=2.0, gt=0, le=10)

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        for each in self.references:
            host, _, port = each.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) <= 65_535:  # noqa: PLR2004 - a TCP port
                raise ValueError(f"reference {each!r} must be host:port")
        return self


class Pause(Frozen):
    """
    A person's word that nothing is to be begun.

    Attributes:
        id: Unique; empty of one that is not the journal's.
        on: A target's name, or a label as ``key=value``; empty = everything.
        reason: Why.
        by: Who said so, as far as that is known.
        since: From when on.
        until: When it ends by itself; None = when somebody ends it.
    """

    id: str = ""
    on: str = ""
    reason: str
    by: str
    since: datetime
    until: datetime | None = None


class Member(Frozen):
    """
    A target as far as rules about many of them go.

    Attributes:
        name: Its name.
        labels: Its labels.
        domains: The failure domains that it belongs to.
    """

    name: str
    labels: dict[str, str] = Field(default_factory=dict)
    domains: tuple[str, ...] = ()


class Reservation(Frozen):
    """
    That a recovery was begun, as it counts for those that want to begin.

    Attributes:
        recovery: Its id.
        target: The target's name.
        domains: The failure domains that the target belonged to.
        issue: Fingerprint of what it is about.
        issue_type: The type of issue; empty of an undo.
        mandate: On whose behalf.
        reserved_at: When it was begun.
        ended_at: When it ended; None while it is open.
        end: The state in which it ended, or ``untouched`` if no step was begun; empty while it is open.
    """

    recovery: str
    target: str
    domains: tuple[str, ...] = ()
    issue: str = ""
    issue_type: str = ""
    mandate: Mandate = Mandate()
    reserved_at: datetime
    ended_at: datetime | None = None
    end: str = ""

    @property
    def counts(self) -> bool:
        """Whether something may have been changed."""
        return self.end != UNTOUCHED


#: The end of a recovery that came as far as no step: it counts for nothing.
UNTOUCHED = "untouched"


class Sighting(Frozen):
    """
    What one worker saw of a target when it last looked.

    Attributes:
        target: The target's name.
        is_ill: Whether anything was wrong.
        since: When that worker first saw it so.
    """

    target: str
    is_ill: bool
    since: datetime


class Request(Frozen):
    """
    What wants to be begun.

    Attributes:
        target: The target.
        issue: Fingerprint of the issue; empty = no particular one.
        issue_type: Its type; empty = no particular one.
        mandate: On whose behalf.
    """

    target: Member
    issue: str = ""
    issue_type: str = ""
    mandate: Mandate = Mandate()


class Snapshot(Frozen):
    """
    All that rules look at, as it was at one moment.

    Attributes:
        now: That moment.
        fleet: All targets of the configuration.
        reservations: Open ones, and those that ended or began as far back as any rule looks.
        pauses: Those that are in force.
        sightings: What this worker saw of its targets.
        silent: The references that did not answer.
    """

    now: datetime
    fleet: tuple[Member, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    pauses: tuple[Pause, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    silent: tuple[str, ...] = ()


class Ruling(Frozen):
    """
    What one rule says.

    Attributes:
        rule: Its name.
        is_broken: Whether it objects.
        binds: Whether its objection counts for whoever asks.
        numbers: What it looked at, and the limits.
        reason: Why it objects, with what a person can do about it; empty if it does not.
        about: What somebody has to be told of, once, since waiting does not end it; empty if it does.
    """

    rule: str
    is_broken: bool = False
    binds: bool = True
    numbers: tuple[Evidence, ...] = ()
    reason: str = ""
    about: str = ""

    @property
    def refuses(self) -> bool:
        """Whether nothing may be begun because of it."""
        return self.is_broken and self.binds


class Refusal(Frozen):
    """
    Why something was not begun.

    Attributes:
        rule: The rule that said no.
        reason: Why, for a person.
        numbers: What was looked at, and the limits.
        about: What somebody has to be told of; empty if waiting is enough.
        is_news: Whether this refusal is the one that tells; others about the same say no and tell nobody.
    """

    rule: str
    reason: str
    numbers: tuple[Evidence, ...] = ()
    about: str = ""
    is_news: bool = False


class Escalation(Frozen):
    """
    What somebody has to look at, told once.

    Attributes:
        rule: The rule that stopped automation.
        about: What it stopped it on.
        reason: Why.
        at: When it was told.
    """

    rule: str
    about: str
    reason: str
    at: datetime
