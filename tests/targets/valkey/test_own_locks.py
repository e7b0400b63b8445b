"""Locks of an application's own making: left over, held in a circle, or in order."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import valkey

from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.growth import look_at_growth
from medic8.targets.valkey.looks.lock_signs import Caller, Held, Seen, Tried, judge_locks, tried
from tests.meanwhile import meanwhile
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, report_of

WATCH = Surroundings(backups=AROUND.backups, now=NOW, watch_s=3.0)

_WAITS = Caller("shop-worker-2", "10.0.0.2:5", ("set",) * 8, 60)
_WORKS = Caller("shop-worker-1", "10.0.0.1:5", ("hset", "get") * 4, 60)


def test_a_lock_whose_holder_is_gone_is_found_and_one_that_is_renewed_is_not(valkey_url: str) -> None:
    """Both are tried in vain all the while; a switch that all programs read is beside them."""
    with ExitStack() as held:

        def connect(name: str) -> valkey.Valkey:
            return held.enter_context(valkey.Valkey.from_url(valkey_url, client_name=name))

        plain, leader, gone, *waiting = map(connect, ("web", "node-1", "cron-7", "cron-8", "cron-9"))
        plain.set("switch:new-basket", "enabled-for-all")
        leader.set("leader", "node-1", px=10_000)
        gone.set("nightly", "cron-7", nx=True)
        gone.close()

        def work() -> None:
            plain.get("switch:new-basket")
            leader.set("leader", "node-1", px=10_000)
            plain.set("leader", "web", px=10_000, nx=True)
            for each in waiting:
                each.set("nightly", "mine", nx=True)
                each.zadd("scores", {f"player-{number}": number for number in range(40)})

        with meanwhile(work, every_s=0.05):
            report = report_of(look_at_growth(a_target(valkey_url), WATCH))
        (issue,) = report.issues
        assert (issue.about, issue.signs) == ("lock nightly", ("locks.stale",))


def test_two_who_hold_what_the_other_one_wants_are_found(valkey_url: str) -> None:
    """Their locks expire and are renewed, so that time does not end it."""
    with ExitStack() as held:
        names = ("billing", "orders")
        one, other = (
            held.enter_context(valkey.Valkey.from_url(valkey_url, client_name=each)) for each in names
        )
        one.set("customer:9", "billing:a1", px=9000)
        other.set("invoice:4", "orders:b2", px=9000)

        def work() -> None:
            one.pexpire("customer:9", 9000)
            other.pexpire("invoice:4", 9000)
            one.set("invoice:4", "billing:a1", nx=True)
            other.set("customer:9", "orders:b2", nx=True)

        with meanwhile(work, every_s=0.05):
            report = report_of(look_at_growth(a_target(valkey_url), WATCH))
        (issue,) = report.issues
        assert issue.signs == ("locks.deadlock",)
        assert "customer:9" in issue.about
        assert "invoice:4" in issue.about


def test_a_ring_that_is_kept_alive_is_found_and_leaders_with_deputies_are_not(
    valkey_url: str,
) -> None:
    """Who renews and tries in turn is met at its renewals, as a leader is whose deputies try."""
    with ExitStack() as held:

        def connect(name: str) -> valkey.Valkey:
            return held.enter_context(valkey.Valkey.from_url(valkey_url, client_name=name))

        one, other, deputy = map(connect, ("billing-1", "orders-2", "deputy-3"))
        is_deputy = True

        def work() -> None:
            for each, name in ((one, "billing-1"), (other, "orders-2")):
                wanted = "orders-2" if name == "billing-1" else "billing-1"
                if is_deputy:
                    deputy.set(f"lock:{name}", "deputy-3", px=9000, nx=True)
                else:
                    each.set(f"lock:{wanted}", name, px=9000, nx=True)
                each.pexpire(f"lock:{name}", 9000)

        for each, name in ((one, "billing-1"), (other, "orders-2")):
            each.set(f"lock:{name}", name, px=9000)
        with meanwhile(work, every_s=0.05):
            led = report_of(look_at_growth(a_target(valkey_url), WATCH))
            is_deputy = False
            ring = report_of(look_at_growth(a_target(valkey_url), WATCH))
        assert led.issues == ()
        (issue,) = ring.issues
        assert issue.signs == ("locks.deadlock",)


def test_a_lock_whose_release_others_wait_to_be_told_of_is_found_when_its_holder_is_gone(
    valkey_url: str,
) -> None:
    """A hash of one field, and a channel of its name; one whose holder is connected is beside it."""
    with ExitStack() as held:

        def connect(name: str) -> valkey.Valkey:
            return held.enter_context(valkey.Valkey.from_url(valkey_url, client_name=name))

        plain, lives = connect("web"), connect("a7f3-lives")
        plain.hset("lock:nightly", "c9d1-gone:thread-4", 1)
        plain.hset("lock:hourly", "a7f3-lives:thread-2", 1)
        plain.hset("room:7", "title", "kitchen")
        lives.ping()
        for name in ("lock:nightly", "lock:hourly", "room:7"):
            channel = held.enter_context(connect("waits").pubsub())
            channel.subscribe(f"lock_channel:{{{name}}}")
            assert channel.get_message(timeout=5)
        report = report_of(look_at_growth(a_target(valkey_url), WATCH))
    (issue,) = report.issues
    assert (issue.about, issue.signs) == ("lock lock:nightly", ("locks.stale",))


def test_holders_that_are_blocked_for_ever_are_a_deadlock_and_who_waits_for_work_is_not(
    valkey_url: str,
) -> None:
    """Each lock is a list of one token; a worker that waits for jobs may hold one lock all the while."""
    with ExitStack() as held:

        def blocked(name: str, key: str) -> None:
            each = valkey.Valkey.from_url(valkey_url, client_name=name, socket_timeout=None)
            thread = threading.Thread(target=lambda: each.blpop([key], timeout=0))
            thread.start()
            held.callback(thread.join, 30)
            held.callback(plain.rpush, key, "free")

        plain = held.enter_context(valkey.Valkey.from_url(valkey_url, client_name="web"))
        held.callback(plain.close)
        plain.set("jobs:lock:owner", "worker-1")
        blocked("worker-1", "jobs")
        blocked("worker-2", "jobs")
        waiting = report_of(look_at_growth(a_target(valkey_url), WATCH))
        for number in (0, 1):
            plain.set(f"lock:{number}:owner", f"ring-{number}")
            blocked(f"ring-{number}", f"lock:{1 - number}:token")
        ring = report_of(look_at_growth(a_target(valkey_url), WATCH))
    assert waiting.issues == ()
    (issue,) = ring.issues
    assert issue.signs == ("locks.deadlock",)
    assert "lock:0:owner" in issue.about


def _judged(*held: Held, callers: tuple[Caller, ...] = (_WORKS, _WAITS), in_vain: int = 50) -> list[str]:
    return [each.code for each in judge_locks(Seen(Tried(in_vain), 4.0, held, callers))]


def test_what_is_held_in_order_is_no_finding() -> None:
    """By who is connected and works, for as long as it says itself, or as a switch and no lock."""
    left = Held(b"lock:stock", "shop-worker-7", -1, -1)
    assert _judged(left) == ["locks.stale"]
    assert _judged(left._replace(value="shop-worker-1")) == [], "it is connected, and works"
    assert _judged(left, in_vain=0) == [], "nobody tries"
    ends = left._replace(name=b"nightly", value="shop", first_ms=9000, last_ms=5000)
    assert _judged(ends) == ["locks.stale"], "it is called as the others are, and ends by itself some day"
    assert _judged(ends._replace(value="sho")) == []
    renewed = left._replace(first_ms=8000, last_ms=9000)
    assert _judged(renewed) == [], "somebody renews it"
    assert _judged(left._replace(name=b"greeting", value="good day to all")) == []
    assert _judged(left._replace(name=b"blocklist:mode", value="1")) == []
    beats = Caller("beat-1", "10.0.0.3:5", ("set",) * 8, 60)
    two = [Held(f"alive:{each.name}".encode(), each.name, 9000, 9000) for each in (beats, _WAITS)]
    assert _judged(*two, callers=(beats, _WAITS), in_vain=0) == [], "who says that it lives tries nothing"
    assert _judged(*two, callers=(beats, _WAITS)) == ["locks.deadlock"]


def test_a_set_that_changes_nothing_is_counted_and_what_others_change_hides_it() -> None:
    """Of two counts, each of one moment."""

    def counted(sets: int, adds: int, changes: int, saves: int = 0) -> Facts:
        return Facts(
            {
                "cmdstat_set": f"calls={sets},failed_calls=0",
                "cmdstat_hset": f"calls={adds},failed_calls=0",
                "rdb_changes_since_last_save": str(changes),
                "rdb_saves": str(saves),
            }
        )

    assert tried([counted(0, 0, 0), counted(10, 0, 10)]) == Tried()
    assert tried([counted(0, 0, 0), counted(10, 0, 3)]) == Tried(7)
    assert tried([counted(0, 0, 0), counted(10, 5, 8)]) == Tried(7)
    assert tried([counted(0, 0, 0), counted(10, 0, 500)]) == Tried(0, 10)
    assert tried([counted(0, 0, 90), counted(10, 0, 0, saves=1)]) == Tried()
