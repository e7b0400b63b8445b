"""The page behind a link: shows a plan, and takes one decision by a POST; a GET decides nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from medic8.alerts.limits import Bucket
from medic8.errors import ConfigurationError, RefusedError, TransientError
from medic8.model.approval import NOBODY_NAMED, ApprovalRequest, Choice
from medic8.model.policy import Origin
from medic8.model.wording import visible
from medic8.recovery import approvals
from medic8.recovery.journal import Journal
from medic8.safety.approving import LONGEST_NAME, LONGEST_REASON, checked_name

#: A decision with the longest reason and name is smaller than this, however it is encoded.
MOST_BYTES = 32 << 10

#: So many requests a second are answered, and so many at once: whoever guesses must not keep alerts waiting.
PER_S, BURST = 5, 50

#: Longest that a body may take to arrive.
_PATIENCE_S = 8.0

#: Who begins a run, as it reads on the page.
_ORIGINS = {Origin.PERSON: "a person", Origin.SCHEDULE: "a schedule", Origin.ALERT: "an alert"}

#: Steps that are shown; more are counted.
_MOST_STEPS = 200

_STYLE = (
    # On a phone, in the dark, with one thumb.
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 sans-serif;max-width:46rem;margin:1rem auto;padding:0 1rem;overflow-wrap:anywhere}"
    "h1{font-size:1.4rem}h2{font-size:1.1rem}.loss{border-left:.4rem solid #c00;padding-left:.6rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{opacity:.7}dd{margin:0}"
    "textarea,input[type=text]{width:100%;box-sizing:border-box;font:inherit}textarea{height:5rem}"
    "button{font:inherit;padding:.8rem 1.5rem;margin:0 1rem 1rem 0;min-width:8rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: Posts to the page's own address.
_FORM = (
    '<form method="post" autocomplete="off">'
    f'<p><label>Reason<br><textarea name="reason" required maxlength="{LONGEST_REASON}"></textarea>'
    "</label></p>"
    f'<p><label>Your name<br><input type="text" name="by" maxlength="{LONGEST_NAME}"></label></p>'
    '<p><button name="decision" value="approve">Approve</button>'
    '<button name="decision" value="deny">Deny</button></p></form>'
)

#: Nothing is loaded, nothing runs, nobody frames it, and the token in its address goes nowhere else.
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}


def build_approving(
    journal: Journal,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock_s: Callable[[], float] = time.monotonic,
) -> APIRouter:
    """
    The routes of the page.

    Args:
        journal: Where requests are kept.
        now: The time.
        clock_s: Seconds, by a clock that nobody sets.
    """
    router = APIRouter()
    left = Bucket(PER_S, BURST, BURST, clock_s())

    @router.get(approvals.PAGE + "/{digest}/{token}", response_class=HTMLResponse)
    async def show(digest: str, token: str) -> Response:
        """Show the plan that the link is for; this decides nothing."""
        if not left.spend(clock_s()):
            return _busy()
        return await asyncio.to_thread(_shown, journal, digest, token, now())

    @router.post(approvals.PAGE + "/{digest}/{token}", response_class=HTMLResponse)
    async def decide(digest: str, token: str, request: Request) -> Response:
        """Take the decision of whoever has the link."""
        if not left.spend(clock_s()):
            return _busy()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                body = await _body(request)
        except TimeoutError:
            return _page(HTTPStatus.REQUEST_TIMEOUT, "Nothing was decided", "<p>Send it again.</p>")
        if body is None:
            return _page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too long", "<p>Write a shorter reason.</p>")
        return await asyncio.to_thread(_decided, journal, digest, token, body, now())

    return router


async def _body(request: Request) -> bytes | None:
    """The body; None, and the rest of it is not read, if it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _busy() -> Response:
    return _page(HTTPStatus.SERVICE_UNAVAILABLE, "Busy", "<p>Nothing was decided; try again.</p>")


def _shown(journal: Journal, digest: str, token: str, at: datetime) -> Response:
    try:
        request = approvals.behind(journal, digest, token, at)
    except (RefusedError, TransientError) as exc:
        return _said(exc)
    if request.decided_at is not None:
        return _page(HTTPStatus.GONE, "Decided already", f"<p>{_decision(request)}</p>")
    return _page(HTTPStatus.OK, f"Plan for {request.target}", _plan(request) + _FORM)


