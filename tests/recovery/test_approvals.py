"""Requests for approval in both databases: asked once, decided once, taken up once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from medic8.errors import ConfigurationError, RefusedError
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.approving import Approvals
from medic8.recovery import approvals, approvals_retention, tables
from medic8.recovery.journal import Journal
from medic8.safety.approving import LAPSES
from tests.recovery.asking import AT, RUN, risky, wanted

HOW = Approvals()
SOON = AT + timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def request_(journal: Journal) -> ApprovalRequest:
    """Get a request that was asked."""
    return approvals.ask(journal, wanted(), HOW, AT)


def decide(journal: Journal, request: ApprovalRequest, choice: Choice = Choice.DENY) -> ApprovalRequest:
    return approvals.decide(journal, request.id, choice, by="ann", reason="why not", at=SOON)


def test_a_plan_is_asked_for_once_and_read_back_as_it_was(
    journal: Journal, request_: ApprovalRequest
) -> None:
    """By digest, by run, by their beginnings; a second run that wants the same does not ask again."""
    later = "99999999-2222-4333-8444-555555555555"
    assert approvals.ask(journal, wanted().model_copy(update={"run": later}), HOW, SOON) == request_
    assert approvals.listed(journal, SOON) == (request_,)
    assert sorted(approvals.runs_of(journal, request_.id)) == [RUN, later]
    assert approvals.of_run(journal, later, SOON) == request_
    for name in (request_.digest, request_.digest[:12].upper(), RUN, RUN[:8], later[:8]):
        assert approvals.find(journal, name, SOON) == request_
    for name, said in (("abc", "at least 6"), ("0" * 12, "0 plans"), ("%_%_%_", "at least 6")):
        with pytest.raises(ConfigurationError, match=said):
            approvals.find(journal, name, SOON)


def test_a_changed_plan_is_asked_for_and_outdates_the_one_before(
    journal: Journal, request_: ApprovalRequest
) -> None:
    """Nobody can say yes to the old one any more."""
    newer = approvals.ask(journal, wanted(risky("a", "b")), HOW, SOON)
    assert newer.id != request_.id
    assert [each.id for each in approvals.listed(journal, SOON)] == [newer.id]
    with pytest.raises(RefusedError, match="outdated"):
        decide(journal, request_)


def test_a_decision_is_kept_and_the_second_is_refused(journal: Journal, request_: ApprovalRequest) -> None:
    """Who, when and why; whatever the second says."""
    denied = decide(journal, request_)
    assert (denied.decision, denied.by, denied.reason, denied.decided_at) == (
        Decision.DENIED,
        "ann",
        "why not",
        SOON,
    )
    assert approvals.of_run(journal, RUN, SOON) == denied
    assert approvals.ask(journal, wanted(), HOW, SOON) == denied
    for choice in Choice:
        with pytest.raises(RefusedError, match="was denied by ann"):
            decide(journal, request_, choice)
    assert [each.id for each in approvals.untold(journal)] == [request_.id]
    approvals.told(journal, request_.id)
    assert approvals.untold(journal) == ()


def test_an_approval_is_taken_up_by_one_run(journal: Journal, request_: ApprovalRequest) -> None:
    """And by none before it is one."""
    assert not approvals.take_up(journal, request_.id, "early", SOON)
    assert decide(journal, request_, Choice.APPROVE).waits_to_be_carried_out
    assert approvals.take_up(journal, request_.id, "first", SOON)
    assert not approvals.take_up(journal, request_.id, "second", SOON)
    assert approvals.find(journal, RUN, SOON).carried_out_by == "first"
    assert approvals.ask(journal, wanted(), HOW, SOON).id != request_.id


def test_time_denies_without_anybody_who_looks(journal: Journal, request_: ApprovalRequest) -> None:
    """Nor can it be decided then; the sweep only writes down what is so already."""
    over = AT + HOUR
    assert approvals.listed(journal, over) == ()
    assert approvals.find(journal, RUN, over).decision is Decision.EXPIRED
    with pytest.raises(RefusedError, match="expired"):
        approvals.decide(journal, request_.id, Choice.APPROVE, by="ann", reason="r", at=over)
    assert approvals.sweep(journal, over - timedelta(seconds=1)) == ()
    assert [each.id for each in approvals.sweep(journal, over)] == [request_.id]
    assert approvals.sweep(journal, over) == ()
    assert approvals.untold(journal)[0].decision is Decision.EXPIRED


def test_an_approval_that_nobody_takes_up_lapses(journal: Journal, request_: ApprovalRequest) -> None:
    """A worker that comes back the next day does not do what was agreed to last night."""
    decide(journal, request_, Choice.APPROVE)
    late = AT + HOUR + LAPSES
    assert not approvals.take_up(journal, request_.id, "late", late)
    assert [each.decision for each in approvals.sweep(journal, late)] == [Decision.EXPIRED]


def test_who_heals_with_the_digest_has_agreed(journal: Journal, request_: ApprovalRequest) -> None:
    """The request is closed by it, and is not another run's approval."""
    found = approvals.agreed(journal, "pot", request_.digest, by="the caller", run="run", at=SOON)
    assert found is not None
    assert (found.decision, found.by, found.carried_out_by) == (Decision.APPROVED, "the caller", "run")
    assert approvals.agreed(journal, "pot", request_.digest, by="x", run="run", at=SOON) == found
    assert approvals.agreed(journal, "pot", request_.digest, by="x", run="other", at=SOON) is None
    assert approvals.agreed(journal, "pot", "0" * 64, by="x", run="run", at=SOON) is None


