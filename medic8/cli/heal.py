"""``medic8 plan`` and ``medic8 heal``: say what would be done about a target's issues, and do it."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Call, Json, Override, call_of
from medic8.cli.complete import origins
from medic8.cli.diagnose import TargetName, Watch
from medic8.cli.exits import ExitCode, exit_after
from medic8.cli.recoveries import tell_how_ours_ended, tell_of_recoveries
from medic8.errors import ConfigurationError, TransientError

#: As `medic8.model.policy.Origin` has them; a model is not loaded to show the help.
_ORIGINS = ("person", "schedule", "alert")


def plan(ctx: typer.Context, target: TargetName, watch: Watch = 0, json: Json = False) -> int:
    """Say what heal would do, and what it may not; nothing is changed."""
    return _treat(call_of(ctx, wants_json=json), target, [], is_dry_run=True, watch_s=watch)


def heal(
    ctx: typer.Context,
    target: TargetName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan, like medic8 plan.")] = False,
    approve: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIGEST",
            help="Agree to exactly the plan with this digest; may be given again.",
            show_default=False,
        ),
    ] = None,
    origin: Annotated[
        str,
        typer.Option(
            help="Who or what calls: person, schedule or alert; a timer has limits that a person has not.",
            autocompletion=origins,
        ),
    ] = "person",
    override: Override = "",
    watch: Watch = 0,
    json: Json = False,
) -> int:
    """Do what the target's allow-list permits, verify it, and undo what does not help."""
    call = call_of(ctx, wants_json=json)
    return _treat(
        call, target, approve or [], is_dry_run=dry_run, origin=origin, override=override, watch_s=watch
    )


def _treat(
    call: Call,
    target: str,
    approve: list[str],
    *,
    is_dry_run: bool,
    origin: str = "person",
    override: str = "",
    watch_s: int = 0,
) -> int:
    from medic8.safety.admission import check_approvals

    if origin not in _ORIGINS:
        raise ConfigurationError(f"--origin {origin!r}: expected {', '.join(_ORIGINS)}")
    if override and origin != "person":
        raise ConfigurationError(f"--override is a person's word, not that of origin {origin!r}")
    if approve and origin != "person":
        raise ConfigurationError(f"--approve is a person's word, not that of origin {origin!r}")
    name = call.settings.target(target).name
    approved = list(check_approvals(approve))
    door = call.door
    with call.screen.working(f"{'planning for' if is_dry_run else 'healing'} {name}"):
        try:
            treatment = door.heal(
                name,
                dry_run=is_dry_run,
                approved=approved,
                origin=origin,
                override=override,
                watch_s=watch_s,
            )
        except KeyboardInterrupt:
            if not is_dry_run:
                call.screen.say("interrupted; what had been begun was put back, unless it is named here")
                tell_of_recoveries(call, name)
            raise
        except TransientError:
            if not is_dry_run:
                tell_how_ours_ended(call, name)
            raise

    from medic8.cli.render_treatment import render_treatment

    call.screen.show(treatment, lambda: render_treatment(treatment))
    waits = tell_of_recoveries(call, name)
    return ExitCode.NOT_WELL if waits else exit_after(treatment.after or treatment.before)
