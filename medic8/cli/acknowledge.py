"""``medic8 acknowledge``: what waits for a person, and opening it to automation again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.complete import waiting_recoveries
from medic8.cli.exits import ExitCode
from medic8.errors import ConfigurationError


def acknowledge(
    ctx: typer.Context,
    recovery: Annotated[
        str | None,
        typer.Argument(
            metavar="RECOVERY",
            help="Its id, or the beginning of it.",
            show_default=False,
            autocompletion=waiting_recoveries,
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the recoveries that wait for a person, or say that one of them is dealt with."""
    from medic8.cli.render_treatment import render_ended
    from medic8.model.recovery import RecoveryState
    from medic8.recovery.journal import Journal

    call = call_of(ctx, wants_json=json)
    journal = Journal(call.settings.journal_url)
    waiting = [each for each in journal.holding() if each.state is RecoveryState.NEEDS_PERSON]
    if recovery is None:
        call.screen.show(
            {"waiting": waiting},
            lambda: [render_ended(each) for each in waiting] or ["no recovery waits for a person"],
        )
        return ExitCode.NOT_WELL if waiting else ExitCode.WELL
    found = [each for each in waiting if each.id.startswith(recovery.lower())]
    if len(found) != 1:
        known = ", ".join(each.id for each in waiting) or "none"
        raise ConfigurationError(
            f"{len(found)} recoveries that begin with {recovery!r} wait for a person; waiting are: {known}"
        )
    acknowledged = journal.acknowledge(found[0].id, at=datetime.now(UTC))
    call.screen.show({"acknowledged": acknowledged}, lambda: [render_ended(acknowledged)])
    call.screen.say(f"{acknowledged.plan.target} is open to automation again")
    return ExitCode.WELL
