"""The journal's entries, read and written inside a transaction that somebody else began."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from medic8.errors import ConfigurationError, FencedError
from medic8.model.plan import Plan
from medic8.model.recovery import Fence, Recovery, StepMark, StepRecord, StepState
from medic8.model.target import Resource
from medic8.recovery import leases, tables


def holder(connection: sa.Connection, resource: Resource) -> str | None:
    """The id of the recovery that holds *resource*."""
    found: str | None = connection.scalar(
        sa.select(tables.grants.c.recovery).where(tables.grants.c.resource == resource.identity)
    )
    return found


def release(connection: sa.Connection, recovery_id: str) -> None:
    """Give back what a recovery holds."""
    connection.execute(tables.grants.delete().where(tables.grants.c.recovery == recovery_id))


def next_fence(connection: sa.Connection, resources: tuple[Resource, ...]) -> Fence:
    """A fence with a number one above the highest that any of *resources* ever had."""
    fences = tables.fences
    identities = [resource.identity for resource in resources]
    highest = sa.select(fences.c.resource, fences.c.number).where(fences.c.resource.in_(identities))
    known = {str(row.resource): int(row.number) for row in connection.execute(highest)}
    number = max(known.values(), default=0) + 1
    for identity in identities:
        if identity in known:
            connection.execute(fences.update().where(fences.c.resource == identity).values(number=number))
        else:
            connection.execute(fences.insert().values(resource=identity, number=number))
    return Fence(number=number, nonce=secrets.token_hex(16))


def require_ours(connection: sa.Connection, recovery: Recovery) -> None:
    """
    See that *recovery* is open and its fence the present one.

    Raises:
        FencedError: it has ended, or somebody took it over.
    """
    if not leases.is_held(connection, recovery.id, recovery.claim.fence.nonce):
        raise _not_ours(recovery)


def read(connection: sa.Connection, recovery_id: str) -> Recovery:
    """
    A recovery with all its steps.

    Raises:
        ConfigurationError: there is no such recovery.
    """
    record = connection.scalar(
        sa.select(tables.recoveries.c.record).where(tables.recoveries.c.id == recovery_id)
    )
    if record is None:
        raise ConfigurationError(f"the journal knows no recovery {recovery_id!r}")
    rows = connection.execute(
        sa.select(tables.steps).where(tables.steps.c.recovery == recovery_id).order_by(tables.steps.c.number)
    ).mappings()
    return parsed(recovery_id, record).model_copy(
        update={
            "steps": tuple(_step_record(dict(row)) for row in rows),
            "has_lapsed": leases.has_lapsed(connection, recovery_id),
        }
    )


def parsed(recovery_id: str, record: str) -> Recovery:
    """
    The recovery that *record* spells, without its steps.

    Raises:
        ConfigurationError: it is none, or has what this version does not know.
    """
    try:
        return Recovery.model_validate_json(record)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ConfigurationError(
            f"the journal's record of recovery {recovery_id} cannot be read ({field}: {first['msg']}): it is "
            "damaged, or a newer Medic8 has written it; nothing was touched"
        ) from exc


def insert(connection: sa.Connection, recovery: Recovery) -> None:
    """Write a new recovery with its steps."""
    connection.execute(
        tables.recoveries.insert().values(
            id=recovery.id,
            target=recovery.plan.target,
            state=recovery.state,
            record=_record(recovery),
            resolution=recovery.resolution,
        )
    )
    if recovery.steps:
        rows = [{"recovery": recovery.id, **step.model_dump()} for step in recovery.steps]
        connection.execute(tables.steps.insert(), rows)


def write(connection: sa.Connection, recovery: Recovery) -> None:
    """Write a recovery anew, without its steps."""
    connection.execute(
        tables.recoveries.update()
        .where(tables.recoveries.c.id == recovery.id)
        .values(state=recovery.state, record=_record(recovery))
    )


def update_step(connection: sa.Connection, recovery_id: str, number: int, **values: Any) -> None:
    """Write some columns of step *number*."""
    connection.execute(
        tables.steps.update()
        .where(tables.steps.c.recovery == recovery_id, tables.steps.c.number == number)
        .values(**values)
    )


def mark(connection: sa.Connection, recovery_id: str, reached: Iterable[StepMark]) -> None:
    """Write how far steps came; what an undo found since, in an earlier attempt, stays."""
    undone = tables.steps.c.state.in_([StepState.UNDONE, StepState.CONFLICT])
    for each in reached:
        when = {} if each.at is None else {"done_at": each.at}
        connection.execute(
            tables.steps.update()
            .where(tables.steps.c.recovery == recovery_id, tables.steps.c.number == each.number, ~undone)
            .values(state=each.state, **when)
        )


def begin(
    connection: sa.Connection,
    recovery: Recovery,
    number: int,
    *,
    written_digest: str,
    at: datetime,
    reached: Iterable[StepMark],
) -> None:
    """
    Write that step *number* is begun, and how far earlier ones came, if *recovery* is open and ours.

    One statement, made once: on a server each is a round trip, and this is written before every step.

    Raises:
        FencedError: it has ended, or somebody took it over.
    """
    earlier: dict[int, tuple[str, datetime | None]] = {}
    for each in reached:
        known_at = earlier.get(each.number, ("", None))[1]
        earlier[each.number] = (each.state.value, each.at or known_at)
    values: dict[str, object] = {
        "in_recovery": recovery.id,
        "by_nonce": recovery.claim.fence.nonce,
        "of_step": number,
        "to_be_written": written_digest,
        "at": at,
    }
    for place, (step, (state, done_at)) in enumerate(earlier.items()):
        values |= {f"step_{place}": step, f"state_{place}": state, f"done_{place}": done_at}
    if not connection.execute(_beginning(len(earlier)), values).rowcount:
        raise _not_ours(recovery)


@functools.cache
def _beginning(earlier: int) -> sa.Update:
    """The statement of `begin` for so many *earlier* steps; to make it takes longer than to send it."""
    steps = tables.steps
    number, done_type = steps.c.number, steps.c.done_at.type
    this = number == sa.bindparam("of_step")
    those = [number == sa.bindparam(f"step_{place}") for place in range(earlier)]
    whens = [
        (that, sa.func.coalesce(sa.bindparam(f"done_{place}", type_=done_type), steps.c.done_at))
        for place, that in enumerate(those)
    ]
    states = [(that, sa.bindparam(f"state_{place}", type_=sa.String)) for place, that in enumerate(those)]
    held = leases.held(sa.bindparam("in_recovery"), sa.bindparam("by_nonce"))
    begun_at = sa.bindparam("at", type_=steps.c.begun_at.type)
    digest = sa.bindparam("to_be_written", type_=sa.String)
    return (
        steps.update()
        .where(steps.c.recovery == held, sa.or_(this, *those))
        .values(
            {
                steps.c.state: sa.case((this, sa.literal(StepState.BEGUN.value)), *states),
                steps.c.written_digest: sa.case((this, digest), else_=steps.c.written_digest),
                steps.c.begun_at: sa.case((this, begun_at), else_=steps.c.begun_at),
                steps.c.done_at: sa.case(*whens, else_=steps.c.done_at) if whens else steps.c.done_at,
            }
        )
    )


def _not_ours(recovery: Recovery) -> FencedError:
    return FencedError(f"recovery {recovery.id} was ended or taken over by another process")


def planned(plan: Plan) -> tuple[StepRecord, ...]:
    """All steps of *plan*, none begun."""
    numbered = [(unit, step.title) for unit, group in enumerate(plan.units) for step in group.steps]
    return tuple(
        StepRecord(number=number, unit=unit, title=title) for number, (unit, title) in enumerate(numbered)
    )


def _record(recovery: Recovery) -> str:
    return recovery.model_dump_json(exclude={"steps", "has_lapsed"})


def _step_record(row: dict[str, Any]) -> StepRecord:
    row.pop("recovery")
    for when in ("begun_at", "done_at", "undone_at"):
        # SQLite keeps no zone; everything that is written is UTC.
        if row[when] is not None and row[when].tzinfo is None:
            row[when] = row[when].replace(tzinfo=UTC)
    return StepRecord.model_validate(row)
