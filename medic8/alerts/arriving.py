"""Take batches of alerts into the journal's database, many in one transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from medic8.alerts.once import Known, Step, step
from medic8.alerts.routing import Route
from medic8.model.alert import Alert, Batch, End, Taken
from medic8.recovery import tables

#: Any number that all take for the same lock: who takes alerts in does so one at a time.
_LOCK = 0x6D65646963385F61

#: SQLite takes so many values in one statement at least.
_CHUNK = 500


@dataclass(frozen=True)
class Arrival:
    """
    One request, read and routed.

    Attributes:
        source: Who sent it.
        batch: What was in it.
        routes: Where each of its alerts leads, in their order.
        beats: The heartbeat that each is a beat of, by its name; empty = none.
        around: Where alerts that were left out may be from, by target.
    """

    source: str
    batch: Batch
    routes: Sequence[Route]
    beats: Sequence[str] = ()
    around: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class _Open:
    """An open generation while it is changed."""

    values: dict[str, Any]
    is_new: bool = False
    is_changed: bool = False


@dataclass
class _Work:
    """All that a transaction has read, and is going to write."""

    now_s: float
    known: dict[str, Known] = field(default_factory=dict)
    open: dict[str, _Open] = field(default_factory=dict)
    new: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    beats: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


def one_at_a_time(connection: sa.Connection) -> None:
    """Have everybody else wait who changes the inbox; of SQLite a transaction is the only one that writes."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def take(connection: sa.Connection, arrivals: Sequence[Arrival], now_s: float) -> list[Taken]:
    """
    Take *arrivals* in, in their order, inside a transaction; what became of each.

    Args:
        connection: In a transaction that is durable when it ends.
        arrivals: What came.
        now_s: The time now, in seconds since the epoch.
    """
    work = _read(connection, arrivals, now_s)
    taken = [_take_one(each, work) for each in arrivals]
    _write(connection, work)
    _keep_malformed(connection, arrivals, now_s)
    return taken


def _read(connection: sa.Connection, arrivals: Sequence[Arrival], now_s: float) -> _Work:
    alerts, generations = tables.alerts, tables.alert_generations
    ids = list({alert.identity for each in arrivals for alert in each.batch.alerts})
    work = _Work(now_s)
    columns = (
        alerts.c.id,
        alerts.c.status,
        alerts.c.generation,
        generations.c.outcome,
        generations.c.ended_at_s,
        generations.c.look_back_s,
    )
    joined = alerts.outerjoin(generations, generations.c.id == alerts.c.generation)
    for some in _chunks(ids):
        for row in connection.execute(sa.select(*columns).select_from(joined).where(alerts.c.id.in_(some))):
            work.known[row.id] = Known(
                is_firing=row.status == "firing",
                generation=row.generation,
                outcome=End(row.outcome) if row.outcome else None,
                ended_at_s=row.ended_at_s or 0.0,
                look_back_s=row.look_back_s or 0,
            )
    targets = {route.target for each in arrivals for route in each.routes if route.target}
    targets |= {name for each in arrivals for names in each.around.values() for name in names}
    for some in _chunks(list(targets)):
        for row in connection.execute(sa.select(generations).where(generations.c.open_target.in_(some))):
            work.open[row.target] = _Open(dict(row._mapping))  # noqa: SLF001 - SQLAlchemy's public name for it
    return work


def _take_one(arrival: Arrival, work: _Work) -> Taken:
    count = dict.fromkeys(("accepted", "repeated", "resolved", "ignored", "unknown"), 0)
    beats = arrival.beats or ("",) * len(arrival.batch.alerts)
    for alert, route, beat in zip(arrival.batch.alerts, arrival.routes, beats, strict=True):
        known = work.known.get(alert.identity)
        if beat and alert.is_firing:
            work.beats.add(beat)
        does = step(alert, known, work.now_s)
        leads = bool(route.target) and not route.is_ignored and not beat
        if leads and does in {Step.JOINS, Step.COMES_AGAIN}:
            generation = _joined(work, route, is_again=does is Step.COMES_AGAIN)
        else:
            generation = "" if known is None else known.generation
        if does is Step.ENDS and generation:
            work.ended.add(generation)
        is_news = does is Step.JOINS and (known is None or not known.is_firing)
        _note(
            work, alert, route, generation, known, is_ignored=route.is_ignored or bool(beat), is_news=is_news
        )
        count["resolved" if does is Step.ENDS else "accepted" if is_news else "repeated"] += 1
        count["ignored"] += bool(route.is_ignored or beat)
        count["unknown"] += not route.target and not route.is_ignored and not beat
    if arrival.batch.left_out:
        _widen(arrival, work)
    return Taken(malformed=len(arrival.batch.malformed), **count)


def _widen(arrival: Arrival, work: _Work) -> None:
    """Have all looked at that the alerts may be about which the sender left out."""
    for route in arrival.routes:
        if not route.target or route.is_ignored:
            continue
        for name in arrival.around.get(route.target, ()):
            if name not in work.open:
                _joined(work, route.model_copy(update={"target": name}), is_again=False)
                work.open[name].values["reason"] = f"{arrival.source} left out alerts near {route.target}"


