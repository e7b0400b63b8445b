"""
Have a process open its logs and read its configuration again, by the signal that the site names.

One-way: whatever its configuration says by now holds from then on. That it took effect is told by the files:
those that were deleted are no longer open.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Owner
from medic8.model.target import Target
from medic8.targets.process.acts.act import ActedOn, ProcessAct
from medic8.targets.process.found import called, care_of, process_of_target
from medic8.targets.process.living import GoneError, Living, UntoldError
from medic8.targets.process.looks.descriptors import opened_by

RELOAD = "reload"

_HELD = b"deleted files are open"
_FREE = b"none"

_LOOK_EVERY_S = 0.05

#: How long a process that has got the signal may take to open its files again, at most.
_TAKES_S = 10.0


class Reload(Frozen):
    """
    Arguments of the action ``reload``.

    Attributes:
        process: Who it was when the plan was made.
        signal: Which signal, without ``SIG``.
    """

    process: Owner
    signal: str


class ReloadAct(ProcessAct):
    """Send one signal."""

    name = RELOAD

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """Whether it has deleted files open; None if it is another process."""
        ask = _arguments(step)
        if on.is_ending:
            _wait_until_free(on.target, ask)
        return _held(on.target, ask)

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """
        None of them is to be open.

        Raises:
            ChangedError: it is another process, or the configuration names another signal.
            RefusedError: it does not catch the signal, which would end it or do nothing.
        """
        ask = _arguments(step)
        if care_of(on.target).reload != ask.signal:
            raise ChangedError(f"the configuration of {on.target.name} names another signal by now")
        with process_of_target(on.target) as (process, _):
            if process.identity != ask.process:
                raise ChangedError(f"{called(on.target)} is another process by now")
            if not catches(process, _number(ask)):
                raise RefusedError(
                    f"{called(on.target)} does not catch SIG{ask.signal}: it would end, or not heed it"
                )
        return _FREE

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Send it to the planned process and no other."""
        ask = _arguments(step)
        if new != _FREE or expected != _HELD:
            raise RefusedError("a reload cannot be taken back")
        with on.held(claim), process_of_target(on.target) as (process, _):
            if process.identity != ask.process:
                raise ChangedError(f"{called(on.target)} is another process by now")
            try:
                process.send(_number(ask))
            except PermissionError as exc:
                raise RefusedError(f"{called(on.target)} may not be sent SIG{ask.signal}") from exc

    def took_effect(self, on: ActedOn, step: Step) -> bool | None:
        """It did if it has no deleted files open any more; if it has, the signal never came."""
        found = _held(on.target, _arguments(step))
        return None if found is None else found == _FREE

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """The same process runs, and has none of them open any more."""
        for step in steps:
            ask = _arguments(step)
            _wait_until_free(on.target, ask)
            found = _held(on.target, ask)
            if found is None:
                raise VerifyError(f"{called(on.target)} has ended since it was sent SIG{ask.signal}")
            if found != _FREE:
                raise VerifyError(
                    f"{called(on.target)} still has deleted files open {_takes_s(on.target):g} s after "
                    f"SIG{ask.signal}"
                )


def catches(process: Living, number: signal.Signals) -> bool:
    """Whether *process* has a handler for a signal (proc_pid_status(5), SigCgt)."""
    caught = int(process.status().get("SigCgt", "0"), 16)
    return bool(caught >> (number - 1) & 1)


def _held(target: Target, ask: Reload) -> bytes | None:
    try:
        with process_of_target(target) as (process, _):
            if process.identity != ask.process:
                return None
            return _HELD if opened_by(process).deleted else _FREE
    except GoneError:
        return None
    except UntoldError as exc:
        raise RefusedError(f"what {called(target)} has open may not be seen: {exc}") from exc


def _takes_s(target: Target) -> float:
    return min(_TAKES_S, care_of(target).timeout_s)


def _wait_until_free(target: Target, ask: Reload) -> None:
    end = time.monotonic() + _takes_s(target)
    while _held(target, ask) == _HELD and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)


def _number(ask: Reload) -> signal.Signals:
    return signal.Signals[f"SIG{ask.signal}"]


def _arguments(step: Step) -> Reload:
    return Reload.model_validate(step.arguments)
