"""The journal: who may work on what, and how far each step came, durable before it happens."""

from __future__ import annotations

import contextlib
import secrets
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from medic8.errors import ConfigurationError, FencedError, RefusedError, TransientError
from medic8.model.plan import Plan
from medic8.model.recovery import (
    Claim,
    Fence,
    Owner,
    Recovery,
    RecoveryState,
    StepRecord,
    StepState,
)
from medic8.model.target import Resource
from medic8.recovery import leases, tables
from medic8.recovery.leases import LEASE_S


class Journal:
    """
    What makes recoveries survive; not the tracker of resolutions, which is Prefect's history.

    Every method is one transaction and returns after it is durable.

    Attributes:
        identity: Random, made with the database, so that two journals are told apart.
    """

    def __init__(self, url: str) -> None:
        self._engine = tables.engine_for(url)
        with self._translated():
            self.identity = self._set_up()

    def dispose(self) -> None:
        """Close every connection of this process to the journal; it may be used again."""
        self._engine.dispose()

    def open(
        self,
        plan: Plan,
        resources: tuple[Resource, ...],
        owner: Owner,
        *,
        stands_on: str,
        at: datetime,
        lease_s: float = LEASE_S,
    ) -> Recovery:
        """
        Grant all of *resources* to a new recovery, or none; its owner is taken to be alive for *lease_s*.

        Raises:
            BusyError: another recovery holds one of them; it is in the error.
        """
        recovery_id = str(uuid.uuid4())
        with self._transaction() as connection:
            for resource in resources:
                if holder := self._holder(connection, resource):
                    raise BusyError(resource, self._read(connection, holder))
            number = max(self._next_fence(connection, resource) for resource in resources)
            recovery = Recovery(
                id=recovery_id,
                plan=plan,
                resources=resources,
                claim=Claim(
                    journal=self.identity,
                    recovery=recovery_id,
                    fence=Fence(number=number, nonce=secrets.token_hex(16)),
                ),
                owner=owner,
                stands_on=stands_on,
                opened_at=at,
                steps=_planned(plan),
            )
            connection.execute(
                tables.recoveries.insert().values(
                    id=recovery_id, target=plan.target, state=recovery.state, record=_record(recovery)
                )
            )
            connection.execute(
                tables.grants.insert(),
                [{"resource": resource.identity, "recovery": recovery_id} for resource in resources],
            )
            if recovery.steps:
                connection.execute(
                    tables.steps.insert(), [_row(recovery_id, step) for step in recovery.steps]
                )
            leases.grant(connection, recovery_id, lease_s)
        return recovery

    def renew(self, recovery_id: str, owner: Owner, *, lease_s: float = LEASE_S) -> None:
        """
        Say that *owner* lives, and will for *lease_s* seconds of the database's clock.

        Raises:
            FencedError: the recovery has ended, or another process took it over.
        """
        with self._transaction() as connection:
            recovery = self._read(connection, recovery_id)
            if recovery.state is not RecoveryState.OPEN or recovery.owner != owner:
                raise FencedError(f"recovery {recovery_id} was ended or taken over by another process")
            leases.grant(connection, recovery_id, lease_s)

    def saved(self, recovery: Recovery, folder: str, digest: str, digests: tuple[str, ...]) -> Recovery:
        """Note where the state was saved and the digest of what each step found, in the steps' order."""
        recovery = recovery.model_copy(update={"saved_state": folder, "saved_digest": digest})
        with self._transaction() as connection:
            self._write(connection, recovery)
            for number, saved in enumerate(digests):
                self._update_step(connection, recovery.id, number, saved_digest=saved)
        return self.read(recovery.id)

    def begun(self, recovery_id: str, number: int, *, written_digest: str, at: datetime) -> None:
        """Note, before it happens, that step *number* may be applied from now on."""
        with self._transaction() as connection:
            self._update_step(
                connection,
                recovery_id,
                number,
                state=StepState.BEGUN,
                written_digest=written_digest,
                begun_at=at,
            )

    def done(self, recovery_id: str, number: int, *, at: datetime) -> None:
        """Note that step *number* was applied."""
        with self._transaction() as connection:
            self._update_step(connection, recovery_id, number, state=StepState.DONE, done_at=at)

    def committed(self, recovery_id: str, unit: int) -> None:
        """Note that unit *unit* proved itself: it stands, whatever comes later."""
        with self._transaction() as connection:
            connection.execute(
                tables.steps.update()
                .where(tables.steps.c.recovery == recovery_id, tables.steps.c.unit == unit)
                .values(state=StepState.COMMITTED)
            )

    def undone(self, recovery_id: str, number: int, *, state: StepState, note: str, at: datetime) -> None:
        """Note how undoing step *number* ended: ``undone`` or ``conflict``."""
        with self._transaction() as connection:
            self._update_step(connection, recovery_id, number, state=state, note=note, undone_at=at)

    def close(
        self, recovery_id: str, state: RecoveryState, *, left: tuple[str, ...] = (), at: datetime
    ) -> Recovery:
        """
        End a recovery and give its resources back.

        One that needs a person keeps them: nothing may repair there by itself
        until somebody has acknowledged it.
        """
        with self._transaction() as connection:
            recovery = self._read(connection, recovery_id).model_copy(
                update={"state": state, "closed_at": at, "left": left}
            )
            self._write(connection, recovery)
            leases.end(connection, recovery_id)
            if state is not RecoveryState.NEEDS_PERSON:
                self._release(connection, recovery_id)
        return recovery.model_copy(update={"has_lapsed": False})

    def taken_over(self, recovery_id: str, owner: Owner, *, lease_s: float = LEASE_S) -> Recovery:
        """Make *owner* the one who ends a recovery, with a fence above the earlier one's, and a lease."""
        with self._transaction() as connection:
            recovery = self._read(connection, recovery_id)
            number = max(self._next_fence(connection, resource) for resource in recovery.resources)
            fence = Fence(number=number, nonce=secrets.token_hex(16))
            claim = recovery.claim.model_copy(update={"fence": fence})
            recovery = recovery.model_copy(update={"owner": owner, "claim": claim, "has_lapsed": False})
            self._write(connection, recovery)
            leases.grant(connection, recovery_id, lease_s)
        return recovery

    def acknowledge(self, recovery_id: str) -> Recovery:
        """
        Open the resources of a recovery that needed a person to automation again.

        Raises:
            RefusedError: the recovery is in another state.
        """
        with self._transaction() as connection:
            recovery = self._read(connection, recovery_id)
            if recovery.state is not RecoveryState.NEEDS_PERSON:
                raise RefusedError(
                    f"recovery {recovery_id} is {recovery.state}; "
                    "only one that needs a person is acknowledged"
                )
            self._release(connection, recovery_id)
        return recovery

    def read(self, recovery_id: str) -> Recovery:
        """
        A recovery with all its steps.

        Raises:
            ConfigurationError: the journal knows no such recovery.
        """
        with self._transaction() as connection:
            return self._read(connection, recovery_id)

    def beginning_with(self, start: str) -> tuple[Recovery, ...]:
        """Recoveries, also ended ones, whose id begins with *start*; at most two, to tell one from many."""
        with self._transaction() as connection:
            ids = connection.scalars(
                sa.select(tables.recoveries.c.id)
                .where(tables.recoveries.c.id.startswith(start, autoescape=True))
                .limit(2)
            ).all()
            return tuple(self._read(connection, recovery_id) for recovery_id in ids)

    def holding(self) -> tuple[Recovery, ...]:
        """All recoveries that hold a resource: open ones, and those that wait for a person."""
        with self._transaction() as connection:
            ids = connection.scalars(sa.select(tables.grants.c.recovery).distinct()).all()
            return tuple(self._read(connection, recovery_id) for recovery_id in ids)

    def committed_since(self, since: datetime) -> Iterator[Recovery]:
        """Recoveries with a step that was done and proven since *since*; one is held in memory at a time."""
        steps = tables.steps
        with self._transaction() as connection:
            ids = connection.scalars(
                sa.select(steps.c.recovery)
                .where(steps.c.state == StepState.COMMITTED, steps.c.done_at >= since.astimezone(UTC))
                .distinct()
            ).all()
        for recovery_id in ids:
            yield self.read(recovery_id)

    # -- inside one transaction --------------------------------------------------------------

    def _set_up(self) -> str:
        tables.metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            rows = connection.execute(sa.select(tables.about.c.what, tables.about.c.value))
            known = {str(row.what): str(row.value) for row in rows}
            if not known:
                known = {"schema": str(tables.SCHEMA_VERSION), "identity": str(uuid.uuid4())}
                connection.execute(
                    tables.about.insert(), [{"what": what, "value": value} for what, value in known.items()]
                )
            if known["schema"] in tables.OLDER_SCHEMAS:
                known["schema"] = str(tables.SCHEMA_VERSION)
                schema = tables.about.update().where(tables.about.c.what == "schema")
                connection.execute(schema.values(value=known["schema"]))
        if known["schema"] != str(tables.SCHEMA_VERSION):
            raise ConfigurationError(
                f"the journal has schema {known['schema']}; this Medic8 reads schema {tables.SCHEMA_VERSION}"
            )
        return known["identity"]

    @staticmethod
    def _holder(connection: sa.Connection, resource: Resource) -> str | None:
        found: str | None = connection.scalar(
            sa.select(tables.grants.c.recovery).where(tables.grants.c.resource == resource.identity)
        )
        return found

    @staticmethod
    def _next_fence(connection: sa.Connection, resource: Resource) -> int:
        fences = tables.fences
        highest = connection.scalar(sa.select(fences.c.number).where(fences.c.resource == resource.identity))
        if highest is None:
            connection.execute(fences.insert().values(resource=resource.identity, number=1))
            return 1
        connection.execute(
            fences.update().where(fences.c.resource == resource.identity).values(number=highest + 1)
        )
        return int(highest) + 1

    @staticmethod
    def _read(connection: sa.Connection, recovery_id: str) -> Recovery:
        record = connection.scalar(
            sa.select(tables.recoveries.c.record).where(tables.recoveries.c.id == recovery_id)
        )
        if record is None:
            raise ConfigurationError(f"the journal knows no recovery {recovery_id!r}")
        rows = connection.execute(
            sa.select(tables.steps)
            .where(tables.steps.c.recovery == recovery_id)
            .order_by(tables.steps.c.number)
        ).mappings()
        return Recovery.model_validate_json(record).model_copy(
            update={
                "steps": tuple(_step_record(dict(row)) for row in rows),
                "has_lapsed": leases.has_lapsed(connection, recovery_id),
            }
        )

    @staticmethod
    def _write(connection: sa.Connection, recovery: Recovery) -> None:
        connection.execute(
            tables.recoveries.update()
            .where(tables.recoveries.c.id == recovery.id)
            .values(state=recovery.state, record=_record(recovery))
        )

    @staticmethod
    def _update_step(connection: sa.Connection, recovery_id: str, number: int, **values: Any) -> None:
        connection.execute(
            tables.steps.update()
            .where(tables.steps.c.recovery == recovery_id, tables.steps.c.number == number)
            .values(**values)
        )

    @staticmethod
    def _release(connection: sa.Connection, recovery_id: str) -> None:
        connection.execute(tables.grants.delete().where(tables.grants.c.recovery == recovery_id))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.IntegrityError as exc:
            # Two journals' clients on PostgreSQL inserted the same grant at once.
            raise TransientError("another recovery was granted the resource at the same moment") from exc
        except sa.exc.DBAPIError as exc:
            where = self._engine.url.render_as_string(hide_password=True)
            if "not a database" in str(exc.orig):
                raise ConfigurationError(f"the journal at {where} is no database: {exc.orig}") from exc
            raise TransientError(f"the journal at {where} did not answer: {exc.orig}") from exc


