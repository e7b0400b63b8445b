"""What holds of requests for approval at a given time, and which tokens are good for what."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.approving import Approvals
from medic8.safety.approving import (
    LAPSES,
    LONGEST_REASON,
    as_of,
    checked_name,
    checked_reason,
    link_until,
    may_be_token,
    require_decidable,
    standing,
    token_hash,
)
from tests.recovery.asking import AT, wanted

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def request(decision: Decision = Decision.OPEN, at: datetime = AT) -> ApprovalRequest:
    """One that was asked at *at*, and decided a minute later."""
    decided = {} if decision is Decision.OPEN else {"decided_at": at + timedelta(minutes=1), "by": "ann"}
    return wanted().model_copy(
        update={"id": f"{at}", "asked_at": at, "expires_at": at + HOUR, "decision": decision, **decided}
    )


def test_a_request_that_nobody_decides_in_time_is_denied_from_that_moment_on() -> None:
    """Not before, and without anybody who looks."""
    assert as_of(request(), AT + HOUR - SECOND).decision is Decision.OPEN
    over = as_of(request(), AT + HOUR)
    assert (over.decision, over.decided_at, over.is_denied) == (Decision.EXPIRED, AT + HOUR, True)
    assert over.answer is not None
    assert (over.answer.is_granted, over.answer.reason) == (False, "nobody decided in time")
    assert as_of(request(Decision.DENIED), AT + 2 * HOUR) == request(Decision.DENIED)


def test_an_approval_that_no_run_took_up_lapses() -> None:
    """What was agreed to is done soon or not at all; one that is under way stands."""
    given = request(Decision.APPROVED)
    assert as_of(given, AT + HOUR + LAPSES - SECOND) == given
    late = as_of(given, AT + HOUR + LAPSES)
    assert (late.decision, "approved by ann" in late.reason) == (Decision.EXPIRED, True)
    taken = given.model_copy(update={"carried_out_by": "run"})
    assert as_of(taken, AT + 9 * HOUR) == taken


@pytest.mark.parametrize(
    ("decision", "after", "stands"),
    [
        (Decision.OPEN, SECOND, True),
        (Decision.OPEN, HOUR, True),  # denied by now
        (Decision.OPEN, HOUR + 4 * HOUR, False),
        (Decision.DENIED, HOUR, True),
        (Decision.DENIED, 5 * HOUR, False),
        (Decision.APPROVED, SECOND, True),
        (Decision.OUTDATED, SECOND, False),
    ],
)
def test_a_plan_is_not_asked_for_again_while_an_answer_stands(
    decision: Decision, after: timedelta, *, stands: bool
) -> None:
    """A schedule would ask every five minutes; the newest request tells."""
    older = request(Decision.OUTDATED, AT - HOUR)
    assert (standing((request(decision), older), AT + after, 4 * HOUR) is not None) is stands
    assert standing((), AT, HOUR) is None


def test_what_was_carried_out_does_not_stand_for_the_next_time() -> None:
    """A yes is good for once."""
    done = request(Decision.APPROVED).model_copy(update={"carried_out_by": "run"})
    assert standing((done,), AT + SECOND, 4 * HOUR) is None


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision.APPROVED, "was approved by ann"),
        (Decision.DENIED, "was denied by ann"),
        (Decision.OUTDATED, "is outdated"),
    ],
)
def test_what_is_decided_is_decided(decision: Decision, said: str) -> None:
    """The refusal names who said what, and when."""
    with pytest.raises(RefusedError, match=said):
        require_decidable(request(decision), Choice.DENY, AT + SECOND)
    with pytest.raises(RefusedError, match="expired"):
        require_decidable(request(), Choice.APPROVE, AT + HOUR)
    require_decidable(request(), Choice.APPROVE, AT)


def test_a_reason_is_needed_and_a_name_is_in_one_line() -> None:
    """Both have limits; the page and the command line ask the same."""
    assert checked_reason(" it is night ") == "it is night"
    for wrong in ("", "  ", "x" * (LONGEST_REASON + 1)):
        with pytest.raises(ConfigurationError, match="expected 1 to"):
            checked_reason(wrong)
    assert checked_name(" ann \n b ", "x") == "ann b"
    assert checked_name(" ", "holder of the token") == "holder of the token"
    with pytest.raises(ConfigurationError, match="limit is 200"):
        checked_name("x" * 201, "")


def test_a_token_is_good_for_one_digest_and_not_kept() -> None:
    """The same token with another plan's digest has another hash."""
    token = "t" * 43
    assert token_hash(token, "a" * 64) != token_hash(token, "b" * 64)
    assert token not in token_hash(token, "a" * 64)
    assert may_be_token(token)
    assert not any(map(may_be_token, ("", "t" * 42, "t" * 44, "../" + "t" * 40, "t" * 42 + "\n")))


def test_a_link_ends_with_its_request_at_the_latest() -> None:
    """And after its own time before that."""
    assert link_until(AT, request(), 600) == AT + timedelta(seconds=600)
    assert link_until(AT + HOUR - SECOND, request(), 600) == AT + HOUR


def test_the_defaults_are_an_hour_and_a_link_is_shorter() -> None:
    """As documented; an address is one of HTTP."""
    how = Approvals()
    assert (how.expires_s, how.quiet_s, how.link_s) == (3600, 14_400, 1800)
    assert Approvals(url="https://heal.example/").url == "https://heal.example"
    with pytest.raises(ValueError, match="must begin with http"):
        Approvals(url="javascript:alert(1)")
