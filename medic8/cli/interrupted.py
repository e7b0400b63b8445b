"""``medic8 recover-interrupted``: end what a process that died has left half done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode
from medic8.errors import Medic8Error

if TYPE_CHECKING:
    from medic8.model.recovery import Sweep


def recover_interrupted(
    ctx: typer.Context,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Go on looking, so often, until the command is stopped.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """
    Find every open recovery whose process has died, and end it: put back what it had begun.

    May run any number of times at once. Without a Prefect server the targets are
    made safe all the same, and the next run completes the history.
    """
    call = call_of(ctx, wants_json=json)
    with call.screen.working("looking for interrupted recoveries"):
        sweep = end_interrupted(call)
    _show(call, sweep)
    while every is not None:
        time.sleep(every)
        try:
            if has_work(call):
                _show(call, end_interrupted(call))
        except Medic8Error as exc:
            call.screen.warn(str(exc))
    return exit_after(sweep)


def exit_after(sweep: Sweep) -> ExitCode:
    """The exit code of a command that did *sweep*."""
    from medic8.model.recovery import RecoveryState

    waits = any(each.state is RecoveryState.NEEDS_PERSON for each in sweep.ended)
    return ExitCode.NOT_WELL if waits or sweep.left_open else ExitCode.WELL


def has_work(call: Call) -> bool:
    """Whether a recovery is interrupted, or the history lacks the end of one."""
    from datetime import UTC, datetime

    from medic8.recovery.interrupted import interrupted_on
    from medic8.recovery.journal import Journal
    from medic8.recovery.untold import untold

    journal = Journal(call.settings.journal_url)
    return bool(interrupted_on(journal) or untold(journal, datetime.now(UTC)))


def end_interrupted(call: Call) -> Sweep:
    """
    End every interrupted recovery, through Prefect where a server answers.

    Raises:
        TransientError: the journal does not answer.
    """
    from medic8.local import stack

    status = stack.status(call.settings.home, environment=call.environ)
    if status.server("prefect").answers:
        try:
            return call.door.restore_interrupted()
        except Medic8Error as exc:
            call.screen.warn(f"{exc}; going on without Prefect")
    return _without_prefect(call)


def _show(call: Call, sweep: Sweep) -> None:
    from medic8.cli.render_interrupted import render_sweep

    call.screen.show(sweep, lambda: render_sweep(sweep))


def _without_prefect(call: Call) -> Sweep:
    from datetime import UTC, datetime

    from medic8.owner import this_process
    from medic8.recovery.interrupted import end_all
    from medic8.recovery.journal import Journal
    from medic8.sessions import session_on

    site = call.settings
    sweep = end_all(
        Journal(site.journal_url),
        this_process(),
        session_of=lambda name: session_on(site.target(name), site),
        clock=lambda: datetime.now(UTC),
    )
    if sweep.ended:
        call.screen.say("no Prefect server was asked; the next run completes the history")
    return sweep
