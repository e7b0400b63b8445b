"""Write down, inside the transaction in which it becomes true, what people are to be told of."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from medic8.analysis import noticing
from medic8.model.notice import Notice
from medic8.model.recovery import Recovery
from medic8.recovery import tables

#: Who closed a recovery says within this time why it came to that; whoever dies first leaves it as it is.
GRACE_S = 15.0

#: For so long they are kept, sent or not.
KEEP_S = 30 * 86_400.0

_TABLE = tables.notices


def put(
    connection: sa.Connection, notice: Notice, *, key: str = "", anew_s: float = 0.0, in_s: float = 0.0
) -> bool:
    """
    Keep *notice* for whoever sends it.

    Args:
        connection: The transaction in which it becomes true.
        notice: What to tell.
        key: What is not told again within *anew_s*; empty = it is told in any case.
        anew_s: That time, in seconds.
        in_s: Seconds after which it is told; until then it may be completed.
    Returns:
        Whether it is told; False if the same was lately.
    """
    at_s = notice.at.timestamp()
    if key:
        same = sa.select(_TABLE.c.id).where(_TABLE.c.key == key[:_LONGEST], _TABLE.c.at_s > at_s - anew_s)
        if connection.execute(same.limit(1)).first() is not None:
            return False
    connection.execute(
        _TABLE.insert().values(
            id=str(uuid.uuid4()),
            key=key[:_LONGEST],
            resolution=notice.run,
            at_s=at_s,
            ready_at_s=at_s + in_s,
            is_routed=False,
            record=notice.model_dump_json(exclude={"id"}),
        )
    )
    return True


def put_end(connection: sa.Connection, recovery: Recovery) -> None:
    """Tell how *recovery* ended; its own process has a moment to say why."""
    by_itself = bool(recovery.resolution) and not recovery.ended_by
    put(connection, noticing.of_recovery(recovery), in_s=GRACE_S if by_itself else 0.0)


def forget(connection: sa.Connection, before_s: float) -> None:
    """
    Remove what became true before *before_s*.

    Not by whoever ends a recovery, which must not wait for others that do the same.
    """
    old = sa.select(_TABLE.c.id).where(_TABLE.c.at_s < before_s)
    if connection.execute(old.limit(1)).first() is not None:
        connection.execute(tables.deliveries.delete().where(tables.deliveries.c.notice.in_(old)))
        connection.execute(_TABLE.delete().where(_TABLE.c.at_s < before_s))


#: As the column has it.
_LONGEST = 300
