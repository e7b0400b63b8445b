"""``medic8 approvals``, ``approve`` and ``deny``: what waits for a person, and that person's word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from medic8.cli.call import Json, call_of
from medic8.cli.exits import ExitCode, exit_after
from medic8.cli.indexed import known_journal
from medic8.cli.pause import this_person
from medic8.cli.recoveries import tell_how_ours_ended, tell_of_recoveries
from medic8.errors import TransientError

#: So far back decided requests are shown with ``--all``.
_SHOWN = timedelta(days=7)

Named = Annotated[
    str,
    typer.Argument(
        metavar="RUN|DIGEST",
        help="The plan's digest, or the run that asked, or its beginning; see medic8 approvals.",
        show_default=False,
    ),
]
Reason = Annotated[str, typer.Option(help="Why; shown in the history.", show_default=False)]
By = Annotated[
    str, typer.Option(metavar="NAME", help="Who says so; else the user of this machine.", show_default=False)
]


def approvals(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also those decided in the last seven days.")] = False,
    link: Annotated[
        str,
        typer.Option(
            metavar="RUN|DIGEST",
            help="Make a link by which whoever gets it may decide, once and soon.",
            show_default=False,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """List the plans that wait for a person; 1 if any does."""
    from medic8.cli.render_approvals import render_requests
    from medic8.recovery import approvals as requests

    call = call_of(ctx, wants_json=json)
    journal, now = known_journal(call), datetime.now(UTC)
    if journal is None:
        call.screen.show({"approvals": []}, lambda: render_requests(()))
        return ExitCode.USAGE if link else ExitCode.WELL
    if link:
        how = call.settings.approvals
        request = requests.find(journal, link, now)
        made = requests.make_link(journal, request, how, now)
        call.screen.show({"link": made}, lambda: iter((made,)))
        return ExitCode.WELL
    found = requests.listed(journal, now, now - _SHOWN if all_ else None)
    call.screen.show({"approvals": found}, lambda: render_requests(found))
    return ExitCode.NOT_WELL if any(each.decided_at is None for each in found) else ExitCode.WELL


def approve(ctx: typer.Context, plan: Named, reason: Reason, by: By = "", json: Json = False) -> int:
    """
    Agree to a plan that waits, and carry it out.

    The target is diagnosed and planned for again, and every rule is asked again. If another plan comes out
    of it, nothing is done, and that one is asked for.
    """
    from medic8.cli.render_approvals import render_requests
    from medic8.cli.render_treatment import render_treatment
    from medic8.recovery import approvals as requests
    from medic8.recovery.journal import Journal
    from medic8.safety.approving import checked_name, checked_reason

    call = call_of(ctx, wants_json=json)
    why, who = checked_reason(reason), checked_name(by, this_person())
    request = requests.find(Journal(call.settings.journal_url), plan, datetime.now(UTC))
    name = call.settings.target(request.target).name
    door = call.door
    with call.screen.working(f"carrying out plan {request.digest[:12]} for {name}"):
        try:
            decided = door.approve(request.digest, reason=why, by=who)
        except KeyboardInterrupt:
            call.screen.say("interrupted; what had been begun was put back, unless it is named here")
            tell_of_recoveries(call, name)
            raise
        except TransientError:
            tell_how_ours_ended(call, name)
            raise
    done = decided.treatment
    call.screen.show(
        decided,
        lambda: render_requests([decided.request]) if done is None else render_treatment(done),
    )
    waits = tell_of_recoveries(call, name)
    return ExitCode.NOT_WELL if waits or done is None else exit_after(done.after or done.before)


def deny(ctx: typer.Context, plan: Named, reason: Reason, by: By = "", json: Json = False) -> int:
    """Say no to a plan that waits; the same is not asked for again for some time."""
    from medic8.cli.render_approvals import render_requests
    from medic8.model.approval import Choice
    from medic8.recovery import approvals as requests
    from medic8.recovery.journal import Journal
    from medic8.safety.approving import checked_name

    call = call_of(ctx, wants_json=json)
    journal, now = Journal(call.settings.journal_url), datetime.now(UTC)
    who = checked_name(by, this_person())
    request = requests.find(journal, plan, now)
    denied = requests.decide(journal, request.id, Choice.DENY, by=who, reason=reason, at=now)
    call.screen.show({"denied": denied}, lambda: render_requests([denied]))
    return ExitCode.WELL
