"""``medic8 undo``: put back later what a finished resolution had replaced."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Json, Override, call_of
from medic8.cli.complete import ended_runs
from medic8.cli.exits import ExitCode
from medic8.cli.recoveries import tell_of_recoveries


def undo(
    ctx: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run's id, or a recovery's, or its beginning; see medic8 history.",
            autocompletion=ended_runs,
        ),
    ],
    restorable_only: Annotated[
        bool,
        typer.Option("--restorable-only", help="Leave out what cannot be taken back, instead of refusing."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be put back.")] = False,
    override: Override = "",
    json: Json = False,
) -> int:
    """
    Undo a finished resolution: put back what it had replaced, and with it the damage that it had healed.

    What somebody else changed since stays, and is listed. Needs mode = "act" on the target, and what was
    saved then; see "keep_days" in the configuration.
    """
    from medic8.cli.render_undo import render_undo
    from medic8.model.resolution import Outcome
    from medic8.recovery import ended, later
    from medic8.recovery.journal import Journal

    call = call_of(ctx, wants_json=json)
    earlier = ended.find(Journal(call.settings.journal_url), run)
    target = later.target_of(earlier, call.settings.target).name
    door = call.door
    with call.screen.working(f"undoing recovery {earlier.id} of {target}"):
        try:
            resolution = door.undo(
                earlier.id, restorable_only=restorable_only, dry_run=dry_run, override=override
            )
        except KeyboardInterrupt:
            if not dry_run:
                call.screen.say("interrupted; what had been begun was put back, unless it is named here")
                tell_of_recoveries(call, target)
            raise
    call.screen.show(resolution, lambda: render_undo(resolution))
    is_well = resolution.outcome in {Outcome.RESOLVED, Outcome.PLANNED}
    return ExitCode.WELL if is_well else ExitCode.NOT_WELL
