"""Ask the rules about what is known now, inside the transaction that begins a recovery, or only to look."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from medic8.errors import RefusedError
from medic8.model.frozen import Frozen
from medic8.model.policy import (
    Escalation,
    Member,
    ObserverCheck,
    Pause,
    Policy,
    Refusal,
    Request,
    Reservation,
    Ruling,
    Snapshot,
)
from medic8.model.recovery import Recovery
from medic8.recovery import pauses, reservations, watching
from medic8.recovery.journal import Journal
from medic8.safety.rules import refusal_in, rulings


class PolicyError(RefusedError):
    """
    A rule of the site said no; nothing was changed, or it is put back.

    Attributes:
        refusal: The rule, and the numbers.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal

    def __str__(self) -> str:
        return f"{self.refusal.rule}: {self.refusal.reason}"


class Admitting(Frozen):
    """
    What wants to begin, and all that is to be known beside what the journal's database holds.

    Attributes:
        request: What wants to begin.
        fleet: All targets of the configuration.
        policy: What the site allows.
        observer: When the one who looks is suspected.
        worker: Who looks.
        silent: The worker's references that did not answer.
        pauses: Pauses that are kept elsewhere.
        at: The time now.
    """

    request: Request
    fleet: tuple[Member, ...]
    policy: Policy
    observer: ObserverCheck
    worker: str
    silent: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    at: datetime

    def __call__(self, connection: sa.Connection, recovery: Recovery) -> Reservation:
        """
        How *recovery* counts from now on; asked as the one transaction that begins anything.

        Raises:
            PolicyError: a rule says no.
        """
        if refusal := refusal_in(self._ask(connection)):
            raise PolicyError(refusal)
        return Reservation(
            recovery=recovery.id,
            target=self.request.target.name,
            domains=self.request.target.domains,
            issue=self.request.issue,
            issue_type=self.request.issue_type,
            mandate=self.request.mandate,
            reserved_at=self.at,
        )

    def look(self, journal: Journal) -> tuple[Ruling, ...]:
        """What every rule says now; nothing is reserved."""
        with journal.transaction() as connection:
            return self._ask(connection)

    def told(self, journal: Journal, refusal: Refusal) -> Refusal:
        """*refusal*, kept for somebody to see if it escalates; of many about the same one is news."""
        if not refusal.about:
            return refusal
        about = f"{self.worker} {refusal.about}" if refusal.rule == "observer" else refusal.about
        news = Escalation(rule=refusal.rule, about=about[:_LONGEST], reason=refusal.reason, at=self.at)
        # What is suspected of the one who looks is about no target in particular.
        target = "" if refusal.rule == "observer" else self.request.target.name
        return refusal.model_copy(update={"is_news": watching.escalate(journal, news, target)})

    def _ask(self, connection: sa.Connection) -> tuple[Ruling, ...]:
        begin = self.at - timedelta(seconds=self.policy.looks_back_s)
        snapshot = Snapshot(
            now=self.at,
            fleet=self.fleet,
            reservations=reservations.since(connection, begin),
            pauses=(*self.pauses, *pauses.in_force(connection, self.at)),
            sightings=watching.seen_by(connection, self.worker),
            silent=self.silent,
        )
        return rulings(self.request, snapshot, self.policy, self.observer)


#: As the column has it.
_LONGEST = 200
