"""The alerts that were taken in, and the runs that answer them; every method is one durable transaction."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from medic8.alerts.arriving import Arrival, one_at_a_time, take
from medic8.analysis.noticing import EXPIRED, HEARTBEAT
from medic8.model.alert import Alert, AlertStatus, End, Generation, MalformedRow, Row, Taken
from medic8.model.notice import RouteState
from medic8.model.policy import Escalation
from medic8.recovery import outbox, tables, watching
from medic8.recovery.journal import Journal

#: So many runs are started for a generation whose runs die.
MOST_ATTEMPTS = 3


class Inbox:
    """What is known of alerts, in the database of a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def take(self, arrivals: Sequence[Arrival], now_s: float) -> list[Taken]:
        """
        Take *arrivals* in, all or none; what became of each.

        Raises:
            SilentError: the database did not answer; whether they are in is not known; a repeat is harmless.
        """
        with self._alone() as connection:
            return take(connection, arrivals, now_s)

    # -- what answers them -------------------------------------------------------------------

    def begin_diagnosis(self, generation: str) -> bool:
        """Note that a diagnosis begins, for all alerts that have joined by now; false if none needs it."""
        table = tables.alert_generations
        return self._changed(generation, seen=table.c.accepted)

    def begin_treatment(self, generation: str) -> bool:
        """Note that the target is treated from now on; false if every alert was resolved meanwhile."""
        return self._changed(generation, is_treating=True)

    def end(self, generation: str, outcome: End, now_s: float, reason: str = "") -> bool:
        """
        End *generation*; false if an alert has joined it since its last diagnosis began.

        True as well if it has been ended before.
        """
        table = tables.alert_generations
        with self._alone() as connection:
            ended = connection.execute(
                table.update()
                .where(
                    table.c.id == generation,
                    table.c.open_target.is_not(None),
                    table.c.seen >= table.c.accepted,
                )
                .values(_over(outcome, now_s, reason))
            ).rowcount
            return bool(ended) or not _is_open(connection, generation)

    # -- what starts runs --------------------------------------------------------------------

    def waiting(self) -> tuple[Generation, ...]:
        """Open generations without a run, the oldest first."""
        table = tables.alert_generations
        return self._generations(table.c.open_target.is_not(None), table.c.run == "")

    def running(self) -> tuple[Generation, ...]:
        """Open generations with a run, the oldest first."""
        table = tables.alert_generations
        return self._generations(table.c.open_target.is_not(None), table.c.run != "")

    def to_cancel(self) -> tuple[Generation, ...]:
        """Ended generations whose run has not been told that it is not needed."""
        return self._generations(tables.alert_generations.c.to_cancel.is_(sa.true()))

    def link(self, generation: Generation, run: str) -> bool:
        """Note that *run* answers *generation*; false if that ended, and the run is to be cancelled."""
        table = tables.alert_generations
        this = table.c.id == generation.id, table.c.attempt == generation.attempt, table.c.run.in_(("", run))
        with self._alone() as connection:
            connection.execute(table.update().where(*this).values(run=run, reason=""))
            gone = connection.execute(
                table.update().where(*this, table.c.outcome == End.CLEARED.value).values(to_cancel=True)
            )
            return not gone.rowcount

    def cancelled(self, generation: str) -> None:
        """Note that its run has been told."""
        table = tables.alert_generations
        with self._alone() as connection:
            connection.execute(table.update().where(table.c.id == generation).values(to_cancel=False))

    def hold(self, generation: str, reason: str) -> None:
        """Note why no run is started for *generation* yet."""
        table = tables.alert_generations
        with self._alone() as connection:
            this = table.c.id == generation, table.c.reason != reason
            connection.execute(table.update().where(*this).values(reason=reason[:500]))

    def give_up(self, generation: Generation, outcome: End, now_s: float, reason: str) -> bool:
        """
        End *generation* although nobody has looked, and have people told.

        Returns:
            False if somebody else ended it, or it has a run by now.
        """
        table = tables.alert_generations
        with self._alone() as connection:
            this = [table.c.id == generation.id, table.c.open_target.is_not(None)]
            if outcome is End.EXPIRED:
                this.append(table.c.run == "")
            done = connection.execute(table.update().where(*this).values(_over(outcome, now_s, reason)))
            if done.rowcount:
                told = _told(EXPIRED, generation.target, reason, now_s)
                watching.escalate_within(connection, told, generation.target)
            return bool(done.rowcount)

    def run_died(self, generation: Generation, now_s: float, reason: str) -> bool:
        """Have another run started for one whose run died; false, and it is ended, after too many."""
        table = tables.alert_generations
        if generation.attempt >= MOST_ATTEMPTS:
            self.give_up(generation, End.FAILED, now_s, reason)
            return False
        with self._alone() as connection:
            connection.execute(
                table.update()
                .where(
                    table.c.id == generation.id,
                    table.c.run == generation.run,
                    table.c.open_target.is_not(None),
                )
                .values(run="", attempt=generation.attempt + 1, is_treating=False, reason=reason[:500])
            )
        return True

    # -- what is looked at -------------------------------------------------------------------

    def rows(self, *, limit: int, is_open_only: bool = False, target: str | None = None) -> tuple[Row, ...]:
        """Alerts with what answers them, those sent last first."""
        where = list[sa.ColumnElement[bool]]()
        if is_open_only:
            where.append(tables.alerts.c.status == AlertStatus.FIRING.value)
        if target is not None:
            where.append(tables.alerts.c.target == target)
        return self._rows(limit, *where)

    def called(self, name: str, *, limit: int) -> tuple[Row, ...]:
        """The alerts whose id begins with *name*, or that of the run that answers them, as `rows`."""
        runs = tables.alert_generations.c.run
        begins = (each.startswith(name.lower(), autoescape=True) for each in (tables.alerts.c.id, runs))
        return self._rows(limit, sa.or_(*begins))

    def malformed(self, *, limit: int, since_s: float = 0.0) -> tuple[MalformedRow, ...]:
        """What was no alert since a time, in seconds since the epoch; the newest first."""
        table = tables.alerts_malformed
        question = sa.select(table).where(table.c.at_s >= since_s).order_by(table.c.at_s.desc()).limit(limit)
        with self._journal.reading() as connection:
            return tuple(
                MalformedRow(source=row.source, at_s=row.at_s, reason=row.reason, excerpt=row.excerpt)
                for row in connection.execute(question)
            )

    def counts(self) -> dict[str, int]:
        """How many generations wait for a run or have one; how many alerts fire about no known target."""
        alerts, table = tables.alerts, tables.alert_generations
        is_open = table.c.open_target.is_not(None)
        unknown = (
            alerts.c.target == "",
            alerts.c.is_ignored.is_(sa.false()),
            alerts.c.status == AlertStatus.FIRING.value,
        )

        def number(of: sa.Table, *where: sa.ColumnElement[bool]) -> int:
            return int(connection.scalar(sa.select(sa.func.count()).select_from(of).where(*where)) or 0)

        with self._alone() as connection:
            return {
                "waiting": number(table, is_open, table.c.run == ""),
                "running": number(table, is_open, table.c.run != ""),
                "unknown": number(alerts, *unknown),
            }

    def routes(self, names: Sequence[str]) -> tuple[RouteState, ...]:
        """How notifications to the routes called *names* do."""
        return outbox.states(self._journal, names) if names else ()

    def ping(self) -> None:
        """
        See that something can be written.

        Raises:
            SilentError: it cannot.
        """
        table = tables.alert_heartbeats
        with self._alone() as connection:
            connection.execute(table.delete().where(table.c.name == ""))

    def silent(self, every_s: dict[str, int], now_s: float) -> tuple[str, ...]:
        """
        Heartbeats that have stopped and of which people were not told yet; they are.

        One never heard counts from now on.
        """
        table = tables.alert_heartbeats
        found = list[str]()
        with self._alone() as connection:
            known = {row.name: row for row in connection.execute(sa.select(table))}
            for name, every in every_s.items():
                if name not in known:
                    connection.execute(table.insert().values(name=name, seen_at_s=now_s, is_silent=False))
                elif not known[name].is_silent and known[name].seen_at_s + every < now_s:
                    connection.execute(table.update().where(table.c.name == name).values(is_silent=True))
                    told = _told(HEARTBEAT, name, silence_of(name, every), now_s)
                    watching.escalate_within(connection, told)
                    found.append(name)
        return tuple(found)

    def forget(self, before_s: float) -> int:
        """Remove alerts that were not sent since *before_s*, and what answered them; how many."""
        alerts, table, malformed = tables.alerts, tables.alert_generations, tables.alerts_malformed
        with self._alone() as connection:
            gone = connection.execute(alerts.delete().where(alerts.c.seen_at_s < before_s)).rowcount
            connection.execute(malformed.delete().where(malformed.c.at_s < before_s))
            still = sa.select(alerts.c.generation)
            connection.execute(
                table.delete().where(
                    table.c.ended_at_s < before_s, table.c.id.not_in(still), table.c.to_cancel.is_(sa.false())
                )
            )
        return gone

    @contextlib.contextmanager
    def _alone(self) -> Iterator[sa.Connection]:
        with self._journal.transaction() as connection:
            one_at_a_time(connection)
            yield connection

    def _rows(self, limit: int, *where: sa.ColumnElement[bool]) -> tuple[Row, ...]:
        alerts, generations = tables.alerts, tables.alert_generations
        joined = alerts.outerjoin(generations, generations.c.id == alerts.c.generation)
        columns: list[Any] = [alerts, *(each.label(f"g_{each.name}") for each in generations.c)]
        question = sa.select(*columns).select_from(joined).where(*where)
        with self._journal.reading() as connection:
            newest = question.order_by(alerts.c.seen_at_s.desc()).limit(limit)
            return tuple(_row(each) for each in connection.execute(newest))

    def _changed(self, generation: str, **values: Any) -> bool:
        """Change *generation* if it is open; whether it is."""
        table = tables.alert_generations
        with self._alone() as connection:
            this = table.c.id == generation, table.c.open_target.is_not(None)
            return bool(connection.execute(table.update().where(*this).values(**values)).rowcount)

    def _generations(self, *where: sa.ColumnElement[bool]) -> tuple[Generation, ...]:
        table = tables.alert_generations
        question = sa.select(table).where(*where).order_by(table.c.opened_at_s)
        with self._alone() as connection:
            return tuple(_generation(each._mapping) for each in connection.execute(question))  # noqa: SLF001


