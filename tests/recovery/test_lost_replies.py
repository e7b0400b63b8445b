"""A command is carried out and its reply is lost: it is tried again, and not made twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import valkey

from medic8.errors import TransientError
from medic8.model.recovery import RecoveryState, StepState
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection, info, setting
from tests.recovery.forwarder import Forwarder
from tests.recovery.outage import (
    grid_on,
    harm,
    make_grid,
    now,
    plan_repair,
    plan_settings,
    server_on,
    values_of,
)
from tests.recovery.test_outages import Run, session_on


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    yield journal
    journal.dispose()


@pytest.fixture
def way(valkey_url: str) -> Iterator[Forwarder]:
    """Get a way to the shared server on which replies can be lost."""
    with Forwarder(int(valkey_url.rsplit(":", maxsplit=1)[1].split("/", maxsplit=1)[0])) as way:
        yield way


def calls(client: valkey.Valkey, command: str) -> int:
    """How often the server has carried *command* out."""
    return int(info(client, "commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


@contextmanager
def losing(way: Forwarder, *words: bytes) -> Iterator[None]:
    """Lose the reply to the first request with all *words*; it shows as an error that may be tried again."""
    before = way.lost
    way.loses_reply_to = lambda request: all(word in request for word in words)
    with pytest.raises(TransientError, match="stopped answering"):
        yield
    assert way.lost == before + 1


def test_a_setting_whose_reply_is_lost_is_set_once(
    journal: Journal, way: Forwarder, valkey_url: str, tmp_path: Path
) -> None:
    """By EXEC, in the step and in its undo."""
    run = Run(journal, server_on(way.url), plan_settings(("hz", "10", "20")), tmp_path)
    with connection(valkey_url) as client:
        before = calls(client, "config|set")
        with losing(way, b"EXEC", b"CONFIG"):
            run.apply(0)
        assert setting(client, "hz") == "20"
        run.apply(0)
        assert calls(client, "config|set") == before + 1
        with losing(way, b"EXEC", b"CONFIG"):
            run.end()
        assert setting(client, "hz") == "10"
        ended = run.end()
        assert calls(client, "config|set") == before + 2
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert [step.state for step in ended.steps] == [StepState.UNDONE]


def test_a_grids_value_whose_reply_is_lost_is_written_once(
    journal: Journal, way: Forwarder, client_of_shared: valkey.Valkey, tmp_path: Path
) -> None:
    """By script, in the step and in its undo."""
    client = client_of_shared
    good, damaged = make_grid(client), harm(client)
    run = Run(journal, grid_on(way.url), plan_repair(grid_on(way.url)), tmp_path)
    before = calls(client, "setrange")
    with losing(way, b"EVAL", b"SETRANGE"):
        run.apply(0)
    assert sum(values_of(client)[key] != good[key] for key in good) == 2
    run.apply(0)
    assert calls(client, "setrange") == before + 1
    with losing(way, b"EVAL", b"SETRANGE"):
        run.end()
    assert values_of(client) == damaged
    ended = run.end()
    assert calls(client, "setrange") == before + 2
    assert (ended.state, ended.left) == (RecoveryState.RESTORED, ())
    assert values_of(client) == damaged


@pytest.fixture
def client_of_shared(valkey_url: str) -> Iterator[valkey.Valkey]:
    with connection(valkey_url) as client:
        yield client


@pytest.mark.parametrize("words", [(b"PEXPIRE",), (b"WATCH",), (b"GET", CLAIM_KEY)])
def test_a_claim_whose_renewals_reply_is_lost_is_still_ours(
    journal: Journal, way: Forwarder, valkey_url: str, tmp_path: Path, words: tuple[bytes, ...]
) -> None:
    """The step that could not be begun for it is begun at the next attempt."""
    run = Run(journal, server_on(way.url), plan_settings(("hz", "10", "20")), tmp_path)
    with connection(valkey_url) as client:
        with losing(way, *words):
            run.apply(0)
        assert setting(client, "hz") == "10"
        run.apply(0)
        assert (setting(client, "hz"), client.get(CLAIM_KEY)) == ("20", run.recovery.claim.content)
        run.end()


def test_a_claim_whose_takings_reply_is_lost_keeps_nobody_out(
    journal: Journal, way: Forwarder, valkey_url: str, tmp_path: Path
) -> None:
    """What was opened is ended, and the next attempt takes the claim's place."""
    plan = plan_settings(("hz", "10", "20"))
    with losing(way, b"SET", CLAIM_KEY), session_on(server_on(way.url)) as session:
        contract.open_recovery(journal, session, plan, this_process(), at=now())
    assert journal.holding() == ()
    with connection(valkey_url) as client:
        lost = client.get(CLAIM_KEY)
        assert lost is not None
        run = Run(journal, server_on(way.url), plan, tmp_path)
        assert client.get(CLAIM_KEY) == run.recovery.claim.content != lost
        assert run.end().state is RecoveryState.RESTORED
        assert client.get(CLAIM_KEY) is None


def test_an_end_whose_release_gets_no_reply_is_an_end(
    journal: Journal, way: Forwarder, valkey_url: str, tmp_path: Path
) -> None:
    """The journal knows it already; whether the claim is gone does not matter to it."""
    run = Run(journal, server_on(way.url), plan_settings(("hz", "10", "20")), tmp_path)
    way.loses_reply_to = lambda request: b"DEL" in request and CLAIM_KEY in request
    ended = run.end()
    assert (ended.state, way.lost, journal.holding()) == (RecoveryState.RESTORED, 1, ())
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) is None