def test_a_link_decides_once(journal: Journal, request_: ApprovalRequest) -> None:
    """Looking is free; of the token nothing is in the database but a hash."""
    token = approvals.make_token(journal, request_, HOW, AT)
    digest = request_.digest
    for _ in range(2):
        assert approvals.behind(journal, digest, token, SOON) == request_
    with journal.transaction() as connection:
        rows = connection.execute(sa.select(tables.approval_links)).all()
    assert token not in str(rows)
    said = {"by": "ben", "reason": "fine", "at": SOON}
    with pytest.raises(ConfigurationError, match="reason"):
        approvals.decide_by_link(journal, digest, token, Choice.APPROVE, **{**said, "reason": " "})
    decided = approvals.decide_by_link(journal, digest, token, Choice.APPROVE, **said)
    assert (decided.decision, decided.by) == (Decision.APPROVED, "ben")
    with pytest.raises(RefusedError, match="not good, was used already"):
        approvals.decide_by_link(journal, digest, token, Choice.DENY, **said)


def test_a_link_is_good_for_its_plan_and_its_time_only(journal: Journal, request_: ApprovalRequest) -> None:
    """Another digest, another token, later: the same answer for all of them."""
    token = approvals.make_token(journal, request_, HOW, AT)
    other = approvals.ask(journal, wanted(risky("b", "c")).model_copy(update={"target": "kettle"}), HOW, AT)
    late = AT + timedelta(seconds=HOW.link_s)
    for digest, given, at in (
        (other.digest, token, SOON),
        (request_.digest[:12], token, SOON),
        (request_.digest, "x" * 43, SOON),
        (request_.digest, "", SOON),
        (request_.digest, token, late),
    ):
        with pytest.raises(RefusedError, match="this link is not good"):
            approvals.behind(journal, digest, given, at)
    assert approvals.behind(journal, request_.digest, token, late - timedelta(seconds=1)) == request_


def test_what_was_decided_long_ago_is_forgotten_and_what_counts_is_kept(
    journal: Journal, request_: ApprovalRequest
) -> None:
    """With its runs and links; not what waits, what the history was not told, or a no that still counts."""
    how = Approvals(keep_days=1, quiet_s=3 * 86_400)
    approvals.make_token(journal, request_, how, AT)
    untold = approvals.ask(journal, wanted(risky("b")).model_copy(update={"target": "kettle"}), how, AT)
    open_ = approvals.ask(journal, wanted(risky("c")).model_copy(update={"target": "pan"}), how, AT)
    for each in (request_, untold):
        decide(journal, each)
    approvals.told(journal, request_.id)
    over = open_.expires_at + timedelta(days=3, seconds=1)

    def forget(at: datetime, *, is_dry_run: bool = False) -> int:
        return approvals_retention.forget(journal, how, at, is_dry_run=is_dry_run)

    assert forget(over - timedelta(seconds=2)) == 0
    assert (forget(over, is_dry_run=True), forget(over), forget(over)) == (1, 1, 0)
    assert {each.id for each in approvals.listed(journal, over, AT)} == {untold.id, open_.id}
    with journal.transaction() as connection:
        assert connection.execute(sa.select(tables.approval_links)).all() == []
    assert approvals.runs_of(journal, request_.id) == ()
    with pytest.raises(ConfigurationError, match="0 plans"):
        approvals.find(journal, request_.digest, over)
    approvals.sweep(journal, over)
    for each in approvals.untold(journal):
        approvals.told(journal, each.id)
    assert forget(over) == 2  # by its time, whenever it is noted
