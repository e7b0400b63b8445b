"""Where people are told, tried and sent by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medic8.model.notice import Event, Notice
from medic8.recovery import notices
from medic8.recovery.journal import Journal
from tests.notifying.receiver import TOKEN, Receiver

if TYPE_CHECKING:
    from tests.cli.conftest import Medic8


@pytest.fixture
def away(tmp_path: Path, medic8: Medic8) -> Receiver:
    """Get a receiver that is not there yet, and a route to it."""
    del medic8  # it has written the configuration
    receiver, file = Receiver(), tmp_path / "medic8.toml"
    (tmp_path / "url").write_text(receiver.url())
    (tmp_path / "url").chmod(0o600)
    file.write_text(f'{file.read_text()}\n[[notify]]\nname = "ops"\nurl_file = "url"\n')
    return receiver


def test_without_a_route_nobody_is_told(medic8: Medic8) -> None:
    assert "nobody is told anything" in medic8("notify", "list").out
    assert medic8("notify", "test").code == 2
    assert medic8("notify", "send").out == "nothing waits\n"


def test_a_route_is_tried_and_what_waits_is_sent(medic8: Medic8, away: Receiver, tmp_path: Path) -> None:
    """What came of it is said, and listed, without the address."""
    assert medic8("notify", "test", "nobody").code == 2
    with Journal(f"sqlite:///{tmp_path}/home/journal.sqlite").transaction() as connection:
        what = Notice(event=Event.RESTORED, target="pot", title="p99 became worse", at=datetime.now(UTC))
        notices.put(connection, what)
    said = [medic8("notify", "test"), medic8("notify", "send"), medic8("notify", "list", "--all")]
    assert [each.code for each in said] == [1, 1, 1]
    assert all("ops: not sent: " in each.out for each in said[:2])
    assert "pot: put back, not healed: p99 became worse" in said[2].out
    with away.there():
        trial = medic8("notify", "test", "ops", "--json")
    assert (trial.code, away.titles) == (0, ["Medic8: a test message"])
    listed = medic8("notify", "list", "--json")
    assert listed.document["states"][0]["waiting"] == 1
    assert not [each for each in (*said, trial, listed) if TOKEN in each.out + each.err]
