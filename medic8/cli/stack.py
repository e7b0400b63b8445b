"""``medic8 up``, ``down`` and ``status``: the local stack."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode, exit_for
from medic8.errors import ConfigurationError, Medic8Error

if TYPE_CHECKING:
    from medic8.local.stack import StackStatus
    from medic8.model.policy import Pause


def up(
    ctx: typer.Context,
    no_worker: Annotated[
        bool,
        typer.Option("--no-worker", help="Register no flows and start no worker: nothing runs by itself."),
    ] = False,
    no_gateway: Annotated[
        bool, typer.Option("--no-gateway", help="Take no alerts in, and show nobody a plan by a link.")
    ] = False,
    stock_worker: Annotated[
        bool,
        typer.Option(
            "--stock-worker", help="Start Prefect's own process worker, which takes longer to begin."
        ),
    ] = False,
    json: Json = False,
) -> int:
    """
    Start PostgreSQL, Prefect and a Valkey server for the lab, as far as they do not run.

    Then register the flows on that Prefect server, as medic8 deploy does, and start a worker for them,
    and where the configuration says who may send alerts, or a plan may wait for a person, the gateway, which
    takes alerts in and shows plans, on loopback. On a Prefect server of your own that is left to you.
    """
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
    failed: list[Medic8Error] = []
    with _going_on(call, "interrupted recoveries could not be looked for", failed):
        _end_interrupted(call)
    if not no_worker:
        with _going_on(call, "no worker was started", failed):
            status = _work(call, status, is_stock=stock_worker)
        if not no_gateway:
            with _going_on(call, "no gateway was started", failed):
                status = _listen(call, status)
    call.screen.show(status, lambda: render_stack(status))
    return exit_for(failed[0]) if failed else ExitCode.WELL


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


@contextlib.contextmanager
def _going_on(call: Call, what: str, failed: list[Medic8Error]) -> Iterator[None]:
    """Say that *what* is so where the block fails, and go on: the stack is up, whatever comes of that."""
    try:
        yield
    except Medic8Error as exc:
        call.screen.warn(f"{what}: {exc}")
        failed.append(exc)


def _work(call: Call, status: StackStatus, *, is_stock: bool) -> StackStatus:
    """Register the flows and start a worker."""
    from medic8.cli.deploy import register
    from medic8.cli.door import way_to
    from medic8.local.work import work

    # A server of somebody's own is changed when he says so, and not by the way.
    if status.server("prefect").state != "running":
        return status
    site = call.settings
    if not site.targets:
        return status
    with call.screen.working("registering the flows"):
        done = register(call, way_to(call, status), may_replace=True)  # nobody else's server
    if not done.is_unchanged:
        call.screen.say("the flows are registered; medic8 deploy --dry-run says what of them changes")
    return work(
        site.home,
        pool=site.deployments.pool,
        configuration=site.source,
        progress=call.screen.say,
        environment=call.environ,
        is_stock=is_stock,
    )


def _listen(call: Call, status: StackStatus) -> StackStatus:
    """Have the gateway run, if there is anything for it to do."""
    from medic8.local.listen import listen

    if status.server("prefect").state != "running":
        return status
    site = call.settings
    for route in site.notify:
        if route.problem:
            call.screen.warn(f"nobody is told by {route.problem}")
    return listen(
        site.home,
        configuration=site.source if site.needs_gateway else None,
        progress=call.screen.say,
        environment=call.environ,
    )


def _end_interrupted(call: Call) -> None:
    """End what processes that died have left half done."""
    from medic8.cli.interrupted import end_interrupted, has_work

    if not has_work(call):
        return
    with call.screen.working("ending interrupted recoveries"):
        sweep = end_interrupted(call)
    for recovery in sweep.ended:
        state = recovery.state.value.replace("_", " ")
        call.screen.say(f"recovery {recovery.id} of {recovery.plan.target} had died half way and is {state}")
    for each in sweep.left_open:
        call.screen.warn(f"recovery {each.recovery.id} is still open: {each.reason}")


def _paused(call: Call, found: StackStatus) -> tuple[Pause, ...]:
    """What is paused, as far as that can be found out; what stands in the way is told."""
    from datetime import UTC, datetime

    from medic8.cli.pause import pause_of_prefect
    from medic8.recovery import pauses
    from medic8.recovery.presence import journal_at

    try:
        journal = journal_at(call.settings.journal_url)
        noted = pauses.active(journal, datetime.now(UTC)) if journal else ()
        return (*noted, *pause_of_prefect(call)) if found.server("prefect").answers else noted
    except Medic8Error as exc:
        call.screen.warn(f"whether something is paused is not known: {exc}")
        return ()


def _password(home: Path) -> str:
    """
    What the local stack's Prefect server asks for.

    Raises:
        ConfigurationError: nothing.
    """
    from medic8.local.password import read_password

    kept = read_password(home)
    if kept is None:
        raise ConfigurationError(f"no local stack of {home} has a password yet: medic8 up makes one")
    if not kept:
        raise ConfigurationError(f"the local stack of {home} was told to ask for no password")
    return kept


def status(
    ctx: typer.Context,
    password: Annotated[
        bool, typer.Option("--password", help="Only what the local stack's Prefect asks for at its login.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what runs of the local stack; exit code 1 unless all of it answers."""
    from medic8.cli.render import text
    from medic8.cli.render_stack import render_stack
    from medic8.local import stack
    from medic8.settings import default_home

    call = call_of(ctx, wants_json=json)
    if password:
        kept = _password(default_home(call.environ))
        call.screen.show({"password": kept}, lambda: [text(kept)])
        return ExitCode.WELL
    found = stack.status(default_home(call.environ), environment=call.environ)
    found = found.model_copy(update={"paused": _paused(call, found)})
    call.screen.show(found, lambda: render_stack(found))
    return ExitCode.WELL if found.is_up else ExitCode.NOT_WELL
