"""The document says of events and settings what is there."""

from __future__ import annotations

from pathlib import Path

from medic8.model.notice import COLLECTED, Event, Route
from medic8.notifying.courier import TIMEOUT_S
from medic8.notifying.message import LONGEST_BODY
from medic8.recovery import notices, outbox
from medic8.settings.notify import RouteTable
from tests.test_docs import ROOT

DOCUMENT = (Path(ROOT) / "docs" / "notifications.md").read_text()


def rows(heading: str) -> list[list[str]]:
    part = DOCUMENT.split(f"\n{heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_event_is_in_the_table_with_when_it_is_told() -> None:
    said = {row[0]: row[2] for row in rows("## What is told")}
    assert said == {each.value: "collected" if each in COLLECTED else "at once" for each in Event}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    said = {row[0]: row[2] for row in rows("## Where it goes")}
    assert set(said) == set(RouteTable.model_fields) - {"url", "problem"}
    numbers = {
        name: each.default for name, each in Route.model_fields.items() if isinstance(each.default, int)
    }
    assert {name: str(default).lower() for name, default in numbers.items()}.items() <= said.items()


def test_times_and_lengths_are_those_of_the_program() -> None:
    assert f"ended after {TIMEOUT_S:g} seconds" in DOCUMENT
    assert f"at most {LONGEST_BODY:,} characters" in DOCUMENT
    assert f"tried again after {outbox.FIRST_WAIT_S:g} seconds" in DOCUMENT
    waits = (outbox.LONGEST_WAIT_S, outbox.GIVE_UP_S, outbox.ANEW_S, outbox.CLAIM_S, notices.KEEP_S)
    assert waits == (15 * 60, 24 * 3600, 4 * 3600, 5 * 60, 30 * 86_400)
