"""The tracked result of treating one issue."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from medic8.model.alert import End
from medic8.model.frozen import Frozen
from medic8.model.guard import GuardVerdict, Verdict
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate, Refusal
from medic8.model.recovery import Recovery, StepRecord
from medic8.model.report import DiagnosticReport


class Outcome(StrEnum):
    """How a resolution ended."""

    RESOLVED = "resolved"
    PARTLY_RESOLVED = "partly_resolved"
    RESTORED = "restored"
    NEEDS_PERSON = "needs_person"
    REFUSED = "refused"
    AWAITING_APPROVAL = "awaiting_approval"
    DENIED = "denied"
    APPROVED = "approved"  #: it asked, somebody agreed, and another run's resolution carried that out
    PLANNED = "planned"
    UNSUPPORTED = "unsupported"


class Change(Frozen):
    """
    One value before and after.

    Attributes:
        what: Which value.
        before: With its unit.
        after: With its unit.
    """

    what: str
    before: str
    after: str


class Approval(Frozen):
    """
    A person's word about a plan that needs one.

    Attributes:
        digest: Of the plan, as it was given: 12 digits or more.
        by: Who gave it, as far as that is known.
        at: When it was given.
        reason: Why; empty of a yes that was given with the command to heal.
        is_granted: Whether it was yes; no one's word in time is a no.
    """

    digest: str
    by: str
    at: datetime
    reason: str = ""
    is_granted: bool = True

    @property
    def who(self) -> str:
        """`by` as it reads after the word: those without a name get an article."""
        return f"the {self.by}" if self.by.startswith("holder of ") else self.by


class Resolution(Frozen):
    """
    The tracked result of treating one issue.

    Attributes:
        target: The target's name.
        kind: Its kind.
        issue: What was wrong; None of an undo, which brings back what was there before.
        plan: What was to be done; None if no strategy fits or none is allowed.
        outcome: How it ended.
        verdict: What the numbers say.
        reason: Why it ended so, one or more sentences for a person.
        changes: The numbers before and after.
        guards: What must not become worse, judged; empty if nothing was changed.
        approval: Who agreed to the plan, or did not, if it needed that and somebody was asked.
        mandate: On whose behalf it was treated.
        refusal: The rule that said no, with the numbers; None if it was none of the site's rules.
        recovery: The recovery's id; empty if nothing was opened.
        saved_state: Folder that holds what was there before; empty if nothing was saved.
        saved_items: How many values were saved.
        saved_bytes: How large they are together.
        kept_until: Until when they were to be kept, as configured then; None if nothing was saved, or a
            person has to look first.
        steps: Every step as the journal knows it at the end.
        left: What is left for a person, one line each.
        after: The diagnosis that verified it; None if nothing was changed.
        started_at: When it was begun.
        ended_at: When it ended.
    """

    target: str
    kind: str
    issue: Issue | None = None
    plan: Plan | None = None
    outcome: Outcome
    verdict: Verdict = Verdict.CANNOT_TELL
    reason: str
    changes: tuple[Change, ...] = ()
    guards: tuple[GuardVerdict, ...] = ()
    approval: Approval | None = None
    mandate: Mandate = Mandate()
    refusal: Refusal | None = None
    recovery: str = ""
    saved_state: str = ""
    saved_items: int = 0
    saved_bytes: int = 0
    kept_until: datetime | None = None
    steps: tuple[StepRecord, ...] = ()
    left: tuple[str, ...] = ()
    after: DiagnosticReport | None = None
    started_at: datetime
    ended_at: datetime

    @property
    def lost(self) -> str:
        """What nobody has any more since it; empty if nothing was lost, or it changed nothing for good."""
        kept = self.outcome in {Outcome.RESOLVED, Outcome.PARTLY_RESOLVED, Outcome.NEEDS_PERSON}
        return self.plan.loses if self.plan and kept and self.recovery else ""


class Treatment(Frozen):
    """
    What one run of ``heal`` did to a target.

    Attributes:
        target: The target's name.
        kind: Its kind.
        interrupted: Recoveries of earlier runs that had died half way; they were ended first.
        beneath: What was done about causes that lie in what the target stands on, before anything else.
        before: The diagnosis it began with.
        resolutions: One for each issue and strategy that was tried, in that order.
        after: The diagnosis at the end; None if nothing was changed.
        waiting: Issues that were left alone because they follow from one that is still there.
        gone: Issues that nobody treated and that went, most of them with their cause.
    """

    target: str
    kind: str
    interrupted: tuple[Recovery, ...] = ()
    beneath: tuple[Treatment, ...] = ()
    before: DiagnosticReport
    resolutions: tuple[Resolution, ...] = ()
    after: DiagnosticReport | None = None
    waiting: tuple[Issue, ...] = ()
    gone: tuple[Issue, ...] = ()

    @property
    def is_healed(self) -> bool:
        """Whether nothing is wrong at the end."""
        return (self.after or self.before).is_healthy

    @property
    def lost(self) -> str:
        """What nobody has any more since it, of all that was done; empty if nothing was lost."""
        parts = (*(each.lost for each in self.beneath), *(each.lost for each in self.resolutions))
        return ", ".join(part for part in parts if part)

    @property
    def why_not_healed(self) -> str:
        """What the last thing that was tried and did not help came to, for people."""
        reasons = [each.reason for each in self.resolutions if each.outcome is not Outcome.RESOLVED]
        return reasons[-1] if reasons else f"{len(self.before.issues)} issues were found"


class Response(Frozen):
    """
    What one run of ``respond`` found and did about the alerts on a target.

    Attributes:
        target: The target's name.
        generation: Which alerts; empty = a person asked.
        end: How it ended.
        report: The last diagnosis; None if every alert was resolved before it.
        treatments: What was done, one for each look that found something.
    """

    target: str
    generation: str = ""
    end: End
    report: DiagnosticReport | None = None
    treatments: tuple[Treatment, ...] = ()


class Standing(Frozen):
    """
    How a flow run stands.

    Attributes:
        state: The state that Prefect shows.
        duration_s: How long it took so far, in seconds.
    """

    state: str
    duration_s: float


class HistoryEntry(Frozen):
    """
    One resolution in the history of flow runs.

    Attributes:
        run: The flow run's id.
        name: The flow run's name.
        target: The target's name.
        kind: Its kind.
        issue: The type of issue.
        strategy: The strategy tried; empty if none.
        outcome: How it ended; empty if the run died before it could say.
        state: The state that Prefect shows.
        started_at: When it was begun; None if never.
        duration_s: How long it took, in seconds.
        is_interrupted: Whether the journal says that it died half way and has not been ended since.
    """

    run: str
    name: str
    target: str
    kind: str
    issue: str
    strategy: str
    outcome: str
    state: str
    started_at: datetime | None
    duration_s: float
    is_interrupted: bool = False
