"""The page behind a link: a GET decides nothing, a POST decides once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from medic8.alerts.approving import BURST, MOST_BYTES
from medic8.alerts.serving import PORT
from medic8.model.approval import ApprovalRequest, Choice, Decision
from medic8.model.approving import Approvals
from medic8.recovery import approvals, gateway_place
from medic8.recovery.gateway_place import USUAL
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.alerts.approving_page import approving_page
from tests.alerts.gateway_process import gateway
from tests.recovery.asking import AT, risky, wanted

HOW = Approvals(url="https://heal.example")
YES = {"decision": "approve", "reason": "the <i>night</i> is quiet", "by": "ann"}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Get a journal."""
    opened = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    yield opened
    opened.dispose()


@pytest.fixture
def asked(journal: Journal) -> ApprovalRequest:
    """Get what somebody is asked about; texts in it come from whoever wrote them."""
    plan = risky("<script>alert(1)</script>")
    plan = plan.model_copy(update={"left_open": ("The lid rattles.",), "loses": "3 pages given up"})
    return approvals.ask(journal, wanted(plan), HOW, AT)


@pytest.fixture
def link(journal: Journal, asked: ApprovalRequest) -> str:
    """Get a link to the page."""
    made = approvals.make_link(journal, asked, HOW, AT)
    assert made.startswith(f"{HOW.url}/approve/{asked.digest}/")
    return made.removeprefix(HOW.url)


@pytest.fixture
def clock() -> list[datetime]:
    """Get the time that the page has."""
    return [AT + timedelta(minutes=1)]


@pytest.fixture
def page(journal: Journal, clock: list[datetime]) -> Iterator[httpx.Client]:
    """Get the page, behind a real server on the loopback interface."""
    with approving_page(journal, lambda: clock[0]) as client:
        yield client


def decision(journal: Journal, asked: ApprovalRequest) -> ApprovalRequest:
    return approvals.find(journal, asked.digest, AT + timedelta(minutes=1))


def test_a_get_shows_the_plan_and_decides_nothing(
    page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest
) -> None:
    """However often, and whatever it carries; a program that previews links does no harm."""
    for address in (link, link, f"{link}?decision=approve&reason=x"):
        shown = page.get(address)
        assert shown.status_code == 200
        assert asked.digest in shown.text
        assert "&lt;script&gt;alert(1)" in shown.text
        assert "<script" not in shown.text
        assert "<b>pot" not in shown.text
    assert page.head(link).status_code == 405
    assert decision(journal, asked) == asked


def test_whoever_is_woken_by_it_sees_all_that_the_decision_is_about(
    page: httpx.Client, link: str, asked: ApprovalRequest
) -> None:
    """On a phone, in the dark: the page is as wide as the screen, and as dark as whoever reads wants it."""
    shown = page.get(link).text
    plan, issue = asked.plan, asked.issue
    for expected in (
        "<h1>Plan for pot</h1>",
        f"<strong>{plan.summary}</strong>",
        "Lost for good: 3 pages given up.",
        f"({issue.severity.value})</dd>",
        f"<dd>{plan.strategy}</dd>",
        "<dd>high; a person has to agree: its risk is high</dd>",
        f"<dd>a person, run {asked.run}, {asked.asked_at:%Y-%m-%d %H:%M UTC}</dd>",
        f"<dd>before {asked.expires_at:%Y-%m-%d %H:%M UTC}; after that it counts as denied</dd>",
        "<ol><li>write &lt;script&gt;alert(1)&lt;/script&gt; <small>(restorable)</small></li></ol>",
        "<ul><li>The lid rattles.</li></ul>",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "color-scheme:light dark",
    ):
        assert expected in shown
    assert "<table" not in shown


def test_nothing_is_loaded_framed_or_told_to_others(page: httpx.Client, link: str) -> None:
    """On every answer, a refusal too."""
    for answer in (page.get(link), page.get(f"{link}x"), page.post(link, content=b"")):
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(
            policy.split("; ")
        )
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_a_post_decides_once(page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest) -> None:
    """Who, when and why are kept; the second is refused, whatever it says."""
    done = page.post(link, data=YES)
    assert (done.status_code, "approved by ann" in done.text) == (200, True)
    assert "&lt;i&gt;night" in done.text
    found = decision(journal, asked)
    assert (found.decision, found.by, found.reason) == (Decision.APPROVED, "ann", YES["reason"])
    again = page.post(link, data={**YES, "decision": "deny"})
    assert (again.status_code, "used already" in again.text) == (403, True)
    assert page.get(link).status_code == 403
    assert decision(journal, asked) == found


