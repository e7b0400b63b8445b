"""``medic8 up``, ``down`` and ``status``: the local stack."""

from __future__ import annotations

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import ExitCode


def up(ctx: typer.Context, json: Json = False) -> int:
    """Start PostgreSQL, Prefect and a Valkey server for the lab, as far as they do not run."""
    from medic8.cli.lab_configuration import lost_lab_targets, write_lab_configuration
    from medic8.cli.render_stack import render_stack
    from medic8.local import stack
    from medic8.settings import CONFIGURATION, default_home

    call = call_of(ctx, wants_json=json)
    home = default_home(call.environ)
    with call.screen.working("starting the local stack"):
        status = stack.up(home, progress=call.screen.say, environment=call.environ)
    if status.valkey_url is not None:
        if written := write_lab_configuration(home, status.valkey_url):
            call.screen.say(f"wrote {written} with the lab's targets")
        if lost := lost_lab_targets(home, status.valkey_url):
            call.screen.warn(
                f"the lab's server is at {status.valkey_url} now; {home / CONFIGURATION} says otherwise of "
                f"{', '.join(lost)}, change it there"
            )
    call.screen.show(status, lambda: render_stack(status))
    return ExitCode.WELL


def down(ctx: typer.Context, json: Json = False) -> int:
    """Stop the servers that were started here; their data stay."""
    from medic8.cli.render_stack import render_stack
    from medic8.local import stack
    from medic8.settings import default_home

    call = call_of(ctx, wants_json=json)
    with call.screen.working("stopping the local stack"):
        status = stack.down(default_home(call.environ), progress=call.screen.say, environment=call.environ)
    call.screen.show(status, lambda: render_stack(status))
    return ExitCode.WELL


def status(ctx: typer.Context, json: Json = False) -> int:
    """Say what runs of the local stack; exit code 1 unless all of it answers."""
    from medic8.cli.render_stack import render_stack
    from medic8.local import stack
    from medic8.settings import default_home

    call = call_of(ctx, wants_json=json)
    found = stack.status(default_home(call.environ), environment=call.environ)
    call.screen.show(found, lambda: render_stack(found))
    return ExitCode.WELL if found.is_up else ExitCode.NOT_WELL
