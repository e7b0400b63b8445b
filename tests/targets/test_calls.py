"""Calls are repeated seldom, and whoever does not answer is left alone for a while."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.targets.calls import CALL_POLICY, CALLS, Breaker, BreakerState, CallPolicy, Calls, pause_s
from medic8.targets.endpoint.haproxy import MAINT, READY, Haproxy
from medic8.targets.process.keepers.supervisord import Supervisord
from medic8.targets.process.naming import Supervised

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Time:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, pause: float) -> None:
        self.slept.append(pause)
        self.now_s += pause


def calls(clock: Time, policy: CallPolicy = CALL_POLICY, chance: float = 1.0) -> Calls:
    return Calls(policy, clock=lambda: clock.now_s, now=lambda: AT, sleep=clock.sleep, chance=lambda: chance)


def failing(times: int, error: type[Exception] = UnreachableError) -> Callable[[], str]:
    """Fails so often, and then answers."""
    made = iter(range(1 << 30))

    def act() -> str:
        if next(made) < times:
            raise error("no")
        return "yes"

    return act


def test_a_call_that_fails_for_a_moment_is_repeated_after_pauses_that_grow() -> None:
    """The longest of them at a chance of one; twice and no more."""
    clock = Time()
    made = calls(clock)
    assert made.read("a", failing(2), within_s=5) == "yes"
    assert clock.slept == [0.1, 0.2]
    with pytest.raises(TransientError):
        made.read("b", failing(3, TransientError), within_s=5)
    assert made.state("b") is BreakerState.CLOSED


def test_an_answer_that_refuses_is_an_answer() -> None:
    """It is not repeated, and whoever gives it is well."""
    clock = Time()
    made = calls(clock)
    for _ in range(20):
        with pytest.raises(RefusedError):
            made.read("a", failing(1, RefusedError), within_s=5)
    assert clock.slept == []
    assert made.state("a") is BreakerState.CLOSED


@given(retry=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_a_pause_is_anything_from_nothing_to_a_limit_that_doubles(retry: int, chance: float) -> None:
    """Full jitter; the limit is bounded as well."""
    limit = min(CALL_POLICY.longest_pause_s, CALL_POLICY.first_pause_s * 2 ** min(retry, 60))
    assert pause_s(retry, lambda: chance) == pytest.approx(chance * limit)


@given(fails=st.lists(st.booleans(), max_size=300))
def test_retries_are_a_share_of_the_calls(fails: list[bool]) -> None:
    """However calls fail, there are no more than a tenth of them, and the few that may be made at once."""
    clock = Time()
    made = calls(clock, CallPolicy(opens_after=1 << 20))
    for number, fails_now in enumerate(fails):
        try:
            made.read(str(number % 7), failing(3 if fails_now else 0), within_s=1e9)
        except UnreachableError:
            assert fails_now
    assert len(clock.slept) <= CALL_POLICY.spare + CALL_POLICY.share * len(fails) + 1e-6


def test_who_is_silent_is_not_waited_for_again_and_again() -> None:
    """A call that took all of its time is not repeated."""
    clock = Time()

    def silent() -> str:
        clock.now_s += 5
        raise UnreachableError("time-out")

    with pytest.raises(UnreachableError, match="time-out"):
        calls(clock).read("a", silent, within_s=5)
    assert clock.slept == []


def test_a_breaker_opens_tries_and_closes() -> None:
    """Five in a row that fail; then nobody asks, then one does, and its answer decides for all."""
    clock = Time()
    made = calls(clock)
    asked = []

    def fails() -> str:
        asked.append(clock.now_s)
        raise UnreachableError("no")

    for _ in range(2):
        with pytest.raises(UnreachableError, match=r"^no$"):
            made.read("a", fails, within_s=5)
    assert len(asked) == 5  # the fifth opened it, so that no sixth was made
    assert made.state("a") is BreakerState.OPEN
    with pytest.raises(UnreachableError, match="a was not asked: its breaker is open since 2026-01-02 03:04"):
        made.read("a", fails, within_s=5)
    assert made.read("b", failing(0), within_s=5) == "yes"  # of another address nothing is known
    assert len(asked) == 5
    clock.now_s += CALL_POLICY.open_s
    assert made.state("a") is BreakerState.HALF_OPEN
    with pytest.raises(UnreachableError, match=r"^no$"):
        made.read("a", fails, within_s=5)
    assert (len(asked), made.state("a")) == (6, BreakerState.OPEN)
    clock.now_s += CALL_POLICY.open_s
    assert made.read("a", failing(0), within_s=5) == "yes"
    assert made.state("a") is BreakerState.CLOSED


def test_of_many_who_wait_one_tries() -> None:
    """Another call in the same moment is turned away; one whose end says nothing lets the next one try."""
    policy, breaker = CallPolicy(opens_after=1), Breaker()
    breaker.ended(well=False, now_s=0, now=AT, policy=policy)
    later_s = policy.open_s
    assert [breaker.lets_through(later_s, policy) for _ in range(3)] == [True, False, False]
    breaker.ended(well=None, now_s=later_s, now=AT, policy=policy)
    assert breaker.lets_through(later_s, policy)


def test_what_changes_something_is_called_once_and_also_if_the_breaker_is_open() -> None:
    """Who is about to undo is not kept from it, and nothing is done twice for want of an answer."""
    clock = Time()
    made = calls(clock, CallPolicy(opens_after=1))
    asked = []

    def fails() -> str:
        asked.append(1)
        raise TransientError("no answer")

    for _ in range(2):
        with pytest.raises(TransientError, match="no answer"):
            made.change("a", fails)
    assert (len(asked), clock.slept, made.state("a")) == (2, [], BreakerState.OPEN)


def test_only_so_many_addresses_are_remembered() -> None:
    """The one that was not called for longest is forgotten, and asked as any other."""
    made = calls(Time(), CallPolicy(opens_after=1, most_addresses=2))
    for address in "abc":
        with pytest.raises(UnreachableError):
            made.read(address, failing(3), within_s=5)
    assert [made.state(address) for address in "abc"] == [
        BreakerState.CLOSED,
        BreakerState.OPEN,
        BreakerState.OPEN,
    ]


_STATES = b"1\n# be_id be_name srv_id srv_name srv_admin_state\n1 api 1 first 0\n"


@pytest.fixture
def unsteady(tmp_path: Path) -> Iterator[tuple[Path, list[bytes]]]:
    """Get a socket that hangs up on every other call and on each change, and what it was sent."""
    path, heard = tmp_path / "s", list[bytes]()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def serve() -> None:
        for number in itertools.count():
            near, _ = listener.accept()
            with near:
                said = near.recv(1 << 16, socket.MSG_PEEK)
                heard.append(said)
                if said == b"end":
                    return
                # Else it is closed with something unread, which the other side sees as a reset.
                if number % 2 and said.startswith(b"show"):
                    near.recv(1 << 16)
                    near.sendall(_STATES)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path, heard
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(str(path))
        talk.sendall(b"end")
    thread.join(20)
    listener.close()


def test_haproxy_is_asked_again_and_told_once(unsteady: tuple[Path, list[bytes]]) -> None:
    """A question that got no answer is repeated; whether an order has arrived nobody knows."""
    path, heard = unsteady
    for _ in range(50):  # whatever was called here before, there is something left for a retry
        CALLS.read("somebody who is well", lambda: None, within_s=1)
    haproxy = Haproxy(path, timeout_s=5)
    assert haproxy.state("api", "first") == READY
    assert len(heard) == 2
    with pytest.raises(TransientError, match="reset"):
        haproxy.set_state("api", "first", expected=READY, new=MAINT)
    assert [said for said in heard if said.startswith(b"set")] == [b"set server api/first state maint\n"]


def test_a_supervisord_that_is_gone_is_left_alone_after_a_while_and_the_finding_says_so(
    tmp_path: Path,
) -> None:
    """A real one of nobody's: each look asks three times, and the third look does not ask at all."""
    keeper = Supervisord(Supervised("web", socket=str(tmp_path / "gone")), timeout_s=5)
    said = []
    for _ in range(6):
        with pytest.raises(UnreachableError) as caught:
            keeper.look()
        said.append(str(caught.value))
    assert said[0].endswith("gone does not answer: No such file or directory")
    assert "was not asked: its breaker is open since" in said[-1]
    with pytest.raises(UnreachableError, match="does not answer"):
        keeper.start({})  # whoever changes something is never kept from it
