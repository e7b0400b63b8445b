"""``medic8 worker``: carry out what people, schedules and alerts start in Prefect, at once."""

from __future__ import annotations

import os
import socket
import sys
from typing import Annotated

import typer

from medic8.cli.call import call_of


def worker(
    ctx: typer.Context,
    queue: Annotated[
        list[str] | None, typer.Option(help="Only this queue; may be repeated.", show_default="all")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What Prefect shows it as; its own on this machine.", show_default="the host's"),
    ] = None,
    limit: Annotated[int, typer.Option(help="Most runs at a time; each is a process.", min=1)] = 16,
    poll: Annotated[
        float, typer.Option(help="Seconds between two questions for runs that no event told of.", min=0.5)
    ] = 5.0,
    drain: Annotated[
        float,
        typer.Option(help="Seconds that runs may go on after SIGTERM before they are told to end.", min=0),
    ] = 5.0,
    grace: Annotated[
        float, typer.Option(help="Seconds that a cancelled run may take to put back what it began.", min=1)
    ] = 120.0,
) -> None:
    """
    Carry out the runs of the work pool as soon as Prefect tells of them, from a process that is warm.

    Runs until SIGTERM or Ctrl-C, and then lets runs end. docs/responder.md.
    """
    from medic8.cli.door import prepare, reach
    from medic8.errors import ConfigurationError

    call = call_of(ctx)
    site = call.settings
    name = name or socket.gethostname()
    if set(name) & set("/%"):
        raise ConfigurationError(f'a worker cannot be called "{name}": Prefect takes no "/" and no "%" there')
    # Runs wait for a server that is away as they do under any worker, and what a worker says is to be read.
    call.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "5")
    prepare(call.environ, site, reach(call), is_debug=True)
    words = ["--pool", site.deployments.pool, "--name", name, "--folder", str(site.home / "responder" / name)]
    words += [word for each in queue or [] for word in ("--queue", each)]
    words += ["--limit", str(limit), "--poll", str(poll), "--drain", str(drain), "--grace", str(grace)]
    # In our place, since it stays: nothing of the command line is held in memory. And not from the folder
    # that we are called in, which may have a "flows" of its own.
    command = [sys.executable, "-P", "-m", "deployments.responder", *words]
    os.execve(sys.executable, command, dict(call.environ))  # noqa: S606 - our own words
