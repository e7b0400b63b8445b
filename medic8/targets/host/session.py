"""Change the host by steps of several kinds; the claim is held while each is made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from medic8.errors import RefusedError
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.owner import boot_id, machine_id
from medic8.targets.claim_file import ClaimFile, claim_folder, folders_of_others
from medic8.targets.host.acts.act import ActedOn, HostAct
from medic8.targets.host.acts.backups import RemoveBackupsAct
from medic8.targets.host.acts.files import DeleteFileAct, MoveFileAct
from medic8.targets.host.looks.looking import here
from medic8.targets.kind import Holds, Surroundings

#: Every kind of step on a host, by the name that a plan calls it.
ACTS: Mapping[str, HostAct] = {act.name: act for act in (MoveFileAct(), DeleteFileAct(), RemoveBackupsAct())}


class HostSession:
    """
    The host that this process runs on, for changing it; see `medic8.targets.kind.Session`.

    Attributes:
        claims: The claim on it.
    """

    def __init__(self, target: Target, around: Surroundings, claims: ClaimFile) -> None:
        self.claims = claims
        self._host = ActedOn(target, around, claims.held)

    def resources(self) -> tuple[Resource, ...]:
        """The machine."""
        return (resource_here(),)

    def stands_on(self) -> str:
        """Machine and boot."""
        return f"machine={machine_id()} boot={boot_id()}"

    def still_stands(self, recovery: Recovery) -> bool:
        """On the same machine, and not booted since."""
        return recovery.stands_on == self.stands_on()

    def still_holds(self, recovery: Recovery) -> Holds:
        """Files outlive a boot: whatever was changed on this machine is here."""
        return Holds.YES if resource_here() in recovery.resources else Holds.SOMETHING_ELSE

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """One place suffices."""
        del plan
        return ()

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.take`."""
        self.claims.take(claim, lasts_s=lasts_s)

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.renew`."""
        self.claims.renew(claim, lasts_s=lasts_s)

    def release_claim(self, claim: Claim) -> None:
        """See `ClaimFile.release`."""
        self.claims.release(claim)

    def cut_off(self, claim: Claim) -> None:
        """There are no connections to be cut: each act holds the claim's lock while it is made."""
        del claim

    def capture(self, step: Step) -> bytes | None:
        """See `Act.capture`."""
        return act_of(step).capture(self._host, step)

    def prepare(self, step: Step) -> bytes | None:
        """See `Act.prepare`."""
        return act_of(step).prepare(self._host, step)

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """See `Act.swap`."""
        act_of(step).swap(self._host, step, expected, new, claim)

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Nothing of it expires by itself."""
        del step
        return saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """See `Act.by_hand`; nothing can be typed for what was not there."""
        del file, offset
        return () if value is None else act_of(step).by_hand(step)

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """See `Act.took_effect`."""
        del recovery
        return act_of(step).took_effect(self._host, step)

    def verify(self, unit: Unit) -> None:
        """See `Act.verify`."""
        for step in unit.steps:
            act_of(step).verify(self._host, (step,))


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[HostSession]:
    """
    Open this host for changing it.

    Raises:
        UnreachableError: *target* is another one.
        RefusedError: there is nowhere to claim it.
    """
    here(target)
    folder = claim_folder(around.claims)
    name = resource_here().identity
    yield HostSession(
        target,
        around,
        ClaimFile(f"host {target.name}", [name], folder=folder, others=folders_of_others(folder, ())),
    )


def resource_here() -> Resource:
    """This machine, by its id."""
    return Resource(identity=f"host:{machine_id()}", carries="the host")


def act_of(step: Step) -> HostAct:
    """
    The act that *step* names.

    Raises:
        RefusedError: there is none of that name.
    """
    if step.action not in ACTS:
        raise RefusedError(f"kind host has no action {step.action!r}; it has {', '.join(sorted(ACTS))}")
    return ACTS[step.action]
