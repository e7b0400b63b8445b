"""Tell reports, plans and resolutions in Markdown, for artifacts."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from medic8.drawing.text import as_text, in_words, remarks
from medic8.model.approval import ApprovalRequest
from medic8.model.grid_map import MapPicture
from medic8.model.guard import GuardVerdict
from medic8.model.issue import CauseLink, Finding, Issue
from medic8.model.plan import Plan
from medic8.model.policy import Refusal
from medic8.model.recovery import StepRecord
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.resolution import Approval, Outcome, Resolution
from medic8.model.schedule import APPROVING
from medic8.model.wording import counted, size

#: Rows of one table; an artifact is for reading, the whole is in the persisted result.
_MOST_ROWS = 100

#: Bytes of a picture inside an artifact; what is larger is told as text.
_MOST_PICTURED = 140_000


def report(diagnosis: DiagnosticReport) -> str:
    """A whole diagnosis: the state in one word, what is wrong, what was seen."""
    parts = [
        f"# {escape(diagnosis.target)}: {diagnosis.analysis.health.value}",
        f"Kind `{diagnosis.kind}`, {diagnosis.taken_at:%Y-%m-%d %H:%M:%S %Z}, {diagnosis.duration_s:.2f} s.",
    ]
    parts += [_issue(issue) for issue in diagnosis.issues] or ["No issue was found."]
    parts += section("Findings", _findings(diagnosis.analysis.findings))
    parts += section("Not looked at", bullets(diagnosis.analysis.unseen))
    parts += section("Readings", _readings(diagnosis.results.values()))
    return "\n\n".join(parts)


def plan(planned: Plan) -> str:
    """A plan that a person can read and say yes or no to."""
    rows = [
        (str(number), unit.title, step.title, step.step_class.value)
        for number, (unit, step) in enumerate(
            ((unit, step) for unit in planned.units for step in unit.steps), start=1
        )
    ]
    parts = [
        f"# Plan {planned.strategy} for {escape(planned.target)}",
        escape(planned.summary),
        f"Risk **{planned.risk.value}**, {planned.step_count} steps in {len(planned.units)} units, digest "
        f"`{planned.digest[:12]}`."
        + (f" It needs approval: {planned.why_approval}." if planned.needs_approval else ""),
        table(("#", "Unit", "Step", "Class"), rows),
    ]
    parts += section("Left open", bullets(planned.left_open))
    return "\n\n".join(parts)


def resolution(resolved: Resolution) -> str:
    """What was wrong, what was done, what came of it and what is left."""
    parts = [
        f"# {escape(resolved.target)}: {resolved.outcome.value.replace('_', ' ')}",
        escape(resolved.reason),
    ]
    if resolved.issue is not None:
        parts.append(_issue(resolved.issue))
    if resolved.plan is not None:
        parts.append(f"Plan `{resolved.plan.strategy}`: {escape(resolved.plan.summary)}")
    if resolved.outcome is Outcome.AWAITING_APPROVAL and resolved.plan is not None:
        parts.append(
            f"To decide in Prefect: start a run of the deployment `{APPROVING}` for plan "
            f"`{resolved.plan.digest[:12]}`."
        )
    if resolved.approval is not None:
        parts.append(_approval(resolved.approval))
    if resolved.mandate.override:
        parts.append(f"Begun although there was a pause: {escape(resolved.mandate.override)}")
    parts += section("Refused by a rule", _refusal(resolved.refusal))
    parts += section("Before and after", _changes(resolved))
    parts += section("Saved before", _saved(resolved))
    parts += section("Never worse", _guards(resolved.guards))
    parts += section("Steps", _steps(resolved.steps))
    parts += section("Left for a person", bullets(resolved.left))
    return "\n\n".join(parts)


def map_of(picture: MapPicture) -> str:
    """The map of a grid as a picture that is part of the text, and what is seen there in words."""
    seen = bullets((*(in_words(count) for count in picture.counts), *remarks(picture)))
    from medic8.drawing.png import as_png  # noqa: PLC0415 - Pillow, which few reports have need of

    drawn = as_png(picture)
    if len(drawn) > _MOST_PICTURED:
        shown = f"```text\n{as_text(picture)}\n```"
    else:
        shown = f"![map of the grid](data:image/png;base64,{base64.b64encode(drawn).decode()})"
    return "\n\n".join((f"# Map of grid {escape(picture.grid)}", shown, seen))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of at most a hundred rows; says how many it leaves out."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f"\n… and {len(rows) - _MOST_ROWS} more.")
    return "\n".join(lines)


def escape(text: str) -> str:
    """*text* on one line, with nothing that Markdown or HTML would read and no control characters."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", plain)


