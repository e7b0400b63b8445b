"""What hogs a server is closed when a person has agreed, through the flows; and what is unused given back."""

from __future__ import annotations

from pathlib import Path

import pytest
import valkey

from flows.run import run
from medic8.model.guard import Verdict
from medic8.model.policy import Origin
from medic8.model.recovery import StepState
from medic8.model.resolution import Outcome, Resolution, Treatment
from tests.flows.server_site import Configure
from tests.flows.slow_site import heal_with_a_yes
from tests.raw_clients import RawClient, slow_reader
from tests.targets.valkey.debian_server import leave_unused_pages, needs_redis, redis_server
from tests.targets.valkey.looking_at import OF_CLIENTS

pytestmark = pytest.mark.usefixtures("prefect_api")

ALLOW = '"kill_hogging_client", "purge_memory"'


def about(treatment: Treatment, what: str) -> Resolution:
    (resolution,) = [each for each in treatment.resolutions if each.issue.about == what]
    return resolution


def digest_of(resolution: Resolution) -> str:
    assert resolution.plan is not None
    return resolution.plan.digest[:12]


def test_a_hog_is_closed_by_exactly_the_plan_that_was_agreed_to(
    configure: Configure, valkey_url: str
) -> None:
    """Shown, asked for, agreed to and done; a client beside it stays, and the history has it."""
    configure(allow=ALLOW)
    what = "client output"
    with slow_reader(valkey_url) as hog, RawClient(valkey_url, "report") as other:
        planned = about(run("heal", target="server", dry_run=True), what)
        assert planned.outcome is Outcome.PLANNED
        asked = about(run("heal", target="server"), what)
        assert asked.outcome is Outcome.AWAITING_APPROVAL
        assert digest_of(asked) == digest_of(planned)
        assert f"--approve {digest_of(planned)}" in asked.reason
        assert hog.is_connected
        refused = about(run("heal", target="server", approved=["0" * 12]), what)
        assert refused.outcome is Outcome.AWAITING_APPROVAL
        assert hog.is_connected
        done = about(run("heal", target="server", approved=[digest_of(planned)]), what)
        assert_closed(done, hog, other)


def test_a_monitor_is_closed_by_the_plan_that_was_agreed_to(configure: Configure, valkey_url: str) -> None:
    """A client beside it stays."""
    configure(allow=ALLOW)
    with watching(valkey_url) as hog, RawClient(valkey_url, "report") as other:
        assert_closed(heal_with_a_yes("kill_hogging_client", *OF_CLIENTS), hog, other)


def assert_closed(done: Resolution, hog: RawClient, other: RawClient) -> None:
    assert (done.outcome, done.verdict) == (Outcome.RESOLVED, Verdict.BETTER), done.reason
    assert [step.state for step in done.steps] == [StepState.COMMITTED]
    assert not hog.is_connected
    assert other.is_connected


def watching(url: str) -> RawClient:
    return RawClient(url, "debugging").watch_everything()


def test_forgotten_keys_expire_once_a_person_has_agreed(configure: Configure, valkey_url: str) -> None:
    """Of the configured prefix only; `medic8 undo` takes it back."""
    configure(allow='"expire_forgotten_keys"', more='[[target.expiry]]\nprefix = "session:"\nafter = 86400')
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({"session:1": "x", "session:2": "x", "other": "x"})
        asked = about(run("heal", target="server"), "keys session:…")
        assert asked.outcome is Outcome.AWAITING_APPROVAL
        # What somebody once agreed to is agreed to by nobody where a timer says it again.
        agreed = [digest_of(asked)]
        by_timer = run("heal", target="server", approved=agreed, origin=Origin.SCHEDULE)
        assert about(by_timer, "keys session:…").outcome is Outcome.AWAITING_APPROVAL
        assert client.ttl("session:1") == -1
        done = about(run("heal", target="server", approved=agreed), "keys session:…")
        assert (done.outcome, done.verdict) == (Outcome.RESOLVED, Verdict.BETTER), done.reason
        assert 86_000 < client.ttl("session:1") <= 86_400
        assert client.ttl("other") == -1
        undone = run("undo", run=done.recovery)
        assert undone.outcome is Outcome.RESOLVED, undone.reason
        assert [client.ttl(name) for name in ("session:1", "session:2", "other")] == [-1, -1, -1]


@needs_redis
def test_memory_that_nothing_uses_is_given_back_without_asking(configure: Configure, tmp_path: Path) -> None:
    """On Debian's redis-server: harmless, so the allow-list is enough, and the issue is gone."""
    with redis_server(tmp_path) as url:
        configure(allow=ALLOW, url=url)
        leave_unused_pages(url)
        done = about(run("heal", target="server"), "fragmentation")
    assert (done.outcome, done.verdict) == (Outcome.RESOLVED, Verdict.BETTER), done.reason
