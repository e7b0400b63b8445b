"""Who has begun what, as it counts for those that want to begin; written with the recovery itself."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from medic8.model.policy import UNTOUCHED, Reservation
from medic8.model.recovery import Recovery, StepState
from medic8.recovery import tables


def one_at_a_time(connection: sa.Connection) -> None:
    """
    Have every other process that wants to begin something wait until this transaction has ended.

    So that what one reads is what the one before wrote, and of two that want the last place one gets it. Of
    SQLite a transaction is the only one that writes from its beginning; PostgreSQL locks a row for it.
    """
    about = tables.about
    connection.execute(sa.select(about.c.value).where(about.c.what == "identity").with_for_update())


def plain(connection: sa.Connection, recovery: Recovery) -> Reservation:
    """How a recovery counts that no rule was asked about; it stands in its own failure domain."""
    del connection
    plan = recovery.plan
    return Reservation(
        recovery=recovery.id,
        target=plan.target,
        domains=(plan.target,),
        issue=plan.issue_fingerprint,
        reserved_at=recovery.opened_at,
    )


def insert(connection: sa.Connection, reservation: Reservation) -> None:
    """Reserve."""
    connection.execute(
        tables.reservations.insert().values(
            recovery=reservation.recovery,
            target=reservation.target,
            issue=reservation.issue,
            reserved_at_s=reservation.reserved_at.timestamp(),
            end="",
            record=reservation.model_dump_json(exclude={"ended_at", "end"}),
        )
    )


def insert_missing(connection: sa.Connection, recovery: Recovery) -> None:
    """Reserve for an open recovery of an earlier version, unless that is done already."""
    table = tables.reservations
    known = sa.select(table.c.recovery).where(table.c.recovery == recovery.id)
    if connection.scalar(known) is None:
        insert(connection, plain(connection, recovery))


def end(connection: sa.Connection, recovery: Recovery) -> None:
    """Give back what *recovery*, which has ended, had reserved; whoever ended it."""
    is_untouched = all(step.state is StepState.PLANNED for step in recovery.steps)
    ended_at = recovery.closed_at or recovery.opened_at
    connection.execute(
        tables.reservations.update()
        .where(tables.reservations.c.recovery == recovery.id)
        .values(ended_at_s=ended_at.timestamp(), end=UNTOUCHED if is_untouched else recovery.state.value)
    )


def since(connection: sa.Connection, begin: datetime) -> tuple[Reservation, ...]:
    """Those that are open, and those that were begun or ended since *begin*; the oldest first."""
    table, begin_s = tables.reservations, begin.timestamp()
    counts = sa.or_(
        table.c.ended_at_s.is_(None), table.c.ended_at_s >= begin_s, table.c.reserved_at_s >= begin_s
    )
    rows = connection.execute(sa.select(table).where(counts).order_by(table.c.reserved_at_s))
    return tuple(_reservation(row) for row in rows)


def _reservation(row: sa.Row[tuple[object, ...]]) -> Reservation:
    ended_at_s = row.ended_at_s
    return Reservation.model_validate_json(row.record).model_copy(
        update={
            "end": row.end,
            "ended_at": None if ended_at_s is None else datetime.fromtimestamp(ended_at_s, UTC),
        }
    )
