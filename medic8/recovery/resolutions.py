"""
The index of resolutions in the journal's database: narrow rows, to list and to count.

Prefect's flow runs are the record. A page of them costs their parameters, whole
reports among them, which is too much where somebody asks about all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from medic8.analysis.statistics import MEDIAN, P95, Group, of_outcomes, spread, statistics, together
from medic8.model.resolution import HistoryEntry, Outcome, Standing
from medic8.model.statistics import Spread, StatisticsReport, Tracked, Wanted
from medic8.recovery import tables
from medic8.recovery.journal import Journal

#: The flow of which each run is one resolution.
RESOLVE = "resolve"

#: The flow of which each run is the undo of an earlier resolution, and a resolution itself.
UNDO = "undo"

_ROWS = tables.resolutions

#: Rows in one statement; a client of PostgreSQL counts its values with 16 bits.
_AT_ONCE = 500


def write(journal: Journal, rows: Iterable[Tracked]) -> None:
    """Put *rows* in the place of those with the same runs, if there are any; in one transaction."""
    by_run = {row.run: _values(row) for row in rows}
    runs = list(by_run)
    with journal.transaction() as connection:
        for begin in range(0, len(runs), _AT_ONCE):
            some = runs[begin : begin + _AT_ONCE]
            connection.execute(_ROWS.delete().where(_ROWS.c.run.in_(some)))
            connection.execute(_ROWS.insert().values([by_run[run] for run in some]))


def add_missing(journal: Journal, rows: Iterable[Tracked]) -> int:
    """
    Put those of *rows* into the index that it lacks, or that it has without an end.

    Returns:
        How many these were.
    """
    by_run = {row.run: row for row in rows}
    with journal.reading() as connection:
        ended = sa.select(_ROWS.c.run).where(_ROWS.c.run.in_(by_run), _ROWS.c.state != "")
        known = set(connection.scalars(ended))
    new = [row for run, row in by_run.items() if run not in known]
    write(journal, new)
    return len(new)


def newest(journal: Journal, wanted: Wanted, limit: int) -> list[Tracked]:
    """The resolutions that match, the newest first; at most *limit*."""
    with journal.reading() as connection:
        rows = connection.execute(
            sa.select(_ROWS).where(*_filter(wanted)).order_by(_ROWS.c.started_at_s.desc()).limit(limit)
        )
        return [_tracked(row) for row in rows.mappings()]


def listed(
    journal: Journal,
    wanted: Wanted,
    limit: int,
    standings: Callable[[Sequence[str]], Mapping[str, Standing]],
) -> list[HistoryEntry]:
    """
    The resolutions that match, the newest first; at most *limit*.

    Args:
        journal: Whose index.
        wanted: Which.
        limit: Most to list.
        standings: How runs stand, by their ids; asked only about those that have not ended, and may leave
            out what it does not know.
    """
    rows = newest(journal, wanted, limit)
    under_way = [row.run for row in rows if not row.state]
    known = standings(under_way) if under_way else {}
    return [_entry(row, known.get(row.run)) for row in rows]


def beginning_with(journal: Journal, run: str, limit: int) -> list[str]:
    """The runs whose id begins with *run*; at most *limit*."""
    with journal.reading() as connection:
        named = sa.select(_ROWS.c.run).where(_ROWS.c.run.startswith(run.lower(), autoescape=True))
        return list(connection.scalars(named.limit(limit)))


def count(journal: Journal) -> int:
    """How many resolutions the index has."""
    with journal.reading() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(_ROWS)) or 0


def report(journal: Journal, wanted: Wanted) -> StatisticsReport:
    """
    Statistics of the resolutions that match.

    The database counts and ranks, so that it takes no more memory here if there are more of them.
    """
    by = (_ROWS.c.issue, _ROWS.c.strategy)
    with journal.reading() as connection:
        counts = connection.execute(
            sa.select(*by, _ROWS.c.outcome, sa.func.count())
            .where(*_filter(wanted))
            .group_by(*by, _ROWS.c.outcome)
        )
        groups = statistics(
            [(row[0], row[1], row[2], row[3]) for row in counts],
            dict(_spreads(connection, _ROWS.c.detect_s, wanted)),
            dict(_spreads(connection, _ROWS.c.heal_s, wanted)),
        )
        of_all = ("", "")
        total = of_outcomes(
            of_all,
            together(groups),
            dict(_spreads(connection, _ROWS.c.detect_s, wanted, of_all=True)).get(of_all),
            dict(_spreads(connection, _ROWS.c.heal_s, wanted, of_all=True)).get(of_all),
        )
    return StatisticsReport(wanted=wanted, total=total, groups=groups)


def _spreads(
    connection: sa.Connection, span: sa.Column[float], wanted: Wanted, *, of_all: bool = False
) -> Iterator[tuple[Group, Spread]]:
    """By type of issue and strategy, or of all together, how *span* spreads where it is known."""
    by = [sa.literal("").label("issue"), sa.literal("").label("strategy")]
    parts: list[sa.ColumnElement[str]] = []
    if not of_all:
        by = [_ROWS.c.issue.label("issue"), _ROWS.c.strategy.label("strategy")]
        parts = [_ROWS.c.issue, _ROWS.c.strategy]
    ranked = (
        sa.select(
            *by,
            span.label("value"),
            sa.func.row_number().over(partition_by=parts or None, order_by=span).label("rank"),
            sa.func.count().over(partition_by=parts or None).label("among"),
        )
        .where(span.is_not(None), *_filter(wanted))
        .subquery()
    )
    rank, among = ranked.c["rank"], ranked.c.among
    at = [
        sa.and_(rank * 100 >= percent * among, (rank - 1) * 100 < percent * among)
        for percent in (MEDIAN, P95)
    ]
    found: dict[Group, list[tuple[float, int, int]]] = {}
    for row in connection.execute(sa.select(ranked).where(sa.or_(*at))):
        found.setdefault((row.issue, row.strategy), []).append((row.value, row[3], row.among))
    for group, values in found.items():
        if (spreads := spread(values)) is not None:
            yield group, spreads


def _entry(row: Tracked, standing: Standing | None) -> HistoryEntry:
    fields = row.model_dump(exclude={"detect_s", "heal_s"})
    fields["duration_s"] = row.duration_s or 0.0
    return HistoryEntry(**fields | (dict(standing) if standing else {}))


def _filter(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    named = {
        _ROWS.c.target: wanted.target,
        _ROWS.c.issue: wanted.issue,
        _ROWS.c.strategy: wanted.strategy,
        _ROWS.c.outcome: wanted.outcome,
    }
    chosen: list[sa.ColumnElement[bool]] = [
        column == value for column, value in named.items() if value is not None
    ]
    if wanted.outcome is None:
        # It is listed and counted as the one that carried it out.
        chosen.append(_ROWS.c.outcome != Outcome.APPROVED)
    if wanted.since is not None:
        chosen.append(_ROWS.c.started_at_s >= wanted.since.timestamp())
    return chosen


def _values(row: Tracked) -> dict[str, object]:
    values = row.model_dump(exclude={"started_at"})
    return values | {"started_at_s": row.started_at.timestamp()}


def _tracked(row: sa.RowMapping) -> Tracked:
    values: dict[str, Any] = dict(row)
    started_at = datetime.fromtimestamp(values.pop("started_at_s"), UTC)
    return Tracked(started_at=started_at, **values)
