"""``medic8 gateway`` and ``medic8 alerts``: take alerts in, and show what became of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import target_names
from medic8.cli.exits import ExitCode
from medic8.cli.indexed import known_journal

if TYPE_CHECKING:
    from medic8.cli.render_alerts import Answers
    from medic8.model.alert import MalformedRow, Row
    from medic8.model.statistics import Tracked


#: What was no alert is shown for so long without being asked for.
_LATELY_S = 24 * 3600.0

#: Most alerts that one run answers, and resolutions of it, that are shown.
_MOST_SHOWN = 20


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
    call.stays = True
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
    rows: tuple[Row, ...] = ()
    wrong: tuple[MalformedRow, ...] = ()
    if journal is not None:
        inbox = Inbox(journal)
        rows = inbox.rows(limit=limit, is_open_only=not all_, target=target)
        if target is None:  # what is no alert is about none
            since_s = 0.0 if all_ else time.time() - _LATELY_S
            wrong = inbox.malformed(limit=limit, since_s=since_s)
    call.screen.show({"alerts": rows, "malformed": wrong}, lambda: render_alerts(rows, wrong))
    return ExitCode.WELL


def answers_called(call: Call, name: str) -> Answers | None:
    """The alerts whose id is *name* or begins so, or their run's; None if there are none, or it is silent."""
    from medic8.alerts.inbox import Inbox
    from medic8.cli.render_alerts import Answers
    from medic8.errors import TransientError
    from medic8.local.status import running_prefect
    from medic8.model.statistics import Wanted
    from medic8.recovery import resolutions
    from medic8.recovery.ended import LEAST_DIGITS
    from medic8.recovery.presence import journal_at

    if len(name) < LEAST_DIGITS:
        return None
    try:
        if (journal := journal_at(call.settings.journal_url)) is None:
            return None
        rows = Inbox(journal).called(name, limit=_MOST_SHOWN)
        answer = next((each.answer for each in rows if each.answer), None)
        tried: list[Tracked] = []
        if answer is not None:
            begun = Wanted(target=answer.target, since=datetime.fromtimestamp(answer.opened_at_s, UTC))
            ended_s = answer.ended_at_s or float("inf")
            tried = resolutions.newest(journal, begun, _MOST_SHOWN)
            tried = [each for each in tried if each.started_at.timestamp() <= ended_s]
    except TransientError:
        return None  # who looks for recoveries has told it
    prefect = running_prefect(call.settings.home, call.environ)
    url = f"{prefect.ui_url}/runs/flow-run/{answer.run}" if prefect and answer and answer.run else ""
    return Answers(alerts=rows, resolutions=tuple(tried), url=url) if rows else None
