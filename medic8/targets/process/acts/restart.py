"""
Restart a process through whoever keeps it, in two steps.

The first changes nothing: it saves that the process runs, and with what (command line, environment, limits).
The second stops the process, at most once, and has it started again; that it is another one afterwards
cannot be taken back. Whoever dies between stop and start leaves a process that is stopped: to undo the first
step is to start it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from medic8.errors import ChangedError, RefusedError, UnreachableError, VerifyError
from medic8.model.plan import Step
from medic8.model.recovery import Claim, Owner
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.acts.act import ActedOn, ProcessAct
from medic8.targets.process.found import called, care_of, keeper_of, process_of_target
from medic8.targets.process.keepers.keeper import PASSING, Kept, KeptState
from medic8.targets.process.living import GoneError, is_there
from medic8.targets.process.looks.data import require_data_is_safe
from medic8.targets.process.looks.health import check
from medic8.targets.process.setup import Meant, Setup, differences, setup_of

KEEP_RUNNING = "keep_running"
RESTART = "restart"

_STOPPED = b"stopped"
_ANOTHER = b"another process"

_LOOK_EVERY_S = 0.05


class KeepRunningAct(ProcessAct):
    """That it runs, and with what."""

    name = KEEP_RUNNING
    replaces = True

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """
        With what it runs, or that it is stopped.

        Raises:
            RefusedError: neither: its keeper cannot get it to run.
        """
        del step
        kept = _settled(on.target)
        if kept.state is KeptState.STOPPED:
            return _STOPPED
        if kept.pid is None:
            raise RefusedError(f"{called(on.target)} does not run and is not stopped: {kept.says}")
        with process_of_target(on.target) as (process, _):
            return setup_of(process).canonical

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """The next step stops it."""
        del on, step
        return _STOPPED

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Nothing, before a restart; to take it back is to start what is stopped."""
        del step
        if new == _STOPPED or new is None:
            return
        if expected != _STOPPED:
            raise ChangedError(f"{called(on.target)} is not stopped")
        with on.held(claim):
            keeper_of(on.target).start(Setup.model_validate_json(new).environment_of_start)
        try:
            _wait_until_it_runs(on.target)
        except VerifyError as exc:
            raise RefusedError(str(exc)) from exc

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """Nothing has changed yet."""

    def by_hand(self, target: Target, step: Step, value: bytes) -> tuple[str, ...]:
        """The command that starts it."""
        del step, value
        return (keeper_of(target).by_hand(),)


class RestartAct(ProcessAct):
    """Stop it and start it."""

    name = RESTART
    replaces = True

    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """Whether it is the process that the plan is for, or another one, or none."""
        planned = _arguments(step).process
        if on.is_ending and is_there(planned):
            _let_it_end(on.target, planned)
        try:
            with process_of_target(on.target) as (process, _):
                present = process.identity
        except GoneError:
            return None
        return _canonical(planned) if present == planned else _ANOTHER

    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """
        Another process is to be there.

        Raises:
            ChangedError: it is another one already, or runs with something else than when the plan was made.
            RefusedError: nothing starts it again, or it holds data and no backup proves itself.
        """
        asked = _arguments(step)
        if why := keeper_of(on.target).why_no_restart():
            raise RefusedError(why)
        with process_of_target(on.target) as (process, _):
            if process.identity != asked.process:
                raise ChangedError(f"{called(on.target)} is another process by now than in the plan")
            setup = setup_of(process)
            if why := why_not_as_before(on.target, setup.digests):
                raise RefusedError(why)
            if changed := differences(asked.setup, setup.digests):
                raise ChangedError(f"{called(on.target)} has another {', '.join(changed)} than in the plan")
            require_data_is_safe(on.target, process, _renewing(on))
        return _ANOTHER

    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """
        Stop the planned process and no other, wait until it has ended, and have it started.

        Raises:
            ChangedError: somebody else has restarted it.
            VerifyError: it did not end, or did not start.
        """
        planned, keeper = _arguments(step).process, keeper_of(on.target)
        if new != _ANOTHER or expected != _canonical(planned):
            raise RefusedError("a process that has ended cannot be brought back")
        with on.held(claim):
            with process_of_target(on.target) as (process, _):
                if process.identity != planned:
                    raise ChangedError(f"{called(on.target)} is another process by now")
                environment = setup_of(process).environment_of_start
            keeper.stop()
        _wait_until_it_ended(on.target, planned)
        with on.held(claim):
            keeper.start(environment)
        _wait_until_it_runs(on.target)

    def took_effect(self, on: ActedOn, step: Step) -> bool | None:
        """It did if the planned process has ended, whoever ended it: that is what cannot be taken back."""
        del on
        return not is_there(_arguments(step).process)

    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """Another process runs with the same command line, environment and limits, and does its work."""
        for step in steps:
            _wait_until_it_is_the_same(on.target, _arguments(step))
        _wait_until_it_is_well(on.target)


