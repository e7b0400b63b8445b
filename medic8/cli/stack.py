"""``medic8 up``, ``down`` and ``status``: the local stack."""

from __future__ import annotations

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode
from medic8.errors import Medic8Error


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
    _end_interrupted(call)
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


def _end_interrupted(call: Call) -> None:
    """End what processes that died have left half done; the stack is up, whatever comes of that."""
    from medic8.cli.interrupted import end_interrupted, has_work

    try:
        if not has_work(call):
            return
        with call.screen.working("ending interrupted recoveries"):
            sweep = end_interrupted(call)
    except Medic8Error as exc:
        call.screen.warn(f"interrupted recoveries could not be looked for: {exc}")
        return
    for recovery in sweep.ended:
        state = recovery.state.value.replace("_", " ")
        call.screen.say(f"recovery {recovery.id} of {recovery.plan.target} had died half way and is {state}")
    for each in sweep.left_open:
        call.screen.warn(f"recovery {each.recovery.id} is still open: {each.reason}")


def status(ctx: typer.Context, json: Json = False) -> int:
    """Say what runs of the local stack; exit code 1 unless all of it answers."""
    from medic8.cli.render_stack import render_stack
    from medic8.local import stack
    from medic8.settings import default_home

    call = call_of(ctx, wants_json=json)
    found = stack.status(default_home(call.environ), environment=call.environ)
    call.screen.show(found, lambda: render_stack(found))
    return ExitCode.WELL if found.is_up else ExitCode.NOT_WELL
