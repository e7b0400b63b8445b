"""``medic8 deploy``: register all flows on a Prefect server."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, cast

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode

if TYPE_CHECKING:
    from medic8.local.prefect_access import PrefectAccess
    from medic8.model.registration import Registration


def deploy(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove what is there although it is about other targets.")
    ] = False,
    json: Json = False,
) -> int:
    """
    Register every flow on the Prefect server, with forms, schedules and queues, as configured.

    May be repeated at any time: what is so already is left alone, and what people have paused stays paused.
    """
    from medic8.cli.door import reach
    from medic8.cli.render_deploy import render_registration

    call = call_of(ctx, wants_json=json)
    with call.screen.working("registering the flows"):
        done = register(call, reach(call), is_dry_run=dry_run, may_replace=replace)
    call.screen.show(done, lambda: render_registration(done))
    return ExitCode.WELL


def register(
    call: Call, access: PrefectAccess, *, is_dry_run: bool = False, may_replace: bool = False
) -> Registration:
    """
    Register the flows of the call's configuration on the server of *access*.

    Raises:
        ConfigurationError: there are no targets, a name is taken, or all that is there seems another site's.
        UnreachableError: the server does not let us in.
    """
    # By name, since what a site installs stands above the command line.
    done = importlib.import_module("deployments").register(
        call.settings, access, is_dry_run=is_dry_run, may_replace=may_replace
    )
    return cast("Registration", done)
