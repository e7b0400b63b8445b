"""Forget requests for approval that were decided long ago; the history of runs keeps what was said."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from medic8.model.approving import Approvals
from medic8.recovery import tables
from medic8.recovery.journal import Journal

#: An approval that nobody took up lapses so long after its request; a day is enough for that.
_LEAST = timedelta(days=1)


def forget(journal: Journal, how: Approvals, at: datetime, *, is_dry_run: bool = False) -> int:
    """
    Remove requests whose end is longer ago than ``keep_days``, with their links; how many those were.

    What still counts stays: what waits, a no as long as it is not asked again, and what the history of
    runs has not been told.

    Args:
        journal: Where they are kept.
        how: For how long, and for how long a no counts.
        at: The time now.
        is_dry_run: Only count them.
    """
    table, runs, links = tables.approvals, tables.approval_runs, tables.approval_links
    kept = max(timedelta(days=how.keep_days), timedelta(seconds=how.quiet_s), _LEAST)
    before_s = (at - kept).timestamp()
    # Whoever reads a request takes its time for over by itself, so all of these have ended.
    over = table.c.is_told & (table.c.expires_at_s < before_s)
    over &= sa.func.coalesce(table.c.decided_at_s, table.c.expires_at_s) < before_s
    with journal.transaction() as connection:
        old = connection.scalars(sa.select(table.c.id).where(over)).all()
        if not is_dry_run:
            chosen = sa.select(table.c.id).where(over)
            for other in (runs, links):
                connection.execute(other.delete().where(other.c.approval.in_(chosen)))
            connection.execute(table.delete().where(over))
        return len(old)
