"""What the journal knows of recoveries after their end: found by name, taken back later, let go of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.recovery import entries, tables
from medic8.recovery.journal import Journal

#: As much of an id as no other shares by chance; `medic8 history` shows so much.
LEAST_DIGITS = 8

#: More than any resolution has.
_MOST_FOUND = 20

#: States in which a step may still be in force.
STANDS = frozenset({StepState.BEGUN, StepState.DONE, StepState.COMMITTED})


def find(journal: Journal, name: str) -> Recovery:
    """
    The one recovery that *name* means: its id, that of the run that is its resolution, or its beginning.

    Of several recoveries of one run it is the one that left something behind.

    Raises:
        ConfigurationError: none or more than one is meant.
    """
    start = name.lower()
    if len(start) < LEAST_DIGITS:
        raise ConfigurationError(
            f"{name!r}: it takes at least the first {LEAST_DIGITS} digits of a run's or a recovery's id"
        )
    table = tables.recoveries
    found = _beginning_with(journal, start, (table.c.id, table.c.resolution), limit=_MOST_FOUND)
    if not found:
        raise ConfigurationError(
            f"the journal knows no recovery, and no run with a recovery, that begins with {name!r}; "
            "medic8 history lists the runs, and one that changed nothing has no recovery"
        )
    if len({each.resolution or each.id for each in found}) > 1:
        meant = ", ".join(each.id for each in found)
        raise ConfigurationError(f"more than one recovery is meant by {name!r}: {meant}")
    standing = [each for each in found if any(step.state in STANDS for step in each.steps)]
    if len(standing) > 1:
        meant = ", ".join(each.id for each in reversed(standing))
        raise ConfigurationError(
            f"run {name!r} has {len(standing)} recoveries that left something behind; name one of them, "
            f"the newest first: {meant}"
        )
    return (standing or found)[-1]


def beginning_with(journal: Journal, start: str) -> tuple[Recovery, ...]:
    """Recoveries, open ones too, whose id begins with *start*; at most two, to tell one from many."""
    return _beginning_with(journal, start, (tables.recoveries.c.id,), limit=2)


def every(journal: Journal) -> Iterator[Recovery]:
    """All recoveries without their steps; one is held in memory at a time."""
    with journal.transaction() as connection:
        ids = connection.scalars(sa.select(tables.recoveries.c.id)).all()
    for recovery_id in ids:
        with journal.transaction() as connection:
            record = connection.scalar(_record_of(recovery_id))
        yield entries.parsed(recovery_id, str(record))


def taken_back_by(journal: Journal, recovery_id: str) -> tuple[Recovery, ...]:
    """The recoveries, open ones too, that undo a recovery that had ended; the oldest first."""
    with journal.transaction() as connection:
        return _undoing(connection, recovery_id)


def being_read(journal: Journal) -> frozenset[str]:
    """Ids of the recoveries that an undo in progress, or one that waits for a person, takes back."""
    undoes = (each.plan.undoes for each in journal.holding())
    return frozenset(each.recovery for each in undoes if each is not None)


def require_kept(journal: Journal, recovery_id: str) -> Recovery:
    """
    A recovery whose saved state is not let go of while somebody who has asked here holds an open undo.

    The row is locked for the look, as `let_go` does: one of the two sees the other.

    Raises:
        RefusedError: retention has let go of it.
    """
    with journal.transaction() as connection:
        _lock(connection, recovery_id)
        recovery = entries.read(connection, recovery_id)
    if recovery.pruned_at is not None:
        raise RefusedError(
            f"what recovery {recovery.id} had saved in {recovery.saved_state} was removed by retention on "
            f"{recovery.pruned_at:%Y-%m-%d %H:%M:%S %Z}; see keep_days and keep_mib under [recovery]"
        )
    return recovery


def let_go(journal: Journal, recovery_id: str, *, at: datetime) -> bool:
    """
    Note that the saved state of a recovery is no longer kept, before it is removed.

    Whoever dies between the note and the removal leaves a folder that the next
    pruning removes. The other way round, the record would promise what is gone.

    Returns:
        Whether it may be removed; False if the recovery is open, waits for a person, or is being undone.
    """
    with journal.transaction() as connection:
        _lock(connection, recovery_id)
        recovery = entries.read(connection, recovery_id)
        if recovery.pruned_at is not None:
            return True
        waits = recovery.state is RecoveryState.NEEDS_PERSON and recovery.acknowledged_at is None
        if recovery.state is RecoveryState.OPEN or waits:
            return False
        if any(
            each.state is RecoveryState.OPEN
            or (each.state is RecoveryState.NEEDS_PERSON and each.acknowledged_at is None)
            for each in _undoing(connection, recovery_id)
        ):
            return False
        entries.write(connection, recovery.model_copy(update={"pruned_at": at}))
        return True


def runs_beginning_with(journal: Journal, start: str, *, limit: int = 100) -> tuple[str, ...]:
    """Runs, at most *limit*, whose id begins with *start* and that have a recovery that has ended."""
    run = tables.recoveries.c.resolution
    chosen = sa.select(run).where(
        tables.recoveries.c.state != RecoveryState.OPEN,
        run != "",
        run.startswith(start.lower(), autoescape=True),
    )
    with journal.transaction() as connection:
        return tuple(connection.scalars(chosen.distinct().order_by(run).limit(limit)).all())


def _beginning_with(
    journal: Journal, start: str, columns: tuple[sa.Column[str], ...], *, limit: int
) -> tuple[Recovery, ...]:
    begins = sa.or_(*(column.startswith(start, autoescape=True) for column in columns))
    with journal.transaction() as connection:
        ids = connection.scalars(sa.select(tables.recoveries.c.id).where(begins).limit(limit)).all()
        found = [entries.read(connection, recovery_id) for recovery_id in ids]
    return tuple(sorted(found, key=lambda each: each.opened_at))


def _undoing(connection: sa.Connection, recovery_id: str) -> tuple[Recovery, ...]:
    table = tables.recoveries
    says_so = table.c.record.contains(f'"undoes":{{"recovery":"{recovery_id}"', autoescape=True)
    ids = connection.scalars(sa.select(table.c.id).where(says_so)).all()
    found = [entries.read(connection, each) for each in ids]
    undoing = [each for each in found if each.plan.undoes and each.plan.undoes.recovery == recovery_id]
    return tuple(sorted(undoing, key=lambda each: each.opened_at))


def _lock(connection: sa.Connection, recovery_id: str) -> None:
    # SQLite has the whole database locked already.
    table = tables.recoveries
    connection.execute(sa.select(table.c.id).where(table.c.id == recovery_id).with_for_update())


def _record_of(recovery_id: str) -> sa.Select[tuple[str]]:
    return sa.select(tables.recoveries.c.record).where(tables.recoveries.c.id == recovery_id)
