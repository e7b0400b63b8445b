"""A server that a script keeps busy: what a session there does, and what it refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import valkey
from looking_at import AROUND, a_target, found, look

from medic8.errors import ChangedError, RefusedError, TransientError
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.recovery import Claim, Fence, Recovery
from medic8.owner import boot_id, this_process
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey.actions import ServerSession, open_session
from medic8.targets.valkey.busy import BusyServerSession
from tests.holding_up import ENDLESS, LIBRARY, end_script, is_busy, wait_until_busy
from tests.raw_clients import RawClient

CLAIM = Claim(journal="journal", recovery="recovery", fence=Fence(number=1, nonce="0" * 32))


def kill(kind: str = "script", name: str = "") -> Step:
    return Step(
        title="end it",
        action="kill_script",
        arguments={"kind": kind, "name": name},
        touches="script",
        step_class=StepClass.ONE_WAY,
    )


def a_plan(*steps: Step) -> Plan:
    unit = Unit(title="unit", steps=steps)
    return Plan(target="server", strategy="s", issue_fingerprint="f", summary="s", units=(unit,))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScratchValkey]:
    """Get a server that says soon that it is busy, and is killed at the end, since it may not stop."""
    with scratch_valkey(tmp_path, config={"busy-reply-threshold": "10"}) as started:
        yield started
        started.kill()


@pytest.fixture
def client(server: ScratchValkey) -> Iterator[valkey.Valkey]:
    """Get a client that is none of Medic8's."""
    with valkey.Valkey.from_url(server.url) as plain:
        plain.function_load(LIBRARY)
        yield plain


@pytest.fixture
def be_busy(client: valkey.Valkey) -> Iterator[Callable[..., None]]:
    """Get a function that has somebody call a script, or what else it is given, that never ends."""
    with ExitStack() as callers:

        def call(url: str, *called: bytes, written: bool = False) -> None:
            caller = callers.enter_context(RawClient(url))
            caller.send(*(called or (b"EVAL", ENDLESS)), b"1", b"key", b"1" if written else b"0")
            wait_until_busy(client)

        yield call


def recovery_by(session: ServerSession | BusyServerSession) -> Recovery:
    return Recovery(
        id="recovery",
        plan=a_plan(kill()),
        resources=session.resources(),
        claim=CLAIM,
        owner=this_process(),
        stands_on=session.stands_on(),
        opened_at=datetime.now(UTC),
        opened_boot=boot_id(),
        opened_boot_s=time.clock_gettime(time.CLOCK_BOOTTIME),
    )


@pytest.mark.parametrize("database", ["", "/0", "/3"])
def test_a_script_is_ended_whatever_database_the_address_names(
    server: ScratchValkey, client: valkey.Valkey, be_busy: Callable[..., None], database: str
) -> None:
    """A busy server refuses to select one."""
    url = server.url.removesuffix("/0") + database
    be_busy(url)
    with open_session(a_target(url), AROUND) as session:
        assert isinstance(session, BusyServerSession)
        session.take_claim(CLAIM, lasts_s=60)
        present = session.capture(kill())
        assert (present, session.prepare(kill())) == (b"script", None)
        session.swap(kill(), expected=present, new=None, claim=CLAIM)
        session.verify(Unit(title="unit", steps=(kill(),)))
        assert session.took_effect(kill(), "recovery") is True
        session.release_claim(CLAIM)
    assert not is_busy(client)


def test_a_recovery_goes_on_through_an_ordinary_session_when_the_script_is_over(
    server: ScratchValkey, client: valkey.Valkey, be_busy: Callable[..., None]
) -> None:
    """Whoever ended it; but not on a process that began to run since."""
    be_busy(server.url)
    with open_session(a_target(server.url), AROUND) as session:
        granted = recovery_by(session)
        assert session.still_holds(granted) is Holds.YES
    end_script(client)
    around = Surroundings(backups=AROUND.backups, now=datetime.now(UTC))
    with open_session(a_target(server.url), around) as session:
        assert isinstance(session, ServerSession)
        assert session.still_stands(granted)
        assert session.still_holds(granted) is Holds.YES
        with pytest.raises(ChangedError, match="over already"):
            session.prepare(kill())
        older = granted.model_copy(update={"opened_boot_s": granted.opened_boot_s - 1000})
        assert not session.still_stands(older)
        assert session.still_holds(older) is Holds.NOTHING


def test_every_other_recovery_is_told_to_call_again(
    server: ScratchValkey, be_busy: Callable[..., None]
) -> None:
    """It stays open, and nobody is asked because of a script; and no other plan begins."""
    with open_session(a_target(server.url), AROUND) as session:
        granted = recovery_by(session)
    be_busy(server.url)
    setting = Step(title="set", action="set_setting", arguments={}, touches="setting hz")
    with open_session(a_target(server.url), AROUND) as session:
        for act in (session.still_stands, session.still_holds):
            with pytest.raises(TransientError, match="call again when it is over"):
                act(granted)
        with pytest.raises(RefusedError, match="BUSY"):
            session.tags_of(a_plan(setting))
        with pytest.raises(RefusedError, match="BUSY"):
            session.capture(setting)


def test_only_the_function_that_was_meant_is_ended(
    server: ScratchValkey, be_busy: Callable[..., None]
) -> None:
    """By its name; and a script that has written is not, whoever agreed to it."""
    be_busy(server.url, b"FCALL", b"endless")
    assert found(look(server.url, "reachability"), "server.busy").objects == (
        {"kind": "function", "name": "endless"},
    )
    with open_session(a_target(server.url), AROUND) as session:
        assert session.capture(kill()) == b"function endless"
        for other in (kill(), kill("function", "another")):
            with pytest.raises(ChangedError, match="endless runs by now"):
                session.prepare(other)
        step = kill("function", "endless")
        session.swap(step, expected=b"function endless", new=None, claim=CLAIM)
        session.verify(Unit(title="unit", steps=(step,)))
    be_busy(server.url, written=True)
    with open_session(a_target(server.url), AROUND) as session:
        with pytest.raises(RefusedError, match="has written already"):
            session.swap(kill(), expected=b"script", new=None, claim=CLAIM)
        assert session.took_effect(kill(), "recovery") is False
