"""Requests for approval, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from medic8.cli.render import table, text
from medic8.model.approval import ApprovalRequest
from medic8.model.wording import moment, short


def render_requests(found: Sequence[ApprovalRequest]) -> Iterator[RenderableType]:
    """One line for each request, and what its plan would do."""
    if not found:
        yield text("nothing waits for a person")
        return
    rows = table("plan", "target", "what", "why a person", "asked by", "until", "decision")
    for each in found:
        rows.add_row(
            text(each.digest[:12], "yellow" if each.decided_at is None else ""),
            text(each.target),
            text(each.plan.summary),
            text(each.plan.why_approval),
            text(short(each.run)),
            moment(each.expires_at),
            text(_decision(each)),
        )
    yield rows


def _decision(request: ApprovalRequest) -> str:
    if request.decided_at is None:
        return "waits"
    late = ", not carried out yet" if request.waits_to_be_carried_out else ""
    said = f"{request.decision.value} by {request.by}, {moment(request.decided_at)}: {request.reason}"
    return f"{said}{late}"
