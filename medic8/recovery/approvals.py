"""Requests for approval in the journal's database: decided by people or by time, taken up once."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from medic8.analysis import noticing
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.approving import Approvals
from medic8.recovery import gateway_place, notices, tables
from medic8.recovery.journal import Journal
from medic8.recovery.reservations import one_at_a_time
from medic8.safety.approving import (
    TOKEN_BYTES,
    as_of,
    checked_name,
    checked_reason,
    link_until,
    may_be_token,
    require_decidable,
    standing,
    token_hash,
)

_TABLE, _RUNS = tables.approvals, tables.approval_runs

#: Where the gateway has the pages of links.
PAGE = "/approve"

#: Somebody is waited for, to decide or to carry it out.
_WAITS = (_TABLE.c.decision == Decision.OPEN) | (
    (_TABLE.c.decision == Decision.APPROVED) & (_TABLE.c.carried_out_by == "")
)

#: Fields of a request that have columns of their own, since they change.
_CHANGING = {"decision", "decided_at", "by", "reason", "carried_out_by"}


def ask(journal: Journal, asked: ApprovalRequest, how: Approvals, at: datetime) -> ApprovalRequest:
    """
    The request that stands for the plan of *asked*, which is a new one unless there is one already.

    Other plans that somebody was asked about for the same issue are outdated by it.

    Raises:
        SilentError: the journal does not answer; nobody was asked.
    """
    with journal.transaction() as connection:
        one_at_a_time(connection)
        same = (_TABLE.c.target == asked.target) & (_TABLE.c.digest == asked.digest)
        if stands := standing(_read(connection, same), at, timedelta(seconds=how.quiet_s)):
            if not stands.is_denied:
                _join(connection, stands.id, asked.run)
            return stands
        others = (
            (_TABLE.c.target == asked.target)
            & (_TABLE.c.issue == asked.issue.fingerprint)
            & (_TABLE.c.decision == Decision.OPEN)
        )
        end = at + timedelta(seconds=how.expires_s)
        request = asked.model_copy(update={"id": str(uuid.uuid4()), "asked_at": at, "expires_at": end})
        for each in _read(connection, others):
            found = as_of(each, at)
            if found.decision is Decision.OPEN:
                why = f"the plan changed; {request.digest[:12]} took its place"
                found = _decided(found, Decision.OUTDATED, at, by="medic8", reason=why)
            _end(connection, found)
        connection.execute(
            _TABLE.insert().values(
                id=request.id,
                target=request.target,
                digest=request.digest,
                issue=request.issue.fingerprint,
                strategy=request.plan.strategy,
                run=request.run,
                asked_at_s=request.asked_at.timestamp(),
                expires_at_s=request.expires_at.timestamp(),
                decision=Decision.OPEN,
                is_told=False,
                record=request.model_dump_json(exclude=_CHANGING),
            )
        )
        _join(connection, request.id, request.run)
        notices.put(connection, noticing.of_request(request))
        return request


def decide(
    journal: Journal,
    request_id: str,
    choice: Choice,
    *,
    by: str,
    reason: str,
    at: datetime,
    carried_out_by: str = "",
) -> ApprovalRequest:
    """
    Say yes or no; of many who do so at once one is heard.

    Args:
        journal: Where it is kept.
        request_id: The request's id.
        choice: What is said.
        by: Who says it, as given.
        reason: Why.
        at: The time now.
        carried_out_by: The flow run that takes an approval up at once; empty = any may.
    Raises:
        RefusedError: it was decided already, or its time is over.
        ConfigurationError: the reason is empty, or something is too long.
        SilentError: the journal does not answer.
    """
    reason = checked_reason(reason)
    with journal.transaction() as connection:
        one_at_a_time(connection)
        decided = _decide(connection, request_id, choice, by, reason, at)
        if decided.decision is Decision.APPROVED and carried_out_by:
            decided = decided.model_copy(update={"carried_out_by": carried_out_by})
            _write(connection, decided)
        return decided


def take_up(journal: Journal, request_id: str, run: str, at: datetime) -> bool:
    """Have the flow run *run* carry out what was approved; False if another one does, or it may not be."""
    with journal.transaction() as connection:
        one_at_a_time(connection)
        found = as_of(_by_id(connection, request_id), at)
        if not found.waits_to_be_carried_out:
            return False
        _write(connection, found.model_copy(update={"carried_out_by": run}))
        return True


def agreed(
    journal: Journal, target: str, digest: str, *, by: str, run: str, at: datetime
) -> ApprovalRequest | None:
    """
    The request whose approval *run* carries out; None if there is none, as where nobody had been asked.

    One that was still open is closed by it: whoever starts a run with the plan's digest has agreed to it.
    """
    with journal.transaction() as connection:
        one_at_a_time(connection)
        same = (_TABLE.c.target == target) & (_TABLE.c.digest == digest)
        found = [as_of(each, at) for each in _read(connection, same)]
        last = max(found, key=lambda each: each.asked_at, default=None)
        if last is None:
            return None
        if last.decision is Decision.OPEN:
            last = _decided(last, Decision.APPROVED, at, by=by, reason="given with the command to heal")
        if last.waits_to_be_carried_out:
            last = last.model_copy(update={"carried_out_by": run})
            _write(connection, last)
        return last if last.decision is Decision.APPROVED and last.carried_out_by == run else None


def taken_up_by(journal: Journal, run: str) -> tuple[ApprovalRequest, ...]:
    """The requests whose approval the flow run *run* carries out."""
    mine = (_TABLE.c.decision == Decision.APPROVED) & (_TABLE.c.carried_out_by == run)
    with journal.transaction() as connection:
        return _read(connection, mine) if run else ()


def sweep(journal: Journal, at: datetime) -> tuple[ApprovalRequest, ...]:
    """Note of every request whose time is over that it is denied; those that were."""
    with journal.transaction() as connection:
        found = _read(connection, _WAITS & (_TABLE.c.expires_at_s <= at.timestamp()))
        expired = tuple(
            each for each in (as_of(one, at) for one in found) if each.decision is Decision.EXPIRED
        )
        for each in expired:
            _end(connection, each)
            connection.execute(_TABLE.update().where(_TABLE.c.id == each.id).values(is_told=False))
        return expired


def listed(journal: Journal, at: datetime, since: datetime | None = None) -> tuple[ApprovalRequest, ...]:
    """Requests as they are at *at*, the newest first: those that wait, and all asked after *since*."""
    chosen = _WAITS if since is None else _WAITS | (_TABLE.c.asked_at_s >= since.timestamp())
    with journal.transaction() as connection:
        found = [as_of(each, at) for each in _read(connection, chosen)]
    if since is None:
        found = [each for each in found if each.decision is Decision.OPEN or each.waits_to_be_carried_out]
    return tuple(reversed(found))


def of_run(journal: Journal, run: str, at: datetime) -> ApprovalRequest | None:
    """The request whose answer the resolution *run* waits for; None if it asked for nothing."""
    with journal.transaction() as connection:
        found = _read(connection, _waited_for_by(_RUNS.c.run == run))
    return as_of(found[-1], at) if found else None


def runs_of(journal: Journal, request_id: str) -> tuple[str, ...]:
    """The resolutions that wait for the answer to a request."""
    chosen = sa.select(_RUNS.c.run).where(_RUNS.c.approval == request_id)
    with journal.transaction() as connection:
        return tuple(connection.scalars(chosen).all())


def find(journal: Journal, named: str, at: datetime) -> ApprovalRequest:
    """
    The request that *named* means: a plan's digest, the run that asked, or the beginning of either.

    Of several about the same plan the newest.

    Raises:
        ConfigurationError: there is none, or more than one is meant.
    """
    text = named.strip().lower()
    if len(text) < _LEAST_NAMED or not set(text) <= set("0123456789abcdef-"):
        raise ConfigurationError(
            f"{named[:80]!r}: expected a plan's digest or a run's id, or at least {_LEAST_NAMED} characters "
            "of its beginning; medic8 approvals lists them"
        )
    begins = _TABLE.c.digest.startswith(text) | _TABLE.c.id.startswith(text)
    begins |= _waited_for_by(_RUNS.c.run.startswith(text))
    with journal.transaction() as connection:
        found = {(each.target, each.digest): as_of(each, at) for each in _read(connection, begins)}
    if len(found) != 1:
        raise ConfigurationError(
            f"{len(found)} plans that somebody was asked about are meant by {text!r}; medic8 approvals --all "
            "lists them"
        )
    return next(iter(found.values()))


def untold(journal: Journal) -> tuple[ApprovalRequest, ...]:
    """Decided requests of which the history of flow runs has not been told, the oldest first."""
    with journal.transaction() as connection:
        return _read(connection, ~_TABLE.c.is_told & (_TABLE.c.decision != Decision.OPEN))


def told(journal: Journal, request_id: str) -> None:
    """Note that the history knows how a request ended."""
    with journal.transaction() as connection:
        connection.execute(_TABLE.update().where(_TABLE.c.id == request_id).values(is_told=True))


# -- links -------------------------------------------------------------------------------


def make_token(journal: Journal, request: ApprovalRequest, how: Approvals, at: datetime) -> str:
    """
    A token by which whoever has it may decide *request*, once and for a short time.

    Raises:
        RefusedError: there is nothing to decide any more.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with journal.transaction() as connection:
        require_decidable(_by_id(connection, request.id), Choice.APPROVE, at)
        connection.execute(
            tables.approval_links.insert().values(
                hash=token_hash(token, request.digest),
                approval=request.id,
                expires_at_s=link_until(at, request, how.link_s).timestamp(),
            )
        )
    return token


