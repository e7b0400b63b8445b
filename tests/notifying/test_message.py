"""Messages are short, plain, and say what to do."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from medic8.model.notice import Event, Notice
from medic8.notifying.courier import without_secrets
from medic8.notifying.message import LONGEST_BODY, LONGEST_TITLE, digest, single, title_of
from tests.recovery.asking import AT

LONG = Notice(
    event=Event.NEEDS_PERSON,
    target="db1",
    title="x" * 500 + "\x1b[2J",
    plan="p" * 900,
    reason="r\n" * 900,
    done=tuple(f"step {each} {'d' * 900}" for each in range(12)),
    left=tuple(f"by hand: {each} {'l' * 900}" for each in range(12)),
    run="0b5a",
    recovery="1c6b",
    at=AT,
)


@pytest.mark.parametrize("event", list(Event))
def test_every_event_has_a_title_for_a_lock_screen(event: Event) -> None:
    title = title_of(LONG.model_copy(update={"event": event}))
    assert title.startswith("db1: ")
    assert len(title) <= LONGEST_TITLE
    assert "\x1b" not in title


def test_what_was_lost_stands_in_the_title_and_is_no_success() -> None:
    """Who reads "healed" on a lock screen goes on sleeping."""
    notice = LONG.model_copy(update={"event": Event.RESOLVED, "title": "damaged", "lost": "3 pages given up"})
    assert title_of(notice) == "db1: healed, 3 pages given up: damaged"
    assert [single(notice).kind, digest([notice, notice]).kind] == ["warning"] * 2


def test_a_long_message_is_cut_in_the_middle() -> None:
    """What is wrong and what to do stand at its ends."""
    message = single(LONG, runs_page="https://prefect.example/runs/flow-run", link="https://heal.example/x")
    assert len(message.body) <= LONGEST_BODY + 2
    assert "medic8 acknowledge 1c6b" in message.body
    assert "https://heal.example/x" in message.body
    assert "https://prefect.example/runs/flow-run/0b5a" in message.body
    assert "\n…\n" in message.body


def test_in_a_digest_of_very_many_each_that_needs_a_person_has_its_line() -> None:
    """However long that becomes."""
    waits = [LONG.model_copy(update={"title": f"disk {each}"}) for each in range(60)]
    refused = [LONG.model_copy(update={"event": Event.REFUSED, "title": "budget"})] * 200
    message = digest([*refused, *waits])
    assert message.title.startswith("260 messages on db1: 60 needs a person, 200 refused")
    assert all(f"disk {each} (medic8 show 1c6b)" in message.body for each in range(60))
    assert message.body.endswith("and 200 more: medic8 notify list --all")


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("tgram://123456:AAF-tok/998877", ("123456", "AAF-tok", "998877")),
        ("mailtos://ann:p%40ss%2Fword@mx.example?to=b@x.example", ("p@ss/word", "p%40ss%2Fword")),
        ("json://host/path?+X-Key=abcd1234", ("abcd1234",)),
    ],
)
def test_no_part_of_an_address_is_left_in_a_reason(url: str, hidden: tuple[str, ...]) -> None:
    """However the service's module spells it."""
    said = without_secrets(f"failed: {url} / {' '.join(hidden)}\nsecond line", SecretStr(url))
    assert not [each for each in hidden if each in said]
    assert said.startswith("failed: ")
    assert said.endswith("second line")
