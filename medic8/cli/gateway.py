"""``medic8 gateway`` and ``medic8 alerts``: take alerts in, and show what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.complete import target_names
from medic8.cli.exits import ExitCode
from medic8.cli.indexed import known_journal


def gateway(
    ctx: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=1, max=65535)] = 4290,
    certificate: Annotated[
        Path | None, typer.Option(help="Speak HTTPS with this certificate.", show_default=False)
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The key of the certificate.", show_default=False)] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            "--client-ca", help="Let in who has a certificate of these authorities.", show_default=False
        ),
    ] = None,
) -> int:
    """
    Take alerts of other programs in over HTTP, and have each target that they are about looked at, once.

    Runs until it is ended. Who may send stands in [alerts] of the configuration; docs/alerts.md.
    """
    from medic8.alerts.serving import Place, serve

    call = call_of(ctx)
    place = Place(host=host, port=port, certificate=certificate, key=key, client_ca=client_ca)
    serve(call.settings, place, environ=call.environ, progress=call.screen.say)
    return ExitCode.WELL


def alerts(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Option(help="Only about this target.", show_default=False, autocompletion=target_names),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    limit: Annotated[int, typer.Option(help="Most alerts to list.", min=1, max=1000)] = 100,
    json: Json = False,
) -> int:
    """List the alerts that were taken in, those sent last first, and what answers each."""
    from medic8.alerts.inbox import Inbox
    from medic8.cli.render_alerts import render_alerts

    call = call_of(ctx, wants_json=json)
    journal = known_journal(call)
    rows = Inbox(journal).rows(limit=limit, is_open_only=not all_, target=target) if journal else ()
    call.screen.show({"alerts": rows}, lambda: render_alerts(rows))
    return ExitCode.WELL
