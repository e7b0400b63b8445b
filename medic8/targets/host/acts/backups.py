"""Remove backups that the site's retention does not keep; not to be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from medic8.backups import sweep
from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.backups.retention import decide
from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.host.acts.act import ActedOn, HostAct
from medic8.targets.registry import kind_named

REMOVE_BACKUPS = "remove_backups"


class RemoveBackups(Frozen):
    """
    Arguments of the action ``remove_backups``.

    Attributes:
        kind: Kind of the target that they are of.
        name: Its name in the storage.
        backups: Their ids, sorted: exactly those that retention does not keep.
    """

    kind: str
    name: str
    backups: tuple[str, ...] = Field(min_length=1)

    @property
    def called(self) -> str:
        """Whose they are, for people."""
        return f"{self.kind} {self.name}"


def not_kept(repository: Repository, place: BackupPlace, now: datetime) -> tuple[str, ...]:
    """The ids of all backups that retention does not keep, sorted."""
    decisions = decide(repository.list(now).backups, place.retention, now=now)
    return tuple(sorted(each.backup for each in decisions if not each.kept_by))


class RemoveBackupsAct(HostAct):
    """`sweep.prune`, if it would remove exactly what the plan names."""

    name = REMOVE_BACKUPS

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """Which of them are there; None if none is."""
        return " ".join(_there(on, _arguments(step))).encode() or None

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """None of them will be there."""
        ask = _arguments(step)
        found = not_kept(_repository(on, ask), on.around.backups, on.around.now)
        if found != ask.backups:
            raise ChangedError(
                f"backups of {ask.called}: retention does not keep {len(found)} by now, and not the "
                f"{len(ask.backups)} that were planned"
            )
        return None

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Remove them; whoever writes or prunes backups there keeps others out by a note of his own."""
        ask = _arguments(step)
        if new is not None:
            raise RefusedError(f"backups of {ask.called} that were removed cannot be brought back")
        with on.held(claim):
            if self.capture(on, step) != expected:
                raise ChangedError(f"backups of {ask.called} were removed by somebody else")
        backups = kind_named(ask.kind).backups
        if backups is None:
            raise RefusedError(f"targets of kind {ask.kind} are not backed up")
        sweep.prune(
            _repository(on, ask),
            on.around.backups.retention,
            backups.packs_of_part,
            clock=lambda: on.around.now,
        )

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """None is there."""
        for step in steps:
            ask = _arguments(step)
            if left := _there(on, ask):
                raise VerifyError(
                    f"{len(left)} backups of {ask.called} are still there, which retention does not keep"
                )

    def took_effect(self, on: ActedOn, step: Step) -> bool | None:
        """As soon as one is gone; the next pruning removes what this one did not come to."""
        ask = _arguments(step)
        return len(_there(on, ask)) < len(ask.backups)


def _arguments(step: Step) -> RemoveBackups:
    return RemoveBackups.model_validate(step.arguments)


def _repository(on: ActedOn, ask: RemoveBackups) -> Repository:
    return Repository(on.around.backups, ask.kind, ask.name)


def _there(on: ActedOn, ask: RemoveBackups) -> tuple[str, ...]:
    there = {each.id for each in _repository(on, ask).list(on.around.now).backups}
    return tuple(each for each in ask.backups if each in there)