def _issue(issue: Issue) -> str:
    rows = [(fact.what, fact.seen, fact.limit) for fact in issue.evidence]
    lines = [
        f"## {escape(issue.title)}",
        f"{issue.severity.value}, {issue.issue_type.value.replace('_', ' ')}.",
    ]
    if issue.cause:
        lines.append(f"Cause: {escape(issue.cause)}")
    lines += [_follows(link, place) for place, link in enumerate(issue.follows_from)]
    if issue.symptoms:
        lines.append(f"Symptoms: {', '.join(issue.symptoms)}.")
    lines.append(table(("Looked at", "Seen", "Limit"), rows))
    if issue.advice:
        lines += ["A person can:", bullets(issue.advice)]
    return "\n\n".join(lines)


def _follows(link: CauseLink, place: int) -> str:
    told = [f"for it: {each}" for each in link.support] + [f"against it: {each}" for each in link.against]
    lead = "May follow also from" if place else "Follows from"
    where = f" of target {escape(link.target)}" if link.target else ""
    return f"{lead}: **{escape(link.title)}**{where}. {escape(link.why)} {escape('; '.join(told))}".rstrip()


def section(title: str, body: str) -> list[str]:
    """*body* under a *title*; nothing if it is empty."""
    return [f"## {title}", body] if body else []


def _findings(findings: Sequence[Finding]) -> str:
    return table(
        ("Severity", "Finding", "About", "A person can"),
        [(each.severity.value, each.text, each.about, "; ".join(each.advice)) for each in findings],
    )


def _readings(results: Iterable[DiagnosticResult]) -> str:
    rows = [
        (result.diagnostic, reading.name, reading.in_words)
        for result in results
        for reading in result.readings
    ]
    return table(("Diagnostic", "Reading", "Value"), rows)


def _changes(resolved: Resolution) -> str:
    return table(
        ("Value", "Before", "After"), [(each.what, each.before, each.after) for each in resolved.changes]
    )


def _saved(resolved: Resolution) -> str:
    if not resolved.saved_state:
        return ""
    until = (
        "until a person has acknowledged the recovery"
        if resolved.kept_until is None
        else f"until {resolved.kept_until:%Y-%m-%d %H:%M:%S %Z}, as configured when the run ended"
    )
    return (
        f"{counted(resolved.saved_items, 'value')}, {size(resolved.saved_bytes)}, by recovery "
        f"`{resolved.recovery}` in {escape(resolved.saved_state)}. Kept {until}."
    )


def _guards(guards: Sequence[GuardVerdict]) -> str:
    return table(
        ("Guard", "Kind", "Before", "After", "Verdict", "Why"),
        [
            (
                each.guard,
                "hard" if each.is_hard else "soft",
                each.before,
                each.after,
                each.verdict.value.replace("_", " "),
                each.reason,
            )
            for each in guards
        ],
    )


def _steps(steps: Sequence[StepRecord]) -> str:
    return table(
        ("#", "Step", "State", "Begun", "Done", "Undone", "Saved", "Written", "Note"),
        [
            (
                str(each.number + 1),
                each.title,
                each.state.value,
                *(_clock(when) for when in (each.begun_at, each.done_at, each.undone_at)),
                each.saved_digest[:12],
                each.written_digest[:12],
                each.note,
            )
            for each in steps
        ],
    )


def _refusal(refusal: Refusal | None) -> str:
    if refusal is None:
        return ""
    told = ["Escalated: waiting does not end it."] if refusal.about else []
    rows = [(each.what, each.seen, each.limit) for each in refusal.numbers]
    lines = [f"`{refusal.rule}`: {escape(refusal.reason)}", *told, table(("What", "Seen", "Limit"), rows)]
    return "\n\n".join(line for line in lines if line)


def _clock(when: datetime | None) -> str:
    return (
        "" if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03} UTC"
    )


def bullets(lines: Sequence[str]) -> str:
    """*lines* as a list."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def decision(request: ApprovalRequest) -> str:
    """What was asked, and what was decided."""
    parts = [f"# Plan `{request.digest[:12]}` for {escape(request.target)}: {request.decision.value}"]
    if request.answer is not None:
        parts.append(_approval(request.answer))
    return "\n\n".join((*parts, plan(request.plan)))


def _approval(given: Approval) -> str:
    word = "Approved" if given.is_granted else "Denied"
    why = f": {escape(given.reason)}" if given.reason else ""
    return f"{word} (`{given.digest}`) by {escape(given.who)}, {given.at:%Y-%m-%d %H:%M:%S %Z}{why}."