class BusyError(RefusedError):
    """
    Another recovery holds a resource.

    Attributes:
        resource: What is held.
        holder: The recovery that holds it.
    """

    def __init__(self, resource: Resource, holder: Recovery) -> None:
        super().__init__(resource, holder)
        self.resource = resource
        self.holder = holder

    def __str__(self) -> str:
        if self.holder.state is RecoveryState.NEEDS_PERSON:
            return (
                f"{self.resource.carries} ({self.resource.identity}) is closed to automation: recovery "
                f"{self.holder.id} needs a person; when it is dealt with: medic8 acknowledge {self.holder.id}"
            )
        return (
            f"{self.resource.carries} ({self.resource.identity}) is being worked on by recovery "
            f"{self.holder.id}, open since {self.holder.opened_at:%Y-%m-%d %H:%M:%S %Z}"
        )


def _planned(plan: Plan) -> tuple[StepRecord, ...]:
    numbered = [(unit, step.title) for unit, group in enumerate(plan.units) for step in group.steps]
    return tuple(
        StepRecord(number=number, unit=unit, title=title) for number, (unit, title) in enumerate(numbered)
    )


def _record(recovery: Recovery) -> str:
    return recovery.model_dump_json(exclude={"steps", "has_lapsed"})


def _row(recovery_id: str, step: StepRecord) -> dict[str, Any]:
    return {"recovery": recovery_id, **step.model_dump()}


def _step_record(row: dict[str, Any]) -> StepRecord:
    row.pop("recovery")
    for when in ("begun_at", "done_at", "undone_at"):
        # SQLite keeps no zone; everything that is written is UTC.
        if row[when] is not None and row[when].tzinfo is None:
            row[when] = row[when].replace(tzinfo=UTC)
    return StepRecord.model_validate(row)