def silence_of(name: str, every_s: int) -> str:
    """What it means that a heartbeat stopped."""
    return f"heartbeat {name} has not been heard for {every_s} s: nobody may be watching"


def _told(rule: str, about: str, reason: str, now_s: float) -> Escalation:
    return Escalation(rule=rule, about=about, reason=reason, at=datetime.fromtimestamp(now_s, UTC))


def _over(outcome: End, now_s: float, reason: str) -> dict[str, Any]:
    return {"open_target": None, "outcome": outcome.value, "ended_at_s": now_s, "reason": reason[:500]}


def _is_open(connection: sa.Connection, generation: str) -> bool:
    table = tables.alert_generations
    this = table.c.id == generation, table.c.open_target.is_not(None)
    return connection.execute(sa.select(table.c.id).where(*this)).first() is not None


def _generation(row: Any, prefix: str = "") -> Generation:
    values = {name: row[f"{prefix}{name}"] for name in Generation.model_fields}
    return Generation.model_validate({**values, "outcome": values["outcome"] or None})


def _row(row: Any) -> Row:
    return Row(
        id=row.id,
        alert=Alert(
            source=row.source,
            fingerprint=row.fingerprint,
            starts_at=_moment(row.starts_at_s),
            ends_at=_moment(row.ends_at_s),
            status=row.status,
            labels=json.loads(row.labels),
            annotations=json.loads(row.annotations),
        ),
        target=row.target,
        routed_by=row.routed_by,
        is_ignored=row.is_ignored,
        accepted_at_s=row.accepted_at_s,
        seen_at_s=row.seen_at_s,
        times=row.times,
        answer=_generation(row._mapping, "g_") if row.g_id else None,  # noqa: SLF001
    )


def _moment(at_s: float | None) -> datetime | None:
    return None if at_s is None else datetime.fromtimestamp(at_s, UTC)
