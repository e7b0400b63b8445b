"""Pauses in the journal's database: begun by a person, ended by one or by their time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa

from medic8.model.policy import Pause
from medic8.recovery import tables
from medic8.recovery.journal import Journal


def begin(journal: Journal, pause: Pause) -> Pause:
    """Have nothing begun any more where *pause* says; the pause with its id."""
    known = pause.model_copy(update={"id": str(uuid.uuid4())})
    with journal.transaction() as connection:
        connection.execute(
            tables.pauses.insert().values(
                id=known.id,
                on=known.on,
                reason=known.reason,
                by=known.by,
                since_s=known.since.timestamp(),
                until_s=None if known.until is None else known.until.timestamp(),
            )
        )
    return known


def lift(journal: Journal, on: str, *, by: str, at: datetime) -> tuple[Pause, ...]:
    """End the pauses on exactly *on* (empty = that of everything) that are in force; those that were."""
    table = tables.pauses
    with journal.transaction() as connection:
        found = tuple(each for each in in_force(connection, at) if each.on == on)
        those = table.c.id.in_([each.id for each in found])
        connection.execute(table.update().where(those).values(lifted_at_s=at.timestamp(), lifted_by=by))
    return found


def active(journal: Journal, at: datetime) -> tuple[Pause, ...]:
    """The pauses that are in force at *at*."""
    with journal.transaction() as connection:
        return in_force(connection, at)


def in_force(connection: sa.Connection, at: datetime) -> tuple[Pause, ...]:
    """`active` inside a transaction; the oldest first."""
    table = tables.pauses
    goes_on = sa.or_(table.c.until_s.is_(None), table.c.until_s > at.timestamp())
    rows = connection.execute(
        sa.select(table).where(table.c.lifted_at_s.is_(None), goes_on).order_by(table.c.since_s)
    )
    return tuple(
        Pause(
            id=row.id,
            on=row.on,
            reason=row.reason,
            by=row.by,
            since=datetime.fromtimestamp(row.since_s, UTC),
            until=None if row.until_s is None else datetime.fromtimestamp(row.until_s, UTC),
        )
        for row in rows
    )