def _decided(journal: Journal, digest: str, token: str, body: bytes, at: datetime) -> Response:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        given = {name: values[0] for name, values in fields.items()}
        choice = Choice(given.get("decision", ""))
    except ValueError:
        text = "<p>Choose to approve or to deny; nothing was decided.</p>"
        return _page(HTTPStatus.UNPROCESSABLE_ENTITY, "No decision", text)
    try:
        request = approvals.decide_by_link(
            journal,
            digest,
            token,
            choice,
            by=checked_name(given.get("by", ""), NOBODY_NAMED),
            reason=given.get("reason", ""),
            at=at,
        )
    except (RefusedError, TransientError, ConfigurationError) as exc:
        return _said(exc)
    follows = "<p>It is carried out within minutes, if the same would still be done then.</p>"
    text = f"<p>{_decision(request)}</p>" + (follows if choice is Choice.APPROVE else "")
    return _page(HTTPStatus.OK, request.decision.value.capitalize(), text)


def _said(exc: Exception) -> Response:
    status = HTTPStatus.FORBIDDEN
    text = str(exc)
    if isinstance(exc, ConfigurationError):
        status = HTTPStatus.UNPROCESSABLE_ENTITY
    elif isinstance(exc, TransientError):
        status, text = HTTPStatus.SERVICE_UNAVAILABLE, "the journal does not answer; try again"
    return _page(status, "Nothing was decided", f"<p>{_text(text)}</p>")


def _plan(request: ApprovalRequest) -> str:
    plan = request.plan
    steps = [step for unit in plan.units for step in unit.steps]
    rows = "".join(
        f"<li>{_text(step.title)} <small>({_text(step.step_class.value.replace('_', ' '))})</small></li>"
        for step in steps[:_MOST_STEPS]
    )
    more = f"<p>And {len(steps) - _MOST_STEPS} more.</p>" if len(steps) > _MOST_STEPS else ""
    loses = f'<p class="loss">Lost for good: {_text(plan.loses)}.</p>' if plan.loses else ""
    issue = request.issue
    facts = (
        ("Target", f"{request.target}{f' ({plan.belongs_to} owns it)' if plan.belongs_to else ''}"),
        ("Wrong", f"{issue.title} ({issue.severity.value})"),
        ("Cause", issue.cause),
        ("Strategy", plan.strategy),
        ("Risk", f"{plan.risk.value}; a person has to agree: {plan.why_approval}"),
        ("Asked by", f"{_ORIGINS[request.mandate.origin]}, run {request.run}, {_at(request.asked_at)}"),
        ("Decide", f"before {_at(request.expires_at)}; after that it counts as denied"),
        ("Digest", request.digest),
    )
    known = "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts if value)
    left = "".join(f"<li>{_text(each)}</li>" for each in plan.left_open[:_MOST_STEPS])
    return (
        f"<p><strong>{_text(plan.summary)}</strong></p>{loses}<dl>{known}</dl>"
        f"<h2>Steps</h2><ol>{rows}</ol>{more}"
        + (f"<h2>What it does not heal</h2><ul>{left}</ul>" if left else "")
        + "<h2>Your decision</h2>"
    )


def _decision(request: ApprovalRequest) -> str:
    when = "" if request.decided_at is None else _at(request.decided_at)
    said = f"{request.decision.value} by {request.by}, {when}: {request.reason}"
    return f"Plan <code>{_text(request.digest[:12])}</code> for {_text(request.target)}: {_text(said)}"


def _at(when: datetime) -> str:
    """With its zone, which is not the reader's."""
    return format(when.astimezone(UTC), "%Y-%m-%d %H:%M UTC")


def _text(foreign: str) -> str:
    return escape(visible(foreign))


def _page(status: HTTPStatus, title: str, body: str) -> Response:
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)} - Medic8</title>"
        f"<style>{_STYLE}</style></head><body><h1>{_text(title)}</h1>{body}</body></html>"
    )
    return HTMLResponse(document, status_code=status, headers=HEADERS)
