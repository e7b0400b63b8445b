"""A risky plan waits for a person and holds nothing; what is approved is looked at anew, on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
import valkey
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from deployments import register
from deployments.server import opened
from flows.run import run
from medic8.cli.door import PrefectDoor
from medic8.cli.run import run as call_medic8
from medic8.errors import RefusedError
from medic8.local.prefect_access import PrefectAccess
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.policy import Origin, Pause
from medic8.model.resolution import Approval, Outcome, Resolution
from medic8.recovery import approvals, pauses
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tasks.track import history, resolution_of
from tests.flows.server_site import Configure, set_settings

pytestmark = pytest.mark.usefixtures("prefect_api")

EXPIRY = '[[target.expiry]]\nprefix = "session:"\nafter = 86400'
POOL = "approved-by-a-test"
PATIENCE_S = 60


@pytest.fixture
def keys(configure: Configure, valkey_url: str) -> Iterator[valkey.Valkey]:
    """Get a client of a server with forgotten keys, to which only a person may give an expiry."""
    configure(allow='"expire_forgotten_keys"', more=EXPIRY)
    set_settings(valkey_url, "1000", "100")  # nothing is wrong with these
    with valkey.Valkey.from_url(valkey_url) as client:
        client.flushall()
        client.mset({"session:1": "x", "session:2": "x"})
        yield client
        client.flushall()


def heal(**asked: object) -> Resolution:
    """What came of the forgotten keys."""
    treatment = run("heal", target="server", **asked)
    return next(each for each in treatment.resolutions if each.issue.about.startswith("keys session:"))


def journal() -> Journal:
    return Journal(load_settings().journal_url)


def waiting() -> ApprovalRequest:
    """The one request that waits."""
    (found,) = approvals.listed(journal(), datetime.now(UTC))
    return found


def ttls(client: valkey.Valkey) -> set[int]:
    return {client.ttl(name) for name in client.keys("session:*")}


def tags_of(run_id: str) -> set[str]:
    with get_client(sync_client=True) as client:
        return set(client.read_flow_run(UUID(run_id)).tags)


def configure_more(text: str) -> None:
    file = Path(load_settings().source or "")
    file.write_text(f"{text}\n{file.read_text()}")


def test_what_is_approved_is_carried_out_once(
    keys: valkey.Valkey, prefect_api: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked once, whoever comes by; nothing is held meanwhile; who, when and why are on record."""

    def medic8(*arguments: str) -> tuple[int, str]:
        access = PrefectAccess(api_url=prefect_api, named_by="a test")
        code = call_medic8(arguments, open_door=lambda _: PrefectDoor(access))
        return code, capsys.readouterr().out

    asked = heal(origin=Origin.SCHEDULE)
    request = waiting()
    assert asked.outcome is Outcome.AWAITING_APPROVAL
    assert f"medic8 approve {request.digest[:12]}" in asked.reason
    assert heal(origin=Origin.SCHEDULE).outcome is Outcome.AWAITING_APPROVAL
    assert waiting() == request
    came_by = history(target="server", limit=1)[0].run
    assert came_by != request.run
    assert (journal().holding(), ttls(keys)) == ((), {-1})

    said = ("approve", request.digest[:12], "--reason", "they are forgotten", "--by", "ann")
    assert medic8(*said)[0] == 0
    assert -1 not in ttls(keys)
    done = resolution_of(history(target="server", outcome="resolved", limit=1)[0].run)[1]
    assert done is not None
    assert (done.outcome, done.mandate.origin) == (Outcome.RESOLVED, Origin.SCHEDULE), done.reason
    assert done.approval is not None
    assert (done.approval.by, done.approval.reason) == ("ann", "they are forgotten")
    assert done.approval.at == approvals.find(journal(), request.digest, datetime.now(UTC)).decided_at
    assert "they are forgotten" in medic8("show", request.run)[1]
    assert "decision:approved" in tags_of(request.run) & tags_of(came_by)
    # One resolution, with its end; those that asked are found by their outcome.
    behind = {each.run for each in history(target="server", outcome="approved")}
    assert {request.run, came_by} <= behind
    assert not {request.run, came_by} & {each.run for each in history(target="server", limit=1000)}
    assert not history(target="server", outcome="awaiting_approval")
    shown = resolution_of(request.run)[1]
    assert shown is not None
    assert (shown.outcome, shown.approval) == (Outcome.APPROVED, done.approval)
    assert medic8(*said)[0] == 1


def test_a_yes_to_what_is_not_there_any_more_ends_the_run_that_asked(keys: valkey.Valkey) -> None:
    """Else it would be listed as waiting for ever."""
    heal(origin=Origin.SCHEDULE)
    request = waiting()
    for name in keys.keys("session:*"):
        keys.expire(name, 900)
    decided = run("approve", plan=request.digest, decision="approve", reason="fine", by="ann")
    assert decided.treatment.resolutions == ()
    newest = history(target="server", limit=1)[0]
    assert (newest.run, newest.outcome) == (request.run, "refused")
    ended = resolution_of(request.run)[1]
    assert ended is not None
    assert (ended.outcome, "approved by ann: fine" in ended.reason) == (Outcome.REFUSED, True)


