"""Weigh a control group down, so that its process gets what others leave; its weight is put back."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from medic8.errors import ChangedError, RefusedError, UnreachableError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Owner
from medic8.model.target import Target
from medic8.targets.process.acts.act import ActedOn, ProcessAct
from medic8.targets.process.found import called, process_of_target
from medic8.targets.process.groups import read_weight, weight_of
from medic8.targets.process.looks.family import descendants_of

WEIGH = "weigh"

_LOOKS = 4
_HOLDS_S = 0.5


class Weigh(Frozen):
    """
    Arguments of the action ``weigh``.

    Attributes:
        process: Who it was when the plan was made.
        resource: ``cpu`` or ``io``.
        file: That holds the weight of its control group.
        group: The number of the group's folder, so that another group of that name is told from it.
        found: The weight when the plan was made.
        value: What it is set to.
    """

    process: Owner
    resource: str
    file: str
    group: int
    found: int
    value: int


class WeighAct(ProcessAct):
    """Write one weight."""

    name = WEIGH

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """The weight; None if the group is gone."""
        del on
        return _read(_arguments(step))

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """
        The weight to be set.

        Raises:
            ChangedError: it is another process, group or weight by now.
            RefusedError: others are in the group.
        """
        ask = _arguments(step)
        with process_of_target(on.target) as (process, _):
            weight = weight_of(process.pid, ask.resource)
            if process.identity != ask.process or weight is None or str(weight.file) != ask.file:
                raise ChangedError(f"{called(on.target)} is another process or in another group by now")
            own = {process.pid, *descendants_of(process)}
            others = sorted(set(weight.members) - own)
        if others:
            raise RefusedError(
                f"{weight.file.parent} holds other processes too, such as {others[0]}: all would be slowed"
            )
        if weight.value != ask.found:
            raise ChangedError(f"{weight.file} is {weight.value} by now, not {ask.found}")
        return b"%d" % ask.value

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Write it, if right before it is what is expected."""
        ask = _arguments(step)
        if new is None:
            raise RefusedError("a control group always has a weight")
        with on.held(claim):
            present = _read(ask)
            if present != expected:
                raise ChangedError(f"{ask.file} is {_shown(present)} by now, not {_shown(expected)}")
            try:
                Path(ask.file).write_bytes(new)
            except OSError as exc:
                raise RefusedError(f"{ask.file} cannot be set to {_shown(new)}: {exc.strerror}") from exc
            if (became := _read(ask)) != new:
                raise RefusedError(f"{ask.file}: the kernel made {_shown(became)} of {_shown(new)}")

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """Look, several times over half a second, whether it stays and the process is still in that group."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_HOLDS_S / (_LOOKS - 1))
            for step in steps:
                ask = _arguments(step)
                if (found := _read(ask)) != b"%d" % ask.value:
                    raise VerifyError(f"{ask.file} did not stay {ask.value}: it is {_shown(found)}")
                try:
                    with process_of_target(on.target) as (process, _):
                        weight = weight_of(process.pid, ask.resource)
                except UnreachableError as exc:
                    raise VerifyError(str(exc)) from exc
                if weight is None or str(weight.file) != ask.file:
                    raise VerifyError(f"{called(on.target)} is no longer in the group of {ask.file}")

    def by_hand(self, target: Target, step: Step, value: bytes) -> tuple[str, ...]:
        """One command that writes it again."""
        del target
        return (f"echo {value.decode()} > {shlex.quote(_arguments(step).file)}",)


def _read(ask: Weigh) -> bytes | None:
    file = Path(ask.file)
    try:
        if file.parent.stat().st_ino != ask.group:
            return None
        return b"%d" % read_weight(file)
    except (OSError, ValueError):
        return None


def _shown(value: bytes | None) -> str:
    return "gone" if value is None else value.decode()


def _arguments(step: Step) -> Weigh:
    return Weigh.model_validate(step.arguments)
