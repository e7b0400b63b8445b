"""What people are to be told of, in the journal's database: written where it becomes true, sent later."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from medic8.analysis import noticing
from medic8.model.notice import Delivery, Notice, Portion, Route, RouteState, Told
from medic8.model.resolution import Resolution
from medic8.recovery import tables
from medic8.recovery.journal import Journal
from medic8.recovery.notices import KEEP_S, forget, put
from medic8.recovery.reservations import one_at_a_time

_NOTICES, _ROWS = tables.notices, tables.deliveries

#: A refusal for the same reason is told again after so long.
ANEW_S = 4 * 3600

#: What could not be sent within this time is given up: who reads it then is misled by it.
GIVE_UP_S = 24 * 3600.0

#: For so long whoever takes a message on may send it; far longer than sending is allowed to take, also by
#: clocks that differ.
CLAIM_S = 300.0

#: Between two attempts; the time doubles.
FIRST_WAIT_S, LONGEST_WAIT_S = 10.0, 900.0

#: So many notices are looked at, and told in one message, at most.
_AT_ONCE = 500


def tell_resolution(journal: Journal, resolution: Resolution, run: str) -> None:
    """Complete what is told of the recovery of *resolution*, and put in what had none."""
    at_s = resolution.ended_at.timestamp()
    with journal.transaction() as connection:
        one_at_a_time(connection)
        mine = (_NOTICES.c.resolution == run) & ~_NOTICES.c.is_routed & (_NOTICES.c.key == "")
        for row in connection.execute(sa.select(_NOTICES).where(mine)).all():
            notice = Notice.model_validate_json(row.record)
            this = _NOTICES.c.id == row.id
            if not notice.recovery:
                continue
            values: dict[str, object] = {"ready_at_s": at_s}
            if notice.recovery == resolution.recovery:
                values["record"] = noticing.completed(notice, resolution).model_dump_json()
            elif resolution.recovery or not noticing.has_begun(notice):
                # Begun, outdated, and begun anew, or begun in vain: only the end of that counts.
                connection.execute(_NOTICES.delete().where(this))
                continue
            connection.execute(_NOTICES.update().where(this).values(**values))
        if not resolution.recovery and (refused := noticing.of_refusal(resolution, run)) is not None:
            rule = "" if resolution.refusal is None else resolution.refusal.rule
            issue = "" if resolution.issue is None else resolution.issue.fingerprint
            key = f"refused {refused.target} {issue} {rule or refused.digest}"
            put(connection, refused, key=key, anew_s=ANEW_S)


def is_anything_due(journal: Journal, now: datetime, routes: Sequence[str]) -> bool:
    """Whether somebody who sends to *routes* would have something to do; asked often, makes nobody wait."""
    now_s = now.timestamp()
    new = sa.select(_NOTICES.c.id).where(~_NOTICES.c.is_routed, _NOTICES.c.ready_at_s <= now_s)
    due = sa.select(_ROWS.c.notice).where(_is_due(now_s), _ROWS.c.route.in_(routes))
    with journal.reading() as connection:
        return any(connection.execute(each.limit(1)).first() is not None for each in (new, due))


def route(journal: Journal, now: datetime, where_to: Callable[[Notice], Sequence[tuple[Route, bool]]]) -> int:
    """
    Decide where each new notice goes.

    Args:
        journal: Where they are.
        now: The time now.
        where_to: The routes of a notice, each with whether it is collected there.
    Returns:
        How many were looked at.
    """
    now_s = now.timestamp()
    new = ~_NOTICES.c.is_routed & (_NOTICES.c.ready_at_s <= now_s)
    with journal.transaction() as connection:
        one_at_a_time(connection)
        forget(connection, now_s - KEEP_S)
        found = connection.execute(
            sa.select(_NOTICES).where(new).order_by(_NOTICES.c.at_s).limit(_AT_ONCE)
        ).all()
        for row in found:
            connection.execute(_NOTICES.update().where(_NOTICES.c.id == row.id).values(is_routed=True))
            if row.at_s <= now_s - GIVE_UP_S:
                continue  # nobody sent anything for that long
            for to, is_collected in where_to(_notice(row)):
                connection.execute(
                    _ROWS.insert().values(
                        notice=row.id,
                        route=to.name,
                        state=Delivery.WAITING,
                        is_collected=is_collected,
                        next_at_s=now_s + to.digest_every_s if is_collected else now_s,
                    )
                )
    return len(found)


def claim(journal: Journal, to: Route, now: datetime) -> tuple[Portion, ...]:
    """
    What is to be sent to *to* now, and by nobody else for a time.

    Up to ``digest_above`` messages within ``digest_within_s`` are sent one by one. What is more becomes one
    message; where none may be sent any more, it waits until one may.
    """
    now_s = now.timestamp()
    mine = (_ROWS.c.route == to.name) & (_ROWS.c.state == Delivery.WAITING)
    free = mine & (_ROWS.c.claimed_until_s <= now_s)
    with journal.transaction() as connection:
        one_at_a_time(connection)
        _give_up(connection, free, now_s)
        room = to.digest_above - _lately(connection, to, now_s)
        at_once = _found(connection, free & ~_ROWS.c.is_collected & (_ROWS.c.next_at_s <= now_s))
        collected = free & _ROWS.c.is_collected
        together = _found(connection, collected & (_ROWS.c.next_at_s <= now_s))
        if together:
            together = _found(connection, collected)  # the others go with the one whose time has come
        portions = list[tuple[sa.Row[tuple[object, ...]], ...]]()
        if at_once and room > 0:
            portions += [(each,) for each in at_once] if len(at_once) <= room else [tuple(at_once)]
        if together and room > len(portions):
            portions.append(tuple(together))
        return tuple(_taken(connection, to, rows, now_s) for rows in portions)


def ended(journal: Journal, to: Route, portion: Portion, now: datetime, reason: str = "") -> None:
    """Note that the message went, or why it did not; of one that somebody else took on since, nothing."""
    now_s = now.timestamp()
    this = (
        (_ROWS.c.route == to.name)
        & (_ROWS.c.message == portion.message)
        & (_ROWS.c.state == Delivery.WAITING)
    )
    values: dict[str, object] = {"state": Delivery.SENT, "ended_at_s": now_s, "reason": ""}
    if reason:
        wait_s = min(FIRST_WAIT_S * 2 ** min(portion.attempt - 1, 20), LONGEST_WAIT_S)
        values = {"next_at_s": now_s + wait_s, "message": "", "reason": reason[:500]}
    with journal.transaction() as connection:
        one_at_a_time(connection)
        connection.execute(_ROWS.update().where(this).values(claimed_until_s=0, **values))


def give_back(journal: Journal, to: Route, portions: Sequence[Portion]) -> None:
    """Let others send what was taken on and not tried."""
    ids = [each.message for each in portions]
    this = (_ROWS.c.route == to.name) & _ROWS.c.message.in_(ids) & (_ROWS.c.state == Delivery.WAITING)
    with journal.transaction() as connection:
        one_at_a_time(connection)
        connection.execute(
            _ROWS.update().where(this).values(claimed_until_s=0, message="", attempts=_ROWS.c.attempts - 1)
        )


def states(journal: Journal, routes: Sequence[str]) -> tuple[RouteState, ...]:
    """How each of *routes* does, and those that are no longer configured and have notices that wait."""
    by_state = (_ROWS.c.route, _ROWS.c.state)
    count = sa.select(*by_state, sa.func.count(), sa.func.max(_ROWS.c.ended_at_s)).group_by(*by_state)
    with journal.reading() as connection:
        found = {(row[0], row[1]): (int(row[2]), row[3]) for row in connection.execute(count)}
        reasons = dict[str, str]()
        unsent = sa.select(_ROWS.c.route, _ROWS.c.reason, _ROWS.c.ended_at_s).where(
            _ROWS.c.state != Delivery.SENT, _ROWS.c.reason != ""
        )
        for row in connection.execute(unsent.order_by(_ROWS.c.next_at_s)):
            sent_at_s = found.get((row.route, Delivery.SENT), (0, None))[1]
            if row.ended_at_s is None or row.ended_at_s > (sent_at_s or 0):
                reasons[row.route] = row.reason
    gone = {name for name, state in found if state == Delivery.WAITING} - set(routes)
    none = (0, None)
    return tuple(
        RouteState(
            name=name,
            waiting=found.get((name, Delivery.WAITING), none)[0],
            sent=found.get((name, Delivery.SENT), none)[0],
            failed=found.get((name, Delivery.FAILED), none)[0],
            last_sent_at=_moment(found.get((name, Delivery.SENT), none)[1]),
            reason=reasons.get(name, ""),
        )
        for name in (*routes, *sorted(gone))
    )


def newest(journal: Journal, limit: int) -> tuple[Told, ...]:
    """The newest notices, and what became of each."""
    with journal.reading() as connection:
        rows = connection.execute(sa.select(_NOTICES).order_by(_NOTICES.c.at_s.desc()).limit(limit)).all()
        chosen = sa.select(_ROWS.c.notice, _ROWS.c.route, _ROWS.c.state).where(
            _ROWS.c.notice.in_([row.id for row in rows])
        )
        known = dict[str, dict[str, Delivery]]()
        for each in connection.execute(chosen.order_by(_ROWS.c.route)):
            known.setdefault(each.notice, {})[each.route] = Delivery(each.state)
    return tuple(
        Told(notice=_notice(row), is_routed=row.is_routed, deliveries=known.get(row.id, {})) for row in rows
    )


# -- inside one transaction ----------------------------------------------------------------


def _is_due(now_s: float) -> sa.ColumnElement[bool]:
    return (
        (_ROWS.c.state == Delivery.WAITING)
        & (_ROWS.c.claimed_until_s <= now_s)
        & (_ROWS.c.next_at_s <= now_s)
    )


def _give_up(connection: sa.Connection, free: sa.ColumnElement[bool], now_s: float) -> None:
    old = sa.select(_NOTICES.c.id).where(_NOTICES.c.at_s <= now_s - GIVE_UP_S)
    why = sa.case((_ROWS.c.reason == "", "nobody could send it in time"), else_=_ROWS.c.reason)
    connection.execute(
        _ROWS.update()
        .where(free & _ROWS.c.notice.in_(old))
        .values(state=Delivery.FAILED, ended_at_s=now_s, reason=why)
    )


def _lately(connection: sa.Connection, to: Route, now_s: float) -> int:
    """How many messages went to *to* within its time, or are on their way."""
    went = (_ROWS.c.state == Delivery.SENT) & (_ROWS.c.ended_at_s > now_s - to.digest_within_s)
    goes = (_ROWS.c.state == Delivery.WAITING) & (_ROWS.c.claimed_until_s > now_s)
    lately = sa.select(sa.func.count(sa.distinct(_ROWS.c.message))).where(
        _ROWS.c.route == to.name, went | goes
    )
    return int(connection.scalar(lately) or 0)


def _found(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[sa.Row[tuple[object, ...]]]:
    joined = _ROWS.join(_NOTICES, _NOTICES.c.id == _ROWS.c.notice)
    columns = (_NOTICES.c.id, _NOTICES.c.record, _ROWS.c.attempts)
    chosen = sa.select(*columns).select_from(joined).where(where).order_by(_NOTICES.c.at_s)
    return list(connection.execute(chosen.limit(_AT_ONCE)).all())


def _taken(
    connection: sa.Connection, to: Route, rows: Sequence[sa.Row[tuple[object, ...]]], now_s: float
) -> Portion:
    message = str(uuid.uuid4())
    this = (_ROWS.c.route == to.name) & _ROWS.c.notice.in_([row.id for row in rows])
    taken = {"message": message, "claimed_until_s": now_s + CLAIM_S, "attempts": _ROWS.c.attempts + 1}
    connection.execute(_ROWS.update().where(this).values(**taken))
    return Portion(
        message=message,
        notices=tuple(_notice(row) for row in rows),
        attempt=max(int(row.attempts) for row in rows) + 1,
    )


def _notice(row: sa.Row[tuple[object, ...]]) -> Notice:
    return Notice.model_validate_json(row.record).model_copy(update={"id": row.id})


def _moment(at_s: float | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)
