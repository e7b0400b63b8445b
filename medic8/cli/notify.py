"""``medic8 notify``: where people are told what happens, whether that works, and what waits."""

from __future__ import annotations

from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import EPILOG, ExitCode
from medic8.errors import ConfigurationError


def build_notify() -> typer.Typer:
    """Everything that ``medic8 notify`` understands."""
    app = typer.Typer(
        name="notify",
        help="See where people are told what happens, try it, and send what waits.",
        no_args_is_help=True,
    )
    app.command("list", epilog=EPILOG)(list_)
    app.command("test", epilog=EPILOG)(try_out)
    app.command(epilog=EPILOG)(send)
    return app


def list_(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also what was told, and what became of it.")] = False,
    limit: Annotated[int, typer.Option(help="Most notices to list with --all.", min=1, max=500)] = 50,
    json: Json = False,
) -> int:
    """List the routes and how each does; 1 if something could not be sent."""
    from medic8.cli.render_notify import render_notices, render_routes
    from medic8.recovery import outbox
    from medic8.recovery.journal import Journal

    call = call_of(ctx, wants_json=json)
    routes = call.settings.notify
    journal = Journal(call.settings.journal_url)
    states = outbox.states(journal, [each.name for each in routes])
    told = outbox.newest(journal, limit) if all_ else ()
    document: dict[str, object] = {"routes": routes, "states": states}
    call.screen.show(
        document | ({"notices": told} if all_ else {}),
        lambda: (*render_routes(routes, states), *(render_notices(told) if all_ else ())),
    )
    is_well = not any(each.problem for each in routes) and not any(each.reason for each in states)
    return ExitCode.WELL if is_well else ExitCode.NOT_WELL


def try_out(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="The route; all if left out.", show_default=False)
    ] = "",
    json: Json = False,
) -> int:
    """Send a test message, and say what came of it; 1 if it could not be sent."""
    from medic8.cli.render_notify import render_sent
    from medic8.notifying.sender import Sender

    call = call_of(ctx, wants_json=json)
    routes = [each for each in call.settings.notify if name in {"", each.name}]
    if not routes:
        known = ", ".join(each.name for each in call.settings.notify) or "none"
        raise ConfigurationError(
            f"there is no [[notify]] called {name!r}; known are {known}"
            if name
            else "nobody is told anything: the configuration has no [[notify]]"
        )
    sender = Sender(call.settings, environ=call.environ)
    with call.screen.working("sending a test message"):
        sent = [sender.try_out(each) for each in routes]
    call.screen.show({"sent": sent}, lambda: render_sent(sent))
    return ExitCode.WELL if all(each.is_sent for each in sent) else ExitCode.NOT_WELL


def send(ctx: typer.Context, json: Json = False) -> int:
    """Send what waits, as the gateway does all the time; 1 if something could not be sent."""
    from medic8.cli.render_notify import render_sent
    from medic8.notifying.sender import Sender

    call = call_of(ctx, wants_json=json)
    sender = Sender(call.settings, environ=call.environ)
    with call.screen.working("sending what waits"):
        sent = sender.once()
    call.screen.show({"sent": sent}, lambda: render_sent(sent))
    return ExitCode.WELL if all(each.is_sent for each in sent) else ExitCode.NOT_WELL
