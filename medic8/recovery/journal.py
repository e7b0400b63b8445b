"""The journal: who may work on what, and how far each step came, durable before it happens."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from medic8.errors import FencedError, RefusedError
from medic8.model.plan import Plan
from medic8.model.policy import Reservation
from medic8.model.recovery import (
    Claim,
    Owner,
    Recovery,
    RecoveryState,
    StepMark,
    StepState,
)
from medic8.model.target import Resource
from medic8.owner import is_interrupted
from medic8.recovery import entries, faults, leases, notices, reservations, tables
from medic8.recovery.busy import BusyError
from medic8.recovery.leases import LEASE_S
from medic8.recovery.set_up import set_up
from medic8.recovery.undisturbed import undisturbed

#: Decides, inside the transaction that begins a recovery, whether it may, and says how it counts.
Admit = Callable[[sa.Connection, Recovery], Reservation]


class Journal:
    """
    What makes recoveries survive; not the tracker of resolutions, which is Prefect's history.

    Every method is one transaction and returns after it is durable.

    Attributes:
        identity: Random, made with the database, so that two journals are told apart.
    """

    def __init__(self, url: str) -> None:
        self._engine = tables.engine_for(url)
        with undisturbed(), faults.translated(self._engine.url):
            self.identity = set_up(self._engine)

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
        tags: tuple[str, ...] = (),
        resolution: str = "",
        admit: Admit = reservations.plain,
    ) -> Recovery:
        """
        Grant all of *resources* to a new recovery, or none; its owner is taken to be alive for *lease_s*.

        Args:
            plan: What will be carried out.
            resources: What it touches and what carries that.
            owner: The process that carries it out.
            stands_on: What must stay as it is meanwhile.
            at: The time now.
            lease_s: How long the owner is taken to be alive without showing it.
            tags: See `Claim.tags`.
            resolution: The flow run that the history shall show the end in; empty = none.
            admit: Has the last word; what it raises is raised here, and nothing is granted.
        Raises:
            BusyError: another recovery holds one of them; it is in the error.
            RefusedError: the journal's disk has no room for what a recovery has to note.
            UnwritableError: the journal cannot be written.
        """
        faults.require_room(self._engine.url)
        recovery_id = str(uuid.uuid4())
        with self._transaction() as connection:
            reservations.one_at_a_time(connection)
            for resource in resources:
                if holder := entries.holder(connection, resource):
                    raise BusyError(resource, entries.read(connection, holder))
            recovery = Recovery(
                id=recovery_id,
                plan=plan,
                resources=resources,
                claim=Claim(
                    journal=self.identity,
                    recovery=recovery_id,
                    fence=entries.next_fence(connection, resources),
                    tags=tags,
                ),
                owner=owner,
                stands_on=stands_on,
                opened_at=at,
                steps=entries.planned(plan),
                run=owner.flow_run,
                resolution=resolution,
                opened_boot=owner.boot,
                opened_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME),
            )
            reservation = admit(connection, recovery)
            entries.insert(connection, recovery)
            reservations.insert(connection, reservation)
            connection.execute(
                tables.grants.insert(),
                [{"resource": resource.identity, "recovery": recovery_id} for resource in resources],
            )
            if resolution:
                connection.execute(tables.untold.insert().values(recovery=recovery_id))
            leases.grant(connection, recovery_id, lease_s, nonce=recovery.claim.fence.nonce)
        return recovery

    def renew(self, recovery_id: str, owner: Owner, *, lease_s: float = LEASE_S) -> None:
        """
        Say that *owner* lives, and will for *lease_s* seconds of the database's clock.

        Raises:
            FencedError: the recovery has ended, or another process took it over.
        """
        with self._transaction() as connection:
            recovery = entries.read(connection, recovery_id)
            if recovery.state is not RecoveryState.OPEN or recovery.owner != owner:
                raise FencedError(f"recovery {recovery_id} was ended or taken over by another process")
            leases.renew(connection, recovery_id, lease_s)

    def require_ours(self, recovery: Recovery) -> None:
        """
        See that *recovery* is open and its fence the present one.

        Raises:
            FencedError: it has ended, or somebody took it over.
        """
        with self._transaction() as connection:
            entries.require_ours(connection, recovery)

    def saved(
        self, recovery: Recovery, folder: str, digest: str, digests: tuple[str, ...], *, size_bytes: int = 0
    ) -> Recovery:
        """
        Note where the state was saved and the digest of what each step found, in the steps' order.

        Raises:
            FencedError: the recovery is no longer ours.
        """
        saved_state = {"saved_state": folder, "saved_digest": digest}
        extent = {"saved_items": len(digests), "saved_bytes": size_bytes}
        recovery = recovery.model_copy(update={**saved_state, **extent})
        with self._transaction() as connection:
            entries.require_ours(connection, recovery)
            entries.write(connection, recovery)
            for number, saved in enumerate(digests):
                entries.update_step(connection, recovery.id, number, saved_digest=saved)
        return self.read(recovery.id)

    def begun(
        self,
        recovery: Recovery,
        number: int,
        *,
        written_digest: str,
        at: datetime,
        reached: Iterable[StepMark] = (),
    ) -> None:
        """
        Note, before it happens, that step *number* may be applied from now on.

        Args:
            recovery: Whose step it is.
            number: Which one.
            written_digest: Digest of what will be written.
            at: The time now.
            reached: How far earlier steps came; the same commit makes that durable.
        Raises:
            FencedError: the recovery is no longer ours.
        """
        with self._transaction() as connection:
            entries.begin(connection, recovery, number, written_digest=written_digest, at=at, reached=reached)

    def reached(self, recovery: Recovery, reached: Iterable[StepMark]) -> None:
        """
        Note how far steps came.

        Raises:
            FencedError: the recovery is no longer ours.
        """
        with self._transaction() as connection:
            entries.require_ours(connection, recovery)
            entries.mark(connection, recovery.id, reached)

    def undone(self, recovery: Recovery, number: int, *, state: StepState, note: str, at: datetime) -> None:
        """
        Note how undoing step *number* ended: ``undone`` or ``conflict``.

        Raises:
            FencedError: the recovery is no longer ours.
        """
        with self._transaction() as connection:
            entries.require_ours(connection, recovery)
            entries.update_step(connection, recovery.id, number, state=state, note=note, undone_at=at)

    def close(
        self,
        recovery: Recovery,
        state: RecoveryState,
        *,
        left: tuple[str, ...] = (),
        at: datetime,
        reached: Iterable[StepMark] = (),
    ) -> Recovery:
        """
        End a recovery and give its resources back.

        One that needs a person keeps them: nothing may repair there by itself
        until somebody has acknowledged it.

        Returns:
            The recovery as it ended; as it is if it had ended in that state already.
        Raises:
            FencedError: the recovery is no longer ours.
        """
        with self._transaction() as connection:
            is_ours = leases.is_held(connection, recovery.id, recovery.claim.fence.nonce)
            known = entries.read(connection, recovery.id)
            if not is_ours and known.state is state and known.claim.fence == recovery.claim.fence:
                return known  # the answer to an earlier attempt was lost
            entries.require_ours(connection, recovery)
            entries.mark(connection, recovery.id, reached)
            ended = known.model_copy(update={"state": state, "closed_at": at, "left": left})
            entries.write(connection, ended)
            leases.end(connection, recovery.id)
            ended = entries.read(connection, recovery.id)
            reservations.end(connection, ended)
            notices.put_end(connection, ended)
            if state is not RecoveryState.NEEDS_PERSON:
                entries.release(connection, recovery.id)
            return ended

    def taken_over(
        self, recovery: Recovery, owner: Owner, *, reached: Iterable[StepMark] = (), lease_s: float = LEASE_S
    ) -> Recovery:
        """
        Make *owner* the one who ends *recovery*, with a fence above the earlier one's, and a lease.

        Of many who try at once, exactly one succeeds.

        Args:
            recovery: As it was read.
            owner: Who ends it; its present owner may go on with a new fence.
            reached: How far its steps came, if it is the present owner who says so.
            lease_s: How long *owner* is taken to be alive without showing it.
        Raises:
            FencedError: it has ended, somebody else took it over since it was read, or its owner lives.
        """
        with self._transaction() as connection:
            entries.require_ours(connection, recovery)
            known = entries.read(connection, recovery.id)
            if known.owner != owner and not is_interrupted(known):
                raise FencedError(f"the owner of recovery {recovery.id} shows again that it lives")
            fence = entries.next_fence(connection, known.resources)
            update: dict[str, object] = {
                "owner": owner,
                "claim": known.claim.model_copy(update={"fence": fence}),
                "has_lapsed": False,
            }
            if owner.flow_run != known.run:
                update["ended_by"] = owner.flow_run
            entries.write(connection, known.model_copy(update=update))
            entries.mark(connection, recovery.id, reached)
            leases.hand_to(connection, recovery.id, fence.nonce)
            leases.renew(connection, recovery.id, lease_s)
            return entries.read(connection, recovery.id)

    def told(self, recovery_id: str) -> None:
        """Note that the history of flow runs says how a recovery ended."""
        with self._transaction() as connection:
            connection.execute(tables.untold.delete().where(tables.untold.c.recovery == recovery_id))

    def untold(self) -> tuple[Recovery, ...]:
        """Ended recoveries of which the history does not say how they ended, the oldest first."""
        recoveries = tables.recoveries
        with self._transaction() as connection:
            ids = connection.scalars(
                sa.select(recoveries.c.id)
                .join(tables.untold, tables.untold.c.recovery == recoveries.c.id)
                .where(recoveries.c.state != RecoveryState.OPEN)
            ).all()
            found = tuple(entries.read(connection, recovery_id) for recovery_id in ids)
        return tuple(sorted(found, key=lambda each: each.opened_at))

    def of_resolution(self, run: str) -> tuple[Recovery, ...]:
        """The recoveries that the flow run *run* is the resolution of, in the order in which they began."""
        recoveries = tables.recoveries
        with self._transaction() as connection:
            ids = connection.scalars(sa.select(recoveries.c.id).where(recoveries.c.resolution == run)).all()
            found = tuple(entries.read(connection, recovery_id) for recovery_id in ids)
        return tuple(sorted(found, key=lambda each: each.opened_at))

    def acknowledge(self, recovery_id: str, *, at: datetime | None = None) -> Recovery:
        """
        Open the resources of a recovery that needed a person to automation again.

        Args:
            recovery_id: Which.
            at: The time now, from which on retention counts; None: what it saved is kept for ever.

        Raises:
            RefusedError: the recovery is in another state.
        """
        with self._transaction() as connection:
            recovery = entries.read(connection, recovery_id)
            if recovery.state is not RecoveryState.NEEDS_PERSON:
                raise RefusedError(
                    f"recovery {recovery_id} is {recovery.state}; "
                    "only one that needs a person is acknowledged"
                )
            entries.release(connection, recovery_id)
            recovery = recovery.model_copy(update={"acknowledged_at": recovery.acknowledged_at or at})
            entries.write(connection, recovery)
        return recovery

    def transaction(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """One transaction, for what `medic8.recovery.ended` asks; durable when its block ends."""
        return self._transaction()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that only reads, for long questions: whoever writes meanwhile does not wait."""
        reading = self._engine.execution_options(**{tables.READS_ONLY: True})
        with undisturbed(), faults.translated(self._engine.url), reading.begin() as connection:
            yield connection

    def read(self, recovery_id: str) -> Recovery:
        """
        A recovery with all its steps.

        Raises:
            ConfigurationError: the journal knows no such recovery.
        """
        with self._transaction() as connection:
            return entries.read(connection, recovery_id)

    def holding(self) -> tuple[Recovery, ...]:
        """All recoveries that hold a resource: open ones, and those that wait for a person."""
        with self._transaction() as connection:
            ids = connection.scalars(sa.select(tables.grants.c.recovery).distinct()).all()
            return tuple(entries.read(connection, recovery_id) for recovery_id in ids)

    def committed_since(self, since: datetime) -> Iterator[Recovery]:
        """Recoveries with a step that was done and proven since *since*; one is held in memory at a time."""
        return self._with_steps(since, (StepState.COMMITTED,))

    def done_since(self, since: datetime) -> Iterator[Recovery]:
        """The same with a step that was done since *since* and not undone, proven or not."""
        return self._with_steps(since, (StepState.DONE, StepState.COMMITTED))

    def _with_steps(self, since: datetime, states: Sequence[StepState]) -> Iterator[Recovery]:
        steps = tables.steps
        with self._transaction() as connection:
            ids = connection.scalars(
                sa.select(steps.c.recovery)
                .where(steps.c.state.in_(states), steps.c.done_at >= since.astimezone(UTC))
                .distinct()
            ).all()
        for recovery_id in ids:
            yield self.read(recovery_id)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with undisturbed(), faults.translated(self._engine.url), self._engine.begin() as connection:
            yield connection
