"""When the dispatcher looks for what waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medic8.alerts import dispatcher
from medic8.alerts.dispatcher import Dispatcher
from medic8.alerts.inbox import Inbox
from medic8.alerts.metrics import Metrics
from medic8.alerts.runs import Runs
from medic8.alerts.writing import Writer
from medic8.errors import TransientError
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.alerts.gateway_process import wait_for
from tests.alerts.test_inbox import alert, arrival

#: Longer than any test; nobody who is not woken looks twice.
NEVER_S = 3600.0


def test_what_was_taken_in_is_looked_at_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert waits for no clock."""
    monkeypatch.setattr(dispatcher, "EVERY_S", NEVER_S)
    inbox = Inbox(Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}"))
    asked = list[bool]()

    @contextmanager
    def away() -> Iterator[Runs]:
        asked.append(True)
        raise TransientError("nobody is there")
        yield

    site = load_settings(environ={"MEDIC8_HOME": str(tmp_path)}, cwd=tmp_path)
    dispatching = Dispatcher(site, inbox, away, Metrics(()), lambda: 1000.0)
    writer = Writer(inbox, lambda: 1000.0, dispatching.wake)
    dispatching.start()
    writer.start()
    wait_for(lambda: "forget" in dispatching._done_s)  # the first look, which finds nothing
    writer.hand(arrival(alert("a"))).result(60)
    wait_for(lambda: asked)
    writer.stop()
    dispatching.stop()