def why_not_as_before(target: Target, seen: Mapping[str, str]) -> str:
    """
    Why a process would come back with another environment; empty if it would not.

    Args:
        target: Names it.
        seen: Digests of what is seen of its setup.
    """
    if keeper_of(target).knows_environment or "environment" in seen:
        return ""
    return (
        f"the environment of {called(target)} cannot be told: it may not be seen, or the program has written "
        'its title over it; a start that begins with "env" says that it gives it one'
    )


def _renewing(on: ActedOn) -> Surroundings:
    """The same surroundings, with the claim held for as long as a backup is read."""

    def progress(done: int, total: int) -> None:
        on.around.progress(done, total)
        on.renew()

    return dataclasses.replace(on.around, progress=progress)


def _settled(target: Target) -> Kept:
    """What its keeper says once it is in a state that it stays in, or after the time that this may take."""
    keeper, end = keeper_of(target), time.monotonic() + care_of(target).timeout_s
    while (kept := keeper.look()).state in PASSING and time.monotonic() < end:
        time.sleep(_LOOK_EVERY_S)
    return kept


def _let_it_end(target: Target, planned: Owner) -> None:
    """
    Wait for the end of a process that somebody who died may have told to end.

    A keeper that does not say so is waited for as long as that may take.
    """
    keeper, end = keeper_of(target), time.monotonic() + care_of(target).timeout_s
    while is_there(planned) and time.monotonic() < end:
        if keeper.tells_stopping and keeper.look().state is not KeptState.STOPS:
            return
        time.sleep(_LOOK_EVERY_S)


def _wait_until_it_ended(target: Target, planned: Owner) -> None:
    """Until the planned process has ended, and its keeper knows."""
    keeper, end = keeper_of(target), time.monotonic() + care_of(target).timeout_s
    while is_there(planned) or keeper.look().pid == planned.pid:
        if time.monotonic() > end:
            raise VerifyError(
                f"{called(target)} was told to stop and has not ended within {care_of(target).timeout_s:g} s"
            )
        time.sleep(_LOOK_EVERY_S)


def _wait_until_it_runs(target: Target) -> None:
    keeper, end = keeper_of(target), time.monotonic() + care_of(target).timeout_s
    while (kept := keeper.look()).state is not KeptState.RUNS or kept.pid is None:
        if kept.state is KeptState.GAVE_UP or time.monotonic() > end:
            raise VerifyError(f"{called(target)} was started and does not run: {kept.says}")
        time.sleep(_LOOK_EVERY_S)


def _wait_until_it_is_the_same(target: Target, asked: Meant) -> None:
    """Until it has what it had; a program may take a moment to go to its folder and its user."""
    end = time.monotonic() + care_of(target).timeout_s
    while True:
        try:
            with process_of_target(target) as (process, _):
                if process.identity == asked.process:
                    raise VerifyError(f"{called(target)} is the same process as before")
                changed = differences(asked.setup, setup_of(process).digests)
        except UnreachableError as exc:
            raise VerifyError(str(exc)) from exc
        if not changed:
            return
        if time.monotonic() > end:
            raise VerifyError(f"{called(target)} came back with another {', '.join(changed)}")
        time.sleep(_LOOK_EVERY_S)


def _wait_until_it_is_well(target: Target) -> None:
    end = time.monotonic() + care_of(target).timeout_s
    while (found := check(target)) is not None and not found.is_well:
        if time.monotonic() > end:
            raise VerifyError(f"{called(target)} was started, and its check fails: {found.said}")
        time.sleep(_LOOK_EVERY_S)


def _canonical(process: Owner) -> bytes:
    return process.model_dump_json().encode()


def _arguments(step: Step) -> Meant:
    return Meant.model_validate(step.arguments)
