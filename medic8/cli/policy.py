"""``medic8 policy``: what would be decided about a target, and why; what is paused, reserved and told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import issue_types, origins
from medic8.cli.diagnose import TargetName
from medic8.cli.exits import EPILOG, ExitCode
from medic8.cli.indexed import known_journal
from medic8.cli.pause import pause_of_prefect
from medic8.errors import ConfigurationError

if TYPE_CHECKING:
    from medic8.model.policy import Escalation, Reservation, Ruling
    from medic8.model.target import Target

#: So far back somebody wants to see what was escalated.
_SHOWN = timedelta(days=7)


def build_policy() -> typer.Typer:
    """Everything that ``medic8 policy`` understands."""
    app = typer.Typer(
        name="policy",
        help="See what may be begun automatically, and what stands against it.",
        no_args_is_help=True,
    )
    app.command(epilog=EPILOG)(check)
    app.command(epilog=EPILOG)(show)
    return app


def check(
    ctx: typer.Context,
    target: TargetName,
    issue: Annotated[
        str | None,
        typer.Option(help="About this type of issue.", show_default=False, autocompletion=issue_types),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="S", help="By this strategy.", show_default=False)
    ] = None,
    origin: Annotated[
        str, typer.Option(help="As person, schedule or alert.", autocompletion=origins)
    ] = "schedule",
    json: Json = False,
) -> int:
    """Say what every rule would decide on a target now, and by which numbers; 1 if it would be refused."""
    from medic8.cli.render_policy import render_rulings
    from medic8.model.issue import IssueType
    from medic8.model.policy import Mandate, Origin
    from medic8.safety.rules import refusal_in

    call = call_of(ctx, wants_json=json)
    if issue is not None and issue not in set(IssueType):
        raise ConfigurationError(f"--issue {issue!r}: expected {', '.join(IssueType)}")
    if origin not in set(Origin):
        raise ConfigurationError(f"--origin {origin!r}: expected {', '.join(Origin)}")
    subject = call.settings.target(target)
    mandate = Mandate(origin=Origin(origin))
    said = (*_of_plans(subject, strategy), *_of_rules(call, subject, issue or "", mandate))
    refusal = refusal_in(said)
    call.screen.show(
        {"target": subject.name, "origin": origin, "refused": refusal, "rules": said},
        lambda: render_rulings(subject.name, mandate, said),
    )
    return ExitCode.WELL if refusal is None else ExitCode.NOT_WELL


def show(ctx: typer.Context, json: Json = False) -> int:
    """List what is paused, what is under way, and what was escalated in the last seven days."""
    from medic8.cli.render_policy import render_state
    from medic8.recovery import pauses, reservations, watching

    call = call_of(ctx, wants_json=json)
    journal, now = known_journal(call), datetime.now(UTC)
    paused = pause_of_prefect(call)
    known: tuple[Reservation, ...] = ()
    told: tuple[Escalation, ...] = ()
    if journal is not None:
        paused = (*pauses.active(journal, now), *paused)
        with journal.transaction() as connection:
            known = reservations.since(connection, now - timedelta(seconds=call.settings.policy.per_target_s))
        told = watching.escalations(journal, now - _SHOWN)
    call.screen.show(
        {"policy": call.settings.policy, "paused": paused, "reserved": known, "escalated": told},
        lambda: render_state(paused, known, told),
    )
    return ExitCode.WELL


def _of_plans(target: Target, strategy: str | None) -> tuple[Ruling, ...]:
    """What binds every plan, as far as it is known without one."""
    from medic8.model.policy import Ruling
    from medic8.safety.admission import objection_to

    found = objection_to(target, strategy)
    rules = ("mode",) if strategy is None else ("mode", "allow")
    return tuple(
        Ruling(rule=rule, is_broken=found.rule == rule, reason=found.reason if found.rule == rule else "")
        for rule in rules
    )


def _of_rules(call: Call, target: Target, issue_type: str, mandate: object) -> tuple[Ruling, ...]:
    """What the rules say; about the issue that was treated most often, if no other is known."""
    from medic8.errors import TransientError
    from medic8.model.policy import Mandate, Ruling
    from medic8.recovery import reservations
    from medic8.recovery.journal import Journal
    from medic8.settings.asking import asking

    now, paused = datetime.now(UTC), pause_of_prefect(call)
    wanted = Mandate.model_validate(mandate)
    try:
        journal = Journal(call.settings.journal_url)
        with journal.transaction() as connection:
            begin = now - timedelta(seconds=call.settings.policy.looks_back_s)
            known = reservations.since(connection, begin)
        issues = [
            each.issue for each in known if each.target == target.name and issue_type in {"", each.issue_type}
        ]
        worst = max(set(issues), key=issues.count, default="")
        question = asking(
            call.settings, target, wanted, issue=worst, issue_type=issue_type, pauses=paused, at=now
        )
        return question.look(journal)
    except TransientError as exc:
        return (Ruling(rule="journal", is_broken=True, reason=f"{exc}; nothing would be begun"),)