def make_link(journal: Journal, request: ApprovalRequest, how: Approvals, at: datetime) -> str:
    """The address of a page on which whoever has it may decide, once; the gateway serves it."""
    gateway = how.url or gateway_place.known(journal)
    return f"{gateway}{PAGE}/{request.digest}/{make_token(journal, request, how, at)}"


def behind(journal: Journal, digest: str, token: str, at: datetime) -> ApprovalRequest:
    """
    The request that *token* is for, if it is for the plan with *digest*; nothing is decided by asking.

    Raises:
        RefusedError: there is none, it was used, or its time is over; which of these is told to nobody.
    """
    with journal.transaction() as connection:
        return as_of(_behind(connection, digest, token, at), at)


def decide_by_link(
    journal: Journal, digest: str, token: str, choice: Choice, *, by: str, reason: str, at: datetime
) -> ApprovalRequest:
    """
    `decide` by whoever has *token*, which is used up by it.

    Raises:
        RefusedError: the token is not good for that plan, or there is nothing to decide any more.
        ConfigurationError: the reason is empty, or something is too long; the token stays good.
    """
    reason = checked_reason(reason)
    links = tables.approval_links
    with journal.transaction() as connection:
        one_at_a_time(connection)
        request = _behind(connection, digest, token, at)
        decided = _decide(connection, request.id, choice, by, reason, at)
        connection.execute(
            links.update().where(links.c.hash == token_hash(token, digest)).values(used_at_s=at.timestamp())
        )
        return decided