def test_who_gives_no_name_is_the_holder_of_the_token(
    page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest
) -> None:
    """There are no identities behind a link."""
    assert page.post(link, data={"decision": "deny", "reason": "no", "by": " "}).status_code == 200
    found = decision(journal, asked)
    assert (found.decision, found.by) == (Decision.DENIED, "holder of the token")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"decision=perhaps&reason=x", 422),
        (b"decision=approve", 422),
        (b"decision=approve&reason=+", 422),
        (b"decision=approve&reason=" + b"x" * 2001, 422),
        (b"decision=approve&reason=x&by=" + b"y" * 201, 422),
        (b"\xff\xfe=\x00", 422),
        (b"&".join([b"reason=x"] * 50), 422),
        (b"reason=" + b"x" * MOST_BYTES, 413),
    ],
)
def test_what_is_no_decision_decides_nothing_and_leaves_the_link_good(
    page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest, body: bytes, status: int
) -> None:
    """A slip of the pen must not cost the only link."""
    assert page.post(link, content=body).status_code == status
    assert decision(journal, asked) == asked
    assert page.post(link, data=YES).status_code == 200


def test_a_link_of_another_plan_or_after_its_time_is_refused(
    page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest, clock: list[datetime]
) -> None:
    """The digest in the address is a part of what the token is good for."""
    other = approvals.ask(journal, wanted(risky("b")).model_copy(update={"target": "kettle"}), HOW, AT)
    wrong = link.replace(asked.digest, other.digest)
    for call in (page.get(wrong), page.post(wrong, data=YES), page.post(f"{link}x", data=YES)):
        assert call.status_code == 403
    clock[0] = AT + timedelta(seconds=HOW.link_s)
    assert page.post(link, data=YES).status_code == 403
    assert decision(journal, asked) == asked


def test_what_was_decided_elsewhere_is_shown(
    page: httpx.Client, link: str, journal: Journal, asked: ApprovalRequest, clock: list[datetime]
) -> None:
    """Whoever opens the link later learns of it."""
    approvals.decide(journal, asked.id, Choice.DENY, by="ben", reason="not now", at=clock[0])
    shown = page.get(link)
    assert (shown.status_code, "denied by ben" in shown.text) == (410, True)
    assert page.post(link, data=YES).status_code == 403
    assert decision(journal, asked).by == "ben"


def test_whoever_guesses_is_slowed_down(page: httpx.Client, journal: Journal, asked: ApprovalRequest) -> None:
    """Each guess costs a transaction, for which alerts would wait."""
    guess = f"/approve/{asked.digest}/{'x' * 43}"
    assert {page.get(guess).status_code for _ in range(BURST)} == {403}
    assert [page.get(guess).status_code, page.post(guess, content=b"").status_code] == [503, 503]
    assert decision(journal, asked) == asked


def test_links_lead_to_the_gateway_that_listens_though_nobody_may_send_alerts(tmp_path: Path) -> None:
    """At whatever port; a url of the configuration goes before that."""
    (tmp_path / "medic8.toml").write_text("")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ |= {"MEDIC8_HOME": str(tmp_path / "home"), "MEDIC8_CONFIG": str(tmp_path / "medic8.toml")}
    journal = Journal(load_settings(environ=environ).journal_url)
    now, how = datetime.now(UTC), Approvals()
    request = approvals.ask(journal, wanted(risky("a")), how, now)
    assert approvals.make_link(journal, request, how, now).startswith(f"{USUAL}/approve/")
    assert f"http://127.0.0.1:{PORT}" == USUAL
    with gateway("http://127.0.0.1:1/api", environ=environ) as client:
        link = approvals.make_link(journal, request, how, now)
        assert link.startswith(f"{client.base_url}/approve/{request.digest}/".replace(":///", "://"))
        shown = httpx.get(link, trust_env=False, timeout=30)
        assert (shown.status_code, request.digest in shown.text) == (200, True)
        assert client.post("/v1/alerts/any", json={"target": "x"}).status_code == 404
        assert approvals.make_link(journal, request, HOW, now).startswith(f"{HOW.url}/approve/")
    journal.dispose()


@pytest.mark.parametrize(
    ("host", "is_https", "url"),
    [
        ("0.0.0.0", False, "http://127.0.0.1:1"),  # noqa: S104
        ("::", True, "https://127.0.0.1:1"),
        ("::1", True, "https://[::1]:1"),
        ("heal.example", True, "https://heal.example:1"),
    ],
)
def test_the_address_is_one_that_can_be_gone_to(host: str, url: str, *, is_https: bool) -> None:
    assert gateway_place.address(host, 1, is_https=is_https) == url
