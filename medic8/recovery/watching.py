"""What workers saw of their targets, and what somebody was told of it, in the journal's database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from medic8.analysis import noticing
from medic8.model.policy import Escalation, Sighting
from medic8.recovery import notices, reservations, tables
from medic8.recovery.journal import Journal

#: What goes on so long after it was told is told again.
ANEW = timedelta(hours=1)

#: That nobody looks at a target is told again after so long.
_SILENT_ANEW_S = 12 * 3600


def note(journal: Journal, worker: str, target: str, *, is_ill: bool, at: datetime) -> None:
    """Note what *worker* saw of *target*; since when it is so stays as long as it stays so."""
    table = tables.sightings
    this = table.c.worker == worker, table.c.target == target
    with journal.transaction() as connection:
        reservations.one_at_a_time(connection)
        known = connection.execute(sa.select(table.c.is_ill).where(*this)).first()
        values = {"is_ill": is_ill, "since_s": at.timestamp()}
        if known is None:
            connection.execute(table.insert().values(worker=worker, target=target, **values))
        elif bool(known.is_ill) is not is_ill:
            connection.execute(table.update().where(*this).values(**values))


def seen_by(connection: sa.Connection, worker: str) -> tuple[Sighting, ...]:
    """What *worker* saw of each of its targets when it last looked."""
    table = tables.sightings
    rows = connection.execute(sa.select(table).where(table.c.worker == worker).order_by(table.c.target))
    return tuple(
        Sighting(target=row.target, is_ill=bool(row.is_ill), since=datetime.fromtimestamp(row.since_s, UTC))
        for row in rows
    )


def escalate(journal: Journal, told: Escalation, target: str = "") -> bool:
    """Whether *told* is news, of many that say so at once to exactly one; it is kept, and people are told."""
    with journal.transaction() as connection:
        return escalate_within(connection, told, target)


def escalate_within(connection: sa.Connection, told: Escalation, target: str = "") -> bool:
    """
    `escalate` in the transaction in which it becomes true.

    Args:
        connection: The transaction.
        told: What somebody has to look at.
        target: The target that it is about; empty = none.
    """
    reservations.one_at_a_time(connection)
    table = tables.escalations
    this = table.c.rule == told.rule, table.c.about == told.about
    values = {"reason": told.reason, "at_s": told.at.timestamp()}
    known = connection.scalar(sa.select(table.c.at_s).where(*this))
    if known is None:
        connection.execute(table.insert().values(rule=told.rule, about=told.about, **values))
    elif known > (told.at - ANEW).timestamp():
        return False
    else:
        connection.execute(table.update().where(*this).values(**values))
    notice = noticing.of_escalation(told, target)
    if told.rule == noticing.SCHEDULE:
        # It is looked at for as long as it lasts, also where somebody paused it on purpose.
        return notices.put(connection, notice, key=f"{told.rule} {told.about}", anew_s=_SILENT_ANEW_S)
    notices.put(connection, notice)
    return True


def escalations(journal: Journal, since: datetime) -> tuple[Escalation, ...]:
    """What was told since *since*, the newest first."""
    table = tables.escalations
    with journal.transaction() as connection:
        rows = connection.execute(
            sa.select(table).where(table.c.at_s >= since.timestamp()).order_by(table.c.at_s.desc())
        ).all()
    return tuple(
        Escalation(
            rule=row.rule, about=row.about, reason=row.reason, at=datetime.fromtimestamp(row.at_s, UTC)
        )
        for row in rows
    )