# -- inside one transaction ----------------------------------------------------------------

#: Fewer characters of a digest or a run are met by chance.
_LEAST_NAMED = 6


def _join(connection: sa.Connection, request_id: str, run: str) -> None:
    connection.execute(_RUNS.delete().where(_RUNS.c.run == run))
    connection.execute(_RUNS.insert().values(run=run, approval=request_id))


def _waited_for_by(runs: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return _TABLE.c.id.in_(sa.select(_RUNS.c.approval).where(runs))


def _behind(connection: sa.Connection, digest: str, token: str, at: datetime) -> ApprovalRequest:
    no = RefusedError("this link is not good, was used already, or its time is over")
    if not may_be_token(token):
        raise no
    links = tables.approval_links
    row = connection.execute(sa.select(links).where(links.c.hash == token_hash(token, digest))).one_or_none()
    if row is None or row.used_at_s is not None or at.timestamp() >= row.expires_at_s:
        raise no
    request = _by_id(connection, row.approval)
    if request.digest != digest:
        raise no
    return request


def _decide(
    connection: sa.Connection, request_id: str, choice: Choice, by: str, reason: str, at: datetime
) -> ApprovalRequest:
    request = _by_id(connection, request_id)
    require_decidable(request, choice, at)
    decision = Decision.APPROVED if choice is Choice.APPROVE else Decision.DENIED
    decided = _decided(request, decision, at, by=checked_name(by, "nobody"), reason=reason)
    _end(connection, decided)
    return decided


def _decided(
    request: ApprovalRequest, decision: Decision, at: datetime, *, by: str, reason: str
) -> ApprovalRequest:
    return request.model_copy(update={"decision": decision, "decided_at": at, "by": by, "reason": reason})


def _end(connection: sa.Connection, request: ApprovalRequest) -> None:
    """Write how *request* ended, and have people told of a no, whoever or whatever said it."""
    _write(connection, request)
    if request.is_denied:
        key = f"no to {request.id}"
        notices.put(connection, noticing.of_no(request), key=key, anew_s=notices.KEEP_S)


def _write(connection: sa.Connection, request: ApprovalRequest) -> None:
    connection.execute(
        _TABLE.update()
        .where(_TABLE.c.id == request.id)
        .values(
            decision=request.decision,
            decided_at_s=None if request.decided_at is None else request.decided_at.timestamp(),
            by=request.by,
            reason=request.reason,
            carried_out_by=request.carried_out_by,
        )
    )


def _by_id(connection: sa.Connection, request_id: str) -> ApprovalRequest:
    found = _read(connection, _TABLE.c.id == request_id)
    if not found:
        raise ConfigurationError(f"nobody was asked with id {request_id!r}")
    return found[0]


def _read(connection: sa.Connection, chosen: sa.ColumnElement[bool]) -> tuple[ApprovalRequest, ...]:
    """Those that are *chosen*, the oldest first."""
    rows = connection.execute(sa.select(_TABLE).where(chosen).order_by(_TABLE.c.asked_at_s))
    return tuple(
        ApprovalRequest.model_validate_json(row.record).model_copy(
            update={
                "decision": Decision(row.decision),
                "decided_at": None
                if row.decided_at_s is None
                else datetime.fromtimestamp(row.decided_at_s, UTC),
                "by": row.by,
                "reason": row.reason,
                "carried_out_by": row.carried_out_by,
            }
        )
        for row in rows
    )
