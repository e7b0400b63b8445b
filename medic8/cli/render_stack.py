"""The local stack for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import facts, table, text, word
from medic8.local.status import StackStatus
from medic8.model.wording import moment

#: Said of a server of ours that the user wants to have no password.
OPEN = "Prefect asks nobody for a password: every program on this machine can start runs and decide on plans"

_ANSWERS = {True: "answers", False: "does not answer", None: "-"}


def render_stack(status: StackStatus) -> Iterator[RenderableType]:
    """One line for each server, then where to go; first of all what could not be found out."""
    if status.problem:
        yield text(status.problem, "red")
        yield ""
    listed = table("server", "state", "", "version", "pid", "since", "address")
    for server in status.servers:
        listed.add_row(
            text(server.name, "bold"),
            word(server.state),
            _ANSWERS[server.answers] if not server.problem else "cannot be used",
            text(server.version or "-"),
            str(server.pid or "-"),
            moment(server.since),
            text(server.address or "-"),
        )
    yield listed
    yield ""
    for server in status.servers:
        if server.problem:
            yield text(f"{server.name} {server.problem}", "red")
            yield ""
    for pause in status.paused:
        until = f" until {moment(pause.until)}" if pause.until else ""
        since = f"since {moment(pause.since)}{until} by {pause.by}: {pause.reason}"
        yield text(f"{pause.on or 'everything'} is paused {since}", "yellow")
        yield ""
    if status.is_guarded is False:
        yield text(OPEN, "red")
        yield ""
    yield facts(
        (
            ("home", str(status.home)),
            ("Prefect", status.prefect_ui_url or ""),
            ("its password", "medic8 status --password" if status.is_guarded else ""),
            ("grid", status.valkey_url or ""),
            ("alerts", status.gateway_url or ""),
        )
    )
