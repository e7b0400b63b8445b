"""Change a process by steps of several kinds; identity and claim are checked right before each act."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from medic8.errors import RefusedError
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Owner, Recovery
from medic8.model.target import Resource, Target
from medic8.owner import boot_id, machine_id
from medic8.targets.claim_file import ClaimFile, claim_folder, folders_of_others
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.process.acts.act import ActedOn, ProcessAct
from medic8.targets.process.acts.reload import ReloadAct
from medic8.targets.process.acts.restart import KeepRunningAct, RestartAct
from medic8.targets.process.acts.weigh import WeighAct
from medic8.targets.process.found import (
    called,
    identity_in_words,
    process_of_target,
    program_of,
)
from medic8.targets.process.living import GoneError

#: Every kind of step on a process, by the name that a plan calls it.
ACTS: Mapping[str, ProcessAct] = {
    act.name: act for act in (KeepRunningAct(), RestartAct(), WeighAct(), ReloadAct())
}


class ProcessSession:
    """
    One process, for changing it; see `medic8.targets.kind.Session`.

    Attributes:
        claim: The claim that was taken or renewed last through this session; None before that.
    """

    def __init__(
        self, target: Target, around: Surroundings, process: Owner | None, claims: ClaimFile
    ) -> None:
        self._target = target
        self._around = around
        self._process = process
        self._claims = claims
        self._lasts_s = 0.0
        self._is_ending = False
        self.claim: Claim | None = None

    def resources(self) -> tuple[Resource, ...]:
        """The process, and the name under which it is known whichever process it is."""
        program = Resource(identity=program_of(self._target), carries="the program")
        if self._process is None:
            return (program,)
        return (
            Resource(identity=f"process:{identity_in_words(self._process)}", carries="the process"),
            program,
        )

    def stands_on(self) -> str:
        """Machine, boot and process."""
        return f"{_ground()} process={identity_in_words(self._process)}"

    def still_stands(self, recovery: Recovery) -> bool:
        """Also if another process is there, where the plan is to replace it: its steps compare themselves."""
        if recovery.stands_on == self.stands_on():
            return True
        return recovery.stands_on.startswith(f"{_ground()} ") and _replaces(recovery)

    def still_holds(self, recovery: Recovery) -> Holds:
        """
        Whether what was changed is here: on this machine, and in this boot of it.

        What a control group weighs is gone with a restart of the machine. A program that was to be
        restarted is looked at whenever that is.
        """
        if not any(each.identity == program_of(self._target) for each in recovery.resources):
            return Holds.SOMETHING_ELSE
        if recovery.stands_on.startswith(f"{_ground()} ") or _replaces(recovery):
            return Holds.YES
        return Holds.NOTHING

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """One place suffices."""
        del plan
        return ()

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.take`."""
        self._claims.take(claim, lasts_s=lasts_s)
        self.claim, self._lasts_s = claim, lasts_s

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `ClaimFile.renew`."""
        self._claims.renew(claim, lasts_s=lasts_s)
        self.claim, self._lasts_s = claim, lasts_s

    def release_claim(self, claim: Claim) -> None:
        """See `ClaimFile.release`."""
        self._claims.release(claim)

    def cut_off(self, claim: Claim) -> None:
        """There are no connections; what an earlier owner asked for may still be under way."""
        del claim
        self._is_ending = True

    def capture(self, step: Step) -> bytes | None:
        """See `Act.capture`."""
        return act_of(step).capture(self._acted_on(), step)

    def prepare(self, step: Step) -> bytes | None:
        """See `Act.prepare`."""
        return act_of(step).prepare(self._acted_on(), step)

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """See `Act.swap`."""
        act_of(step).swap(self._acted_on(), step, expected, new, claim)

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Nothing of it expires."""
        del step
        return saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """See `Act.by_hand`; nothing can be typed for a value that was not there."""
        del file, offset
        return () if value is None else act_of(step).by_hand(self._target, step, value)

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """See `Act.took_effect`."""
        del recovery
        return act_of(step).took_effect(self._acted_on(), step)

    def verify(self, unit: Unit) -> None:
        """See `Act.verify`."""
        acts = [act_of(step) for step in unit.steps]
        for act in dict.fromkeys(acts):
            steps = [step for step, of in zip(unit.steps, acts, strict=True) if of is act]
            act.verify(self._acted_on(), steps)

    def _acted_on(self) -> ActedOn:
        return ActedOn(
            target=self._target,
            around=self._around,
            held=self._claims.held,
            renew=self._renew,
            is_ending=self._is_ending,
        )

    def _renew(self) -> None:
        if self.claim is not None:
            self._claims.renew(self.claim, lasts_s=self._lasts_s)


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[ProcessSession]:
    """
    Open *target* for changing it, also if it does not run at the moment.

    Raises:
        RefusedError: there is nowhere to claim it.
        UnreachableError: its keeper does not answer, or it cannot be told which process it is.
    """
    process, users = None, set[int]()
    with contextlib.suppress(GoneError), process_of_target(target) as (found, _):
        process = found.identity
        users.add(found.user())
    folder = claim_folder(around.claims)
    names = [program_of(target)]
    if process is not None:
        names.append(f"process:{identity_in_words(process)}")
    yield ProcessSession(
        target,
        around,
        process,
        ClaimFile(called(target), names, folder=folder, others=folders_of_others(folder, users)),
    )


def act_of(step: Step) -> ProcessAct:
    """
    The act that *step* names.

    Raises:
        RefusedError: there is none of that name.
    """
    if step.action not in ACTS:
        raise RefusedError(f"kind process has no action {step.action!r}; it has {', '.join(sorted(ACTS))}")
    return ACTS[step.action]


def _ground() -> str:
    return f"machine={machine_id()} boot={boot_id()}"


def _replaces(recovery: Recovery) -> bool:
    return any(act_of(step).replaces for unit in recovery.plan.units for step in unit.steps)