def _joined(work: _Work, route: Route, *, is_again: bool) -> str:
    """The generation of the target that *route* leads to, opened if none is, with one alert more."""
    there = work.open.get(route.target)
    if there is None:
        there = work.open[route.target] = _Open(
            {
                "id": str(uuid.uuid4()),
                "target": route.target,
                "open_target": route.target,
                "opened_at_s": work.now_s,
                "accepted": 0,
                "seen": 0,
                "look_back_s": route.look_back_s,
                "is_again": is_again,
                "is_treating": False,
                "reason": "",
                "to_cancel": False,
            },
            is_new=True,
        )
    there.values["accepted"] += 1
    there.values["look_back_s"] = max(there.values["look_back_s"], route.look_back_s)
    there.values["is_again"] = there.values["is_again"] and is_again
    there.is_changed = True
    return str(there.values["id"])


def _note(
    work: _Work,
    alert: Alert,
    route: Route,
    generation: str,
    known: Known | None,
    *,
    is_ignored: bool,
    is_news: bool,
) -> None:
    """Have the row of *alert* written, and know it for what comes after it in the same transaction."""
    values: dict[str, Any] = {
        "status": alert.status.value,
        "ends_at_s": alert.ends_at.timestamp() if alert.ends_at else None,
        "annotations": json.dumps(alert.annotations),
        "target": route.target,
        "issue": route.issue.value if route.issue else "",
        "routed_by": route.by,
        "is_ignored": is_ignored,
        "seen_at_s": work.now_s,
        "generation": generation,
    }
    work.known[alert.identity] = (
        Known(is_firing=alert.is_firing, generation=generation)
        if known is None or known.generation != generation
        else known.model_copy(update={"is_firing": alert.is_firing})
    )
    if there := work.new.get(alert.identity):
        there.update(values)
        there["times"] += 1
    elif known is None:
        work.new[alert.identity] = {
            **values,
            "id": alert.identity,
            "source": alert.source,
            "fingerprint": alert.fingerprint,
            "name": alert.name,
            "labels": json.dumps(alert.labels),
            "starts_at_s": alert.starts_at.timestamp() if alert.starts_at else None,
            "accepted_at_s": work.now_s,
            "times": 1,
        }
    else:
        before = work.changed.get(alert.identity, {"more": 0, "anew": None})
        anew = work.now_s if is_news else before["anew"]
        work.changed[alert.identity] = {
            **values,
            "this": alert.identity,
            "more": before["more"] + 1,
            "anew": anew,
        }


def _write(connection: sa.Connection, work: _Work) -> None:
    alerts, generations = tables.alerts, tables.alert_generations
    if work.new:
        connection.execute(alerts.insert(), list(work.new.values()))
    if work.changed:
        set_to: dict[str, Any] = {
            name: sa.bindparam(f"b_{name}")
            for name in (
                "status",
                "ends_at_s",
                "annotations",
                "target",
                "issue",
                "routed_by",
                "is_ignored",
                "seen_at_s",
                "generation",
            )
        }
        set_to["times"] = alerts.c.times + sa.bindparam("b_more")
        set_to["accepted_at_s"] = sa.func.coalesce(
            sa.bindparam("b_anew", type_=sa.Float(53)), alerts.c.accepted_at_s
        )
        connection.execute(
            alerts.update().where(alerts.c.id == sa.bindparam("b_this")).values(**set_to),
            [{f"b_{name}": value for name, value in each.items()} for each in work.changed.values()],
        )
    if new := [each.values for each in work.open.values() if each.is_new]:
        connection.execute(generations.insert(), new)
    for each in work.open.values():
        if each.is_changed and not each.is_new:
            names = ("accepted", "look_back_s", "is_again")
            connection.execute(
                generations.update()
                .where(generations.c.id == each.values["id"])
                .values(**{name: each.values[name] for name in names})
            )
    for beat in work.beats:
        _note_beat(connection, beat, work.now_s)
    for generation in work.ended:
        _clear_if_over(connection, generation, work.now_s)


def _clear_if_over(connection: sa.Connection, generation: str, now_s: float) -> None:
    """End a generation whose alerts are all over, unless its run has begun to treat."""
    alerts, generations = tables.alerts, tables.alert_generations
    fires = (
        sa.select(alerts.c.id).where(alerts.c.generation == generation, alerts.c.status == "firing").limit(1)
    )
    if connection.execute(fires).first() is not None:
        return
    connection.execute(
        generations.update()
        .where(
            generations.c.id == generation,
            generations.c.open_target.is_not(None),
            generations.c.is_treating.is_(sa.false()),
        )
        .values(
            open_target=None,
            outcome=End.CLEARED.value,
            reason="every alert was resolved before anything was begun",
            ended_at_s=now_s,
            to_cancel=generations.c.run != "",
        )
    )


def _note_beat(connection: sa.Connection, name: str, now_s: float) -> None:
    table = tables.alert_heartbeats
    values = {"seen_at_s": now_s, "is_silent": False}
    if not connection.execute(table.update().where(table.c.name == name).values(**values)).rowcount:
        connection.execute(table.insert().values(name=name, **values))


def _keep_malformed(connection: sa.Connection, arrivals: Iterable[Arrival], now_s: float) -> None:
    rows = [
        {
            "id": str(uuid.uuid4()),
            "source": each.source,
            "at_s": now_s,
            "reason": what.reason,
            "excerpt": what.excerpt,
        }
        for each in arrivals
        for what in each.batch.malformed
    ]
    if rows:
        connection.execute(tables.alerts_malformed.insert(), rows)


def _chunks(values: list[str]) -> Iterable[list[str]]:
    return (values[begin : begin + _CHUNK] for begin in range(0, len(values), _CHUNK))
