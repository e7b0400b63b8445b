"""Change a grid: write back one damaged value, or break one lock, in one atomic guarded act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import valkey

from medic8.errors import ChangedError, FencedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.grid import BlockRole, QuarantineItem, RebuildItem
from medic8.model.plan import Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.targets.grid import lock_breaking, quarantine, rebuild, saved_value
from medic8.targets.grid.compare_and_write import Answer, HoldsExactly
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import P, Q, member_of
from medic8.targets.grid.lock_breaking import BREAK_LOCK, BreakLock
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.repairs import backup_candidates, replica_candidates
from medic8.targets.grid.replicas import primary_of
from medic8.targets.grid.write import patient
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey.by_hand import cli
from medic8.targets.valkey.claimed import ClaimedServer
from medic8.targets.valkey.client import RECOVERY, connection, reached
from medic8.targets.valkey.identity import carries_on, ran_before, run_id_of, server_resources

WRITE_BACK = "write_back"
QUARANTINE = "quarantine"


class WriteBack(Frozen):
    """
    Arguments of the action ``write_back``.

    Attributes:
        item: What is written; its key follows from grid, group and role and is not kept in a plan.
        backup: Id of the backup that pages come from where parity does not suffice; empty = none.
        replica: Host and port of the replica that they come from; empty = none.
    """

    item: RebuildItem
    backup: str = ""
    replica: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """Plain data for a step."""
        return self.model_dump(mode="json", exclude={"item": {"key"}})

    @classmethod
    def of(cls, step: Step) -> WriteBack:
        """The arguments of *step*."""
        item = dict(step.arguments["item"])  # type: ignore[arg-type]  # JSON; checked just below
        item["key"] = ""
        plain = RebuildItem.model_validate(item)
        whole = plain.model_copy(update={"key": _key_of(plain)})
        backup, replica = (str(step.arguments.get(name, "")) for name in ("backup", "replica"))
        return cls(item=whole, backup=backup, replica=replica)


class GiveUp(Frozen):
    """
    Arguments of the action ``quarantine``.

    Attributes:
        item: Which pages are given up.
    """

    item: QuarantineItem

    def as_arguments(self) -> dict[str, Any]:
        """Plain data for a step."""
        return self.model_dump(mode="json")


def arguments_of(step: Step) -> WriteBack | GiveUp | BreakLock:
    """
    What *step* is to do.

    Raises:
        RefusedError: it is of an action that grids do not have.
    """
    match step.action:
        case "write_back":
            return WriteBack.of(step)
        case "quarantine":
            return GiveUp.model_validate(step.arguments)
        case "break_lock":
            return BreakLock.of(step)
        case _:
            known = f"{WRITE_BACK!r}, {QUARANTINE!r} and {BREAK_LOCK!r}"
            raise RefusedError(f"kind grid has no action {step.action!r}; it has {known}")


class GridSession(ClaimedServer):
    """One dedicated connection to a grid's server, for writing back what is damaged."""

    def __init__(self, target: Target, client: valkey.Valkey, around: Surroundings) -> None:
        super().__init__(client, target.address)
        self._target = target
        self._name = target.grid_name
        self._around = around

    @reached
    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """
        Mark the server as ours.

        Raises:
            RefusedError: it is a replica; what is written there does not reach the primary, or is refused.
        """
        if primary := primary_of(self._client):
            raise RefusedError(
                f"the server of target {self._target.name} is a replica of {primary}: a repair goes to the "
                "primary, so point the target's url there"
            )
        super().take_claim(claim, lasts_s=lasts_s)

    @reached
    def still_holds(self, recovery: Recovery) -> Holds:
        """
        The same grid on the same server, or on the one that continues its data after a fail-over.

        A copy elsewhere was never changed. A server that lost the whole grid holds nothing of it.
        """
        known = {resource.identity for resource in recovery.resources}
        if not carries_on(self._client, self.url, known):
            return Holds.SOMETHING_ELSE
        if not self._client.exists(*manifest_keys(self._name)):
            is_same_process = run_id_of(self.stands_on()) == run_id_of(recovery.stands_on)
            if is_same_process or not ran_before(self._client, recovery, self._around.now):
                return Holds.NOTHING
            return Holds.SOMETHING_ELSE
        return Holds.YES if self.resources()[0].identity in known else Holds.SOMETHING_ELSE

    @reached
    def resources(self) -> tuple[Resource, ...]:
        """The grid, and the server that carries it."""
        manifest = read_manifest(self._client, self._name).manifest
        grid = Resource(identity=f"grid:{manifest.uuid}", carries="the grid")
        return (grid, *server_resources(self._client, self.url))

    def key_of(self, step: Step) -> bytes | None:
        """The one value that is written back, or a group's checksums, in the slot of all of the group."""
        match arguments_of(step):
            case WriteBack(item=item):
                return item.key.encode()
            case GiveUp(item=item):
                return sums_key(item.grid, item.group).encode()
            case BreakLock() as ask:
                return ask.key.encode()

    @reached
    def capture(self, step: Step) -> bytes | None:
        """The bytes that the step is about to write over; None if there is no such value."""
        match arguments_of(step):
            case WriteBack(item=item):
                return saved_value.present(self._client, item)
            case GiveUp(item=item):
                return quarantine.saved_form(self._client, item)
            case BreakLock() as ask:
                return lock_breaking.saved_form(self._client, ask)

    @reached
    def prepare(self, step: Step) -> bytes | None:
        """
        The bytes that must be there, proven anew from what the group holds now.

        Raises:
            RefusedError: nothing proves them.
            ChangedError: pages are to be given up, and others than those are what nothing proves; or a lock
                is to be broken that is not as it was.
        """
        match arguments_of(step):
            case WriteBack() as ask:
                return rebuild.proven(self._client, ask.item, self._candidates(ask))
            case GiveUp(item=item):
                at_s = int(self._around.now.timestamp())
                return quarantine.wanted(self._client, item, recovery=self._recovery(step), at_s=at_s)
            case BreakLock() as ask:
                return lock_breaking.wanted(self._client, ask, recovery=self._recovery(step))

    def _recovery(self, step: Step) -> str:
        if self.claim is None:
            raise FencedError(f"{step.touches}: no recovery holds the server")
        return self.claim.recovery

    @reached
    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Write *new* where *expected* is, guarded by *claim*, at one moment."""
        fence = (HoldsExactly(self.claim_beside(claim, step).decode("latin-1"), claim.content),)
        match arguments_of(step):
            case WriteBack(item=item):
                answer = saved_value.swap(self._client, item, expected, new, fence).answer
            case GiveUp(item=item):
                answer = quarantine.swap(self._client, item, expected or b"", new or b"", fence, patient())
            case BreakLock() as ask:
                answer = lock_breaking.swap(self._client, ask, expected, new, fence)
        if answer is Answer.FENCED:
            raise FencedError(f"{step.touches}: the claim of recovery {claim.recovery} was lost")
        if answer is Answer.CHANGED:
            raise ChangedError(f"{step.touches} was changed by somebody else at the same moment")

    @reached
    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Nothing, for a value that was saved with an expiry that has passed."""
        match arguments_of(step):
            case WriteBack():
                return saved_value.as_of_now(self._client, saved)
            case _:
                return saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """One command for each range of a value; none for pages that were given up."""
        match arguments_of(step):
            case WriteBack(item=item):
                return saved_value.by_hand(item, value, cli(self.url), file=file, offset=offset)
            case GiveUp():
                return ()
            case BreakLock() as ask:
                return lock_breaking.by_hand(ask, value, cli(self.url), file=file, offset=offset)

    @reached
    def verify(self, unit: Unit) -> None:
        """
        Prove every value of the unit anew, and look whether it is there.

        Raises:
            VerifyError: a value is not what the rest of the group says it must be.
        """
        for step in unit.steps:
            match arguments_of(step):
                case WriteBack() as ask:
                    self._verify_written(step, ask)
                case GiveUp(item=item):
                    if problem := quarantine.problem_after(self._client, item):
                        raise VerifyError(f"{step.touches} is not whole: {problem}")
                case BreakLock() as ask:
                    if problem := lock_breaking.problem_after(self._client, ask):
                        raise VerifyError(f"{step.touches}: {problem}")

    @reached
    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """Whether *recovery* did what *step* says; writing a value back leaves no mark that would tell."""
        match arguments_of(step):
            case GiveUp(item=item):
                return quarantine.took_effect(self._client, item, recovery)
            case BreakLock() as ask:
                return lock_breaking.took_effect(self._client, ask, recovery)
            case _:
                return None

    def _verify_written(self, step: Step, ask: WriteBack) -> None:
        try:
            is_good = rebuild.is_as_proven(self._client, ask.item, self._candidates(ask))
        except GridDamagedError as exc:
            raise VerifyError(f"{step.touches} cannot be proven any more: {exc}") from exc
        if not is_good:
            raise VerifyError(f"{step.touches} does not hold what its group proves it must")

    def _candidates(self, ask: WriteBack) -> Candidates | None:
        group = ask.item.group
        if group is None or not (ask.backup or ask.replica):
            return None
        manifest = read_manifest(self._client, self._name).manifest
        if ask.replica:
            return replica_candidates(self._client, manifest, group, self._target, ask.replica)
        return backup_candidates(self._client, manifest, group, self._around.backups, ask.backup)


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[GridSession]:
    """Open the one connection for changing *target*."""
    with connection(target.address, timeout_s=target.timeout_s, name=RECOVERY) as client:
        yield GridSession(target, client, around)


def _key_of(item: RebuildItem) -> str:
    if item.group is None:
        return manifest_keys(item.grid)[item.number]
    match item.role:
        case BlockRole.SUMS:
            return sums_key(item.grid, item.group)
        case BlockRole.P:
            return role_key(item.grid, item.group, P)
        case BlockRole.Q:
            return role_key(item.grid, item.group, Q)
        case _:
            return role_key(item.grid, item.group, member_of(item.number))
