"""``medic8 pause`` and ``medic8 resume``: nothing is begun any more, and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import paused, scopes
from medic8.cli.exits import ExitCode
from medic8.cli.history import UNITS
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.model.policy import Pause

_TIMEOUT_S = 3.0


def pause(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever is stopped.")],
    what: Annotated[
        str,
        typer.Argument(
            metavar="[TARGET|LABEL]",
            help="A target's name, or a label as key=value; everything if left out.",
            show_default=False,
            autocompletion=scopes,
        ),
    ] = "",
    until: Annotated[
        str | None,
        typer.Option(help="For 30m, 12h, 7d, 2w, or until a time such as 2026-01-31.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Have nothing begun any more, by anybody; what is under way is undone before its next unit."""
    from medic8.cli.render_policy import render_pauses
    from medic8.model.policy import Pause
    from medic8.recovery import pauses
    from medic8.recovery.journal import Journal

    call = call_of(ctx, wants_json=json)
    now = datetime.now(UTC)
    if not reason.strip():
        raise ConfigurationError("--reason is empty: whoever is stopped at night has to know why")
    _require_known(call, what)
    end = None if until is None else parse_until(until, now=now)
    wanted = Pause(on=what, reason=reason.strip(), by=this_person(), since=now, until=end)
    begun = pauses.begin(Journal(call.settings.journal_url), wanted)
    call.screen.show({"paused": begun}, lambda: render_pauses([begun]))
    return ExitCode.WELL


def resume(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[TARGET|LABEL]",
            help="As it was paused; the pause of everything if left out.",
            show_default=False,
            autocompletion=paused,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """End a pause; 1 if there was none."""
    from medic8.cli.render_policy import render_pauses
    from medic8.recovery import pauses
    from medic8.recovery.journal import Journal

    call = call_of(ctx, wants_json=json)
    journal, now = Journal(call.settings.journal_url), datetime.now(UTC)
    lifted = pauses.lift(journal, what, by=this_person(), at=now)
    left = pauses.active(journal, now)
    call.screen.show({"resumed": lifted, "paused": left}, lambda: render_pauses(left))
    if not lifted:
        call.screen.say(f"{what or 'everything'} was not paused")
    return ExitCode.WELL if lifted else ExitCode.NOT_WELL


def pause_of_prefect(call: Call) -> tuple[Pause, ...]:
    """What Prefect's variable says, where a server answers; none is started to be asked."""
    from medic8.errors import Medic8Error
    from medic8.local.prefect_api import api_of
    from medic8.local.status import running_prefect
    from medic8.safety.variable import VARIABLE, pause_said_by

    unseen = f"so that its variable {VARIABLE} was not looked at"
    if (prefect := running_prefect(call.settings.home, call.environ)) is None:
        call.screen.say(f"no Prefect server runs, {unseen}")
        return ()
    try:
        with api_of(prefect, timeout_s=_TIMEOUT_S) as api:
            found = api.variable(VARIABLE)
    except (Medic8Error, OSError) as exc:
        call.screen.warn(f"{exc}, {unseen}")
        return ()
    return () if found is None else pause_said_by(*found)


def this_person() -> str:
    """Who calls, as far as the machine knows."""
    import getpass
    import os

    return f"{getpass.getuser()} on {os.uname().nodename}"


def parse_until(text: str, *, now: datetime) -> datetime:
    """
    When *text* says that it is over: so long after *now*, or at a time; one without a zone is local.

    Raises:
        ConfigurationError: *text* is neither, or is over.
    """
    number, unit = text[:-1], UNITS.get(text[-1:])
    try:
        if unit and number.isdecimal():
            end = now + timedelta(**{unit: int(number)})
        else:
            end = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"--until {text!r}: expected 30m, 12h, 7d or 2w, or a time such as 2026-01-31T18:00"
        ) from None
    if end <= now:
        raise ConfigurationError(f"--until {text!r} is over")
    return end


def _require_known(call: Call, what: str) -> None:
    """A pause of what is not there would be taken for one that protects."""
    targets = call.settings.targets
    labels = {f"{key}={value}" for target in targets for key, value in target.labels.items()}
    if what in {"", *labels}:
        return
    if "=" in what:
        raise ConfigurationError(
            f"no target has the label {what!r}; known are {', '.join(sorted(labels)) or 'none'}"
        )
    call.settings.target(what)
