"""Change a grid: write back one damaged value, in one atomic guarded act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import valkey

from medic8.errors import ChangedError, FencedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.grid import BlockRole, RebuildItem
from medic8.model.plan import Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.targets.grid import rebuild
from medic8.targets.grid.compare_and_write import Answer, HoldsExactly
from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import P, Q, member_of
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.repairs import candidates_for
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.claimed import ClaimedServer
from medic8.targets.valkey.client import RECOVERY, connection, reached
from medic8.targets.valkey.identity import server_resources

WRITE_BACK = "write_back"


class WriteBack(Frozen):
    """
    Arguments of the action ``write_back``.

    Attributes:
        item: What is written; its key follows from grid, group and role and is not kept in a plan.
        backup: Id of the backup that pages come from where parity does not suffice; empty = none.
    """

    item: RebuildItem
    backup: str = ""

    def as_arguments(self) -> dict[str, Any]:
        """Plain data for a step."""
        return self.model_dump(mode="json", exclude={"item": {"key"}})

    @classmethod
    def of(cls, step: Step) -> WriteBack:
        """
        The arguments of *step*.

        Raises:
            RefusedError: the step is of another action.
        """
        if step.action != WRITE_BACK:
            raise RefusedError(f"kind grid has no action {step.action!r}; it has {WRITE_BACK!r}")
        item = dict(step.arguments["item"])  # type: ignore[arg-type]  # JSON; checked just below
        item["key"] = ""
        plain = RebuildItem.model_validate(item)
        whole = plain.model_copy(update={"key": _key_of(plain)})
        return cls(item=whole, backup=str(step.arguments.get("backup", "")))


class GridSession(ClaimedServer):
    """One dedicated connection to a grid's server, for writing back what is damaged."""

    def __init__(self, target: Target, client: valkey.Valkey, around: Surroundings) -> None:
        super().__init__(client, target.address)
        self._name = target.grid_name
        self._around = around

    @reached
    def still_holds(self, recovery: Recovery) -> Holds:
        """The same grid on the same server: a copy elsewhere was never changed."""
        known = {resource.identity for resource in recovery.resources}
        grid, *server = (resource.identity for resource in self.resources())
        is_same = grid in known and any(each in known for each in server)
        return Holds.YES if is_same else Holds.SOMETHING_ELSE

    @reached
    def resources(self) -> tuple[Resource, ...]:
        """The grid, and the server that carries it."""
        manifest = read_manifest(self._client, self._name).manifest
        grid = Resource(identity=f"grid:{manifest.uuid}", carries="the grid")
        return (grid, *server_resources(self._client, self.url))

    @reached
    def capture(self, step: Step) -> bytes | None:
        """The bytes that the step is about to write over; None if there is no such value."""
        return rebuild.present(self._client, WriteBack.of(step).item)

    @reached
    def prepare(self, step: Step) -> bytes | None:
        """
        The bytes that must be there, proven anew from what the group holds now.

        Raises:
            RefusedError: nothing proves them.
        """
        ask = WriteBack.of(step)
        return rebuild.proven(self._client, ask.item, self._candidates(ask))

    @reached
    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Write *new* where *expected* is, guarded by *claim*, at one moment."""
        ask = WriteBack.of(step)
        fence = (HoldsExactly(CLAIM_KEY.decode(), claim.content),)
        answer = rebuild.swap(self._client, ask.item, expected, new, fence).answer
        if answer is Answer.FENCED:
            raise FencedError(f"{step.touches}: the claim of recovery {claim.recovery} was lost")
        if answer is Answer.CHANGED:
            raise ChangedError(f"{step.touches} was changed by somebody else at the same moment")

    @reached
    def verify(self, unit: Unit) -> None:
        """
        Prove every value of the unit anew, and look whether it is there.

        Raises:
            VerifyError: a value is not what the rest of the group says it must be.
        """
        for step in unit.steps:
            ask = WriteBack.of(step)
            try:
                is_good = rebuild.is_as_proven(self._client, ask.item, self._candidates(ask))
            except GridDamagedError as exc:
                raise VerifyError(f"{step.touches} cannot be proven any more: {exc}") from exc
            if not is_good:
                raise VerifyError(f"{step.touches} does not hold what its group proves it must")

    def _candidates(self, ask: WriteBack) -> Candidates | None:
        if not ask.backup or ask.item.group is None:
            return None
        manifest = read_manifest(self._client, self._name).manifest
        return candidates_for(self._client, manifest, ask.item.group, self._around.backups, ask.backup)


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