def test_what_is_denied_is_not_done_and_not_asked_again(keys: valkey.Valkey) -> None:
    """The run that asked and the next one both end denied, and say by whom and why."""
    heal(origin=Origin.ALERT)
    request = waiting()
    now = datetime.now(UTC)
    approvals.decide(journal(), request.id, Choice.DENY, by="ben", reason="they are mine", at=now)
    refused = heal(origin=Origin.ALERT)
    assert refused.outcome is Outcome.DENIED
    assert refused.approval == Approval(
        digest=request.digest[:12], by="ben", at=now, reason="they are mine", is_granted=False
    )
    asked = resolution_of(request.run)[1]
    assert asked is not None
    assert (asked.outcome, asked.approval) == (Outcome.DENIED, refused.approval)
    run("restore_interrupted")
    assert "outcome:denied" in tags_of(request.run)
    assert "outcome:awaiting_approval" not in tags_of(request.run)
    assert {each.outcome for each in history(target="server", limit=2)} == {"denied"}
    with pytest.raises(RefusedError, match="was denied by ben"):
        run("approve", plan=request.digest, decision="approve", reason="after all")
    assert (approvals.listed(journal(), datetime.now(UTC)), ttls(keys)) == ((), {-1})
    # A person who heals with the digest has the last word.
    assert heal(approved=[request.digest]).outcome is Outcome.RESOLVED


def test_time_denies(keys: valkey.Valkey) -> None:
    """Nobody can say yes after it, and the history hears of it from the sweep."""
    configure_more("[approvals]\nexpires_s = 1")
    heal(origin=Origin.SCHEDULE)
    request = approvals.find(journal(), history(target="server", limit=1)[0].run, datetime.now(UTC))
    deadline = time.monotonic() + PATIENCE_S
    while datetime.now(UTC) < request.expires_at:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises(RefusedError, match="expired"):
        run("approve", plan=request.digest, decision="approve", reason="too late")
    run("restore_interrupted")
    assert "outcome:denied" in tags_of(request.run)
    denied = heal(origin=Origin.SCHEDULE)
    assert (denied.outcome, "nobody decided in time" in denied.reason) == (Outcome.DENIED, True)
    assert ttls(keys) == {-1}


def test_what_has_changed_is_asked_again_and_rules_are_asked_again(keys: valkey.Valkey) -> None:
    """A yes is for that plan, and for a time at which everything else allows it."""
    heal(origin=Origin.SCHEDULE)
    first = waiting()
    keys.set("session:3", "x")
    decided = run("approve", plan=first.digest, decision="approve", reason="fine", by="ann")
    (again,) = decided.treatment.resolutions
    second = waiting()
    assert (again.outcome, again.plan.digest) == (Outcome.AWAITING_APPROVAL, second.digest)
    assert second.digest != first.digest
    assert second.run != first.run

    pauses.begin(journal(), Pause(reason="we upgrade", by="cy", since=datetime.now(UTC)))
    decided = run("approve", plan=second.digest, decision="approve", reason="fine", by="ann")
    (refused,) = decided.treatment.resolutions
    assert refused.refusal is not None
    assert (refused.outcome, refused.refusal.rule) == (Outcome.REFUSED, "pause")
    assert ttls(keys) == {-1}


@pytest.fixture
def deployed(keys: valkey.Valkey, prefect_api: str) -> Iterator[valkey.Valkey]:
    """Get the client of that server, whose site is deployed; nothing of it is left to other tests."""
    configure_more(f'[deployments]\npool = "{POOL}"\n[schedule]\nhealth = 0\nsamples = 0')
    access = PrefectAccess(api_url=prefect_api, named_by="a test")
    try:
        register(load_settings(), access)
        yield keys
    finally:
        with opened(access) as server:
            for found in server.ours(POOL):
                server.remove(found)
        with get_client(sync_client=True) as client:
            client.delete_work_pool(POOL)


def test_a_decision_by_link_is_carried_out_by_one_run_of_the_deployment(deployed: valkey.Valkey) -> None:
    """The sweep starts it with a form that the server accepts; swept twice, it is one run."""
    keys, site = deployed, load_settings()
    heal(origin=Origin.SCHEDULE)
    request, now = waiting(), datetime.now(UTC)
    token = approvals.make_token(journal(), request, site.approvals, now)
    approvals.decide_by_link(
        journal(), request.digest, token, Choice.APPROVE, by="dee", reason="by the link", at=now
    )
    for _ in range(2):
        run("restore_interrupted", queue="default")
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"approve/{POOL}: decide on a plan")
        started = [
            each
            for each in client.read_flow_runs(
                flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=["target:server"]))
            )
            if each.deployment_id == deployment.id
        ]
    assert len(started) == 1
    assert (waiting().decision, ttls(keys)) == (Decision.APPROVED, {-1})
    elsewhere = {**started[0].parameters, "queue": "rack-7"}
    assert run("approve", **elsewhere).treatment is None
    decided = run("approve", **started[0].parameters)
    (done,) = decided.treatment.resolutions
    assert (done.outcome, done.approval.by) == (Outcome.RESOLVED, "dee")
    assert -1 not in ttls(keys)
    with get_client(sync_client=True) as client:
        client.delete_flow_run(started[0].id)
