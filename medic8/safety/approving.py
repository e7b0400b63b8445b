"""What holds of requests for approval at a given time, and the tokens of links: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.wording import moment

#: Random bytes of a token: as many as nobody guesses while it can be used.
TOKEN_BYTES = 32

#: Longest reason and longest name that are kept; more than a person writes into a form.
LONGEST_REASON, LONGEST_NAME = 2000, 200

#: So long after a request would have expired its approval is still taken up by a worker that comes late.
LAPSES = timedelta(minutes=10)

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def as_of(request: ApprovalRequest, now: datetime) -> ApprovalRequest:
    """
    *request* as it is at *now*: one that nobody decided in time is denied from that moment on.

    So is an approval that no run took up within `LAPSES` of that: what was agreed to is done soon or
    not at all.
    """
    if request.waits_to_be_carried_out and now >= request.expires_at + LAPSES:
        why = f"approved by {request.by}, and no run took that up in time"
        return request.model_copy(
            update={
                "decision": Decision.EXPIRED,
                "decided_at": request.expires_at + LAPSES,
                "by": "nobody",
                "reason": why,
            }
        )
    if request.decision is not Decision.OPEN or now < request.expires_at:
        return request
    return request.model_copy(
        update={
            "decision": Decision.EXPIRED,
            "decided_at": request.expires_at,
            "by": "nobody",
            "reason": "nobody decided in time",
        }
    )


def standing(known: Iterable[ApprovalRequest], now: datetime, quiet: timedelta) -> ApprovalRequest | None:
    """
    The request that stands for a plan, of all that were made about that very plan; None = it has to be asked.

    One that is open or waits to be carried out stands. One that was denied does
    for *quiet*, so that a schedule does not ask every five minutes what was answered.
    """
    last = max((as_of(each, now) for each in known), key=lambda each: each.asked_at, default=None)
    if last is None:
        return None
    if last.decision is Decision.OPEN or last.waits_to_be_carried_out:
        return last
    is_recent = last.decided_at is not None and now < last.decided_at + quiet
    return last if last.is_denied and is_recent else None


def require_decidable(request: ApprovalRequest, choice: Choice, now: datetime) -> None:
    """
    See that *choice* may still be said about *request*.

    Raises:
        RefusedError: it was decided already, or its time is over.
    """
    found = as_of(request, now)
    if found.decision is Decision.OPEN:
        return
    what = f"plan {found.digest[:12]} for {found.target}"
    if found.decision is Decision.EXPIRED:
        raise RefusedError(
            f"{choice.value}: the request for {what} expired at {moment(found.expires_at)}, which means "
            f"denied; medic8 plan {found.target} shows what would be done now"
        )
    if found.decision is Decision.OUTDATED:
        raise RefusedError(f"{choice.value}: {what} is outdated; the plan that took its place was asked for")
    raise RefusedError(
        f"{choice.value}: {what} was {found.decision.value} by {found.by} at {moment(found.decided_at)}"
        + (f", and run {found.carried_out_by} took that up" if found.carried_out_by else "")
    )


def checked_reason(reason: str) -> str:
    """
    *reason* without white space around it.

    Raises:
        ConfigurationError: it is empty or too long.
    """
    text = reason.strip()
    if not text or len(text) > LONGEST_REASON:
        raise ConfigurationError(
            f"the reason has {len(text)} characters, expected 1 to {LONGEST_REASON}: whoever reads it later "
            "has to know why"
        )
    return text


def checked_name(name: str, otherwise: str) -> str:
    """
    *name* in one line, or *otherwise* if it is empty.

    Raises:
        ConfigurationError: it is too long.
    """
    text = " ".join(name.split())
    if len(text) > LONGEST_NAME:
        raise ConfigurationError(f"the name has {len(text)} characters, the limit is {LONGEST_NAME}")
    return text or otherwise


def token_hash(token: str, digest: str) -> str:
    """
    What is kept of *token*: a token is good for the plan with *digest* and for no other.

    Of 32 random bytes a plain hash is enough; who reads the database can neither use nor guess the token.
    """
    return hashlib.sha256(f"{digest}:{token}".encode()).hexdigest()


def may_be_token(text: str) -> bool:
    """Whether *text* looks like a token at all; what does not is not looked up."""
    return _TOKEN.fullmatch(text) is not None


def link_until(now: datetime, request: ApprovalRequest, link_s: int) -> datetime:
    """Until when a link to *request* that is made at *now* can be used."""
    return min(now + timedelta(seconds=link_s), request.expires_at)
