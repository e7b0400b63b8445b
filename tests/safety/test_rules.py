"""The rules over whatever may be known: who is bound, by which number, and what stays possible."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from medic8.model.policy import (
    UNTOUCHED,
    Day,
    Mandate,
    Member,
    ObserverCheck,
    Origin,
    Pause,
    Policy,
    Request,
    Reservation,
    Ruling,
    Sighting,
    Snapshot,
    Window,
)
from medic8.model.target import Target
from medic8.safety.rules import RULES, fleet_of, refusal_in, rulings
from medic8.safety.windows import is_meant, opened_at
from medic8.targets.references import silent_references

NOW = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
NAMES = tuple(f"t{number}" for number in range(6))
ENDS = ("", "healthy", "restored", "needs_person", UNTOUCHED)
AUTOMATIC = Mandate(origin=Origin.SCHEDULE, treatment="this run")
CHECK = ObserverCheck()


def member(name: str, domain: str = "", **labels: str) -> Member:
    return Member(name=name, labels=labels, domains=(domain or name,))


FLEET = tuple(member(name, f"h{number % 3}") for number, name in enumerate(NAMES))


def reserved(target: str = "t0", ago_s: float = 60, end: str = "healthy", **more: Any) -> Reservation:
    at = NOW - timedelta(seconds=ago_s)
    fields = {
        "recovery": f"{target}-{ago_s}",
        "target": target,
        "domains": next((each.domains for each in FLEET if each.name == target), (target,)),
        "issue": "i",
        "reserved_at": at,
        "ended_at": at + timedelta(seconds=1) if end else None,
        "end": end,
        "mandate": Mandate(origin=Origin.SCHEDULE, treatment="another"),
    }
    return Reservation(**(fields | more))


def asked(mandate: Mandate = AUTOMATIC, target: Member = FLEET[0]) -> Request:
    return Request(target=target, issue="i", mandate=mandate)


def told(
    *found: Reservation, policy: Policy | None = None, request: Request | None = None, **known: Any
) -> dict[str, Ruling]:
    snapshot = Snapshot(now=NOW, fleet=FLEET, reservations=found, **known)
    said = rulings(request or asked(), snapshot, policy or Policy(), CHECK)
    return {each.rule: each for each in said}


reservations = st.lists(
    st.builds(reserved, st.sampled_from(NAMES), st.floats(0, 200_000), st.sampled_from(ENDS)), max_size=8
)
sightings = st.lists(
    st.builds(
        Sighting,
        target=st.sampled_from(NAMES),
        is_ill=st.booleans(),
        since=st.integers(0, 120).map(lambda ago_s: NOW - timedelta(seconds=ago_s)),
    ),
    max_size=6,
    unique_by=lambda each: each.target,
)
snapshots = st.builds(
    Snapshot,
    now=st.just(NOW),
    fleet=st.just(FLEET),
    reservations=reservations.map(tuple),
    sightings=sightings.map(tuple),
)


@given(snapshot=snapshots)
def test_a_person_is_bound_by_a_pause_and_by_nothing_else_of_these(snapshot: Snapshot) -> None:
    """Whoever works by hand at night has no budget; a pause is what another person said."""
    person = asked(Mandate())
    assert refusal_in(rulings(person, snapshot, Policy(), CHECK)) is None
    paused = snapshot.model_copy(update={"pauses": (Pause(reason="r", by="b", since=NOW),)})
    refusal = refusal_in(rulings(person, paused, Policy(), CHECK))
    assert refusal is not None
    assert refusal.rule == "pause"
    over = asked(Mandate(override="the disk is full"))
    assert refusal_in(rulings(over, paused, Policy(), CHECK)) is None


@given(snapshot=snapshots)
def test_what_is_granted_leaves_no_number_above_its_limit(snapshot: Snapshot) -> None:
    """Recounted by hand, with the new recovery among them."""
    policy = Policy(per_domain=1, per_target=2, share_of_fleet=0.5, failures=1, returns=3)
    if refusal_in(rulings(asked(), snapshot, policy, CHECK)) is not None:
        return
    new = reserved("t0", 0, "")
    held = [*(each for each in snapshot.reservations if each.ended_at is None), new]
    domains = Counter(domain for each in held for domain in each.domains if domain in FLEET[0].domains)
    assert max(domains.values()) <= 1
    assert len({each.target for each in held}) <= 3
    mine = [each for each in snapshot.reservations if each.target == "t0" and each.counts]
    hour = [each for each in mine if each.reserved_at > NOW - timedelta(hours=1)]
    assert len(hour) + 1 <= 2
    day = [each for each in mine if each.reserved_at > NOW - timedelta(days=1)]
    assert len(day) + 1 <= 3
    last = max((each for each in day if each.end), key=lambda each: each.reserved_at, default=None)
    assert last is None or last.end == "healthy"


@given(snapshot=snapshots, rule=st.sampled_from(sorted(RULES)))
def test_an_objection_says_why_and_by_which_number(snapshot: Snapshot, rule: str) -> None:
    """A refusal without its numbers is of no use at night; one without an objection says nothing."""
    ruling = RULES[rule](asked(), snapshot, Policy(), CHECK)
    assert bool(ruling.reason) is ruling.is_broken
    assert not ruling.is_broken or ruling.numbers
    assert not ruling.about or ruling.is_broken


@given(snapshot=snapshots, more=reservations)
def test_more_that_is_under_way_never_turns_a_no_into_a_yes(
    snapshot: Snapshot, more: list[Reservation]
) -> None:
    """For the rules that count what is open."""
    fuller = snapshot.model_copy(
        update={
            "reservations": (
                *snapshot.reservations,
                *(each.model_copy(update={"ended_at": None, "end": ""}) for each in more),
            )
        }
    )
    for name in ("domain", "fleet", "budget", "flapping"):
        before = RULES[name](asked(), snapshot, Policy(), CHECK)
        after = RULES[name](asked(), fuller, Policy(), CHECK)
        assert after.refuses or not before.refuses


def test_the_defaults_are_one_in_a_domain_three_an_hour_a_tenth_and_two_failures() -> None:
    """What a site gets that configures nothing."""
    assert not any(each.refuses for each in told().values())
    assert told(reserved("t3", 5, ""))["domain"].refuses
    assert told(reserved("t1", 5, ""))["fleet"].refuses
    assert not told(reserved("t1", 5, ""))["domain"].refuses
    three = [reserved(ago_s=ago) for ago in (10, 1000, 3599)]
    assert told(*three)["budget"].refuses
    assert not told(*three[:2], reserved(ago_s=3601))["budget"].refuses
    failed = [reserved(ago_s=ago, end="restored") for ago in (4000, 5000)]
    assert told(*failed)["failures"].refuses
    assert told(*failed)["failures"].about == "t0 i"
    assert not told(failed[0])["failures"].refuses


def test_a_tenth_of_many_is_what_it_says() -> None:
    """Of 30 targets three at a time; the last digit of a float does not take one away."""
    fleet = tuple(member(f"m{number}") for number in range(30))
    busy = tuple(reserved(f"m{number}", 5, "", domains=(f"m{number}",)) for number in range(3))
    for count, refuses in ((2, False), (3, True)):
        snapshot = Snapshot(now=NOW, fleet=fleet, reservations=busy[:count])
        said = RULES["fleet"](asked(target=member("m9")), snapshot, Policy(), CHECK)
        assert said.refuses is refuses


def test_a_label_has_a_share_of_its_own() -> None:
    """Half of those that have the label's value, whatever the fleet may."""
    fleet = tuple(member(name, tier="web" if name < "t4" else "db") for name in NAMES)
    busy = tuple(reserved(name, 5, "") for name in ("t1", "t2"))
    policy = Policy(share_of_fleet=1.0, share_of_label={"tier": 0.5})
    for target, refuses in ((fleet[0], True), (fleet[5], False)):
        snapshot = Snapshot(now=NOW, fleet=fleet, reservations=busy)
        assert RULES["fleet"](asked(target=target), snapshot, policy, CHECK).refuses is refuses


def test_failures_count_from_the_last_success_and_from_what_a_person_did() -> None:
    """A healthy end in between begins anew; so does a person whose own recovery helped, for flapping too."""
    failed = [reserved(ago_s=ago, end="restored") for ago in (100, 300)]
    assert not told(*failed, reserved(ago_s=200))["failures"].refuses
    policy = Policy(returns=3)
    often = [reserved(ago_s=ago) for ago in (100, 200, 300)]
    assert told(*often, policy=policy)["flapping"].refuses
    by_hand = often[1].model_copy(update={"mandate": Mandate()})
    assert not told(often[0], by_hand, often[2], policy=policy)["flapping"].refuses
    assert not told(*often, policy=policy, request=asked().model_copy(update={"issue": "j"}))[
        "flapping"
    ].refuses


def test_what_was_never_begun_counts_for_nothing() -> None:
    """Such as one that another journal's claim kept out."""
    many = [reserved(ago_s=ago, end=UNTOUCHED) for ago in range(10, 20)]
    assert not any(each.refuses for each in told(*many, policy=Policy(cool_down_s=600)).values())


def test_a_target_cools_down_for_other_runs_only() -> None:
    """One run tries one strategy after the other, and treats one issue after the other."""
    policy = Policy(cool_down_s=300)
    before = reserved(ago_s=100)
    assert told(before, policy=policy)["cool_down"].refuses
    ours = before.model_copy(update={"mandate": AUTOMATIC})
    assert not told(ours, policy=policy)["cool_down"].refuses
    assert not told(reserved(ago_s=302), policy=policy)["cool_down"].refuses


def test_many_that_turn_ill_at_once_put_the_worker_under_suspicion() -> None:
    """More than a fifth and at least three, within a minute; those that have long been ill are no sign."""
    ill = [Sighting(target=name, is_ill=True, since=NOW - timedelta(seconds=30)) for name in NAMES]
    assert told(sightings=tuple(ill[:3]))["observer"].refuses
    assert told(sightings=tuple(ill[:3]))["observer"].about == "worker"
    assert not told(sightings=tuple(ill[:2]))["observer"].refuses
    old = ill[0].model_copy(update={"since": NOW - timedelta(seconds=61)})
    assert not told(sightings=(old, *ill[1:3]))["observer"].refuses
    well = ill[0].model_copy(update={"is_ill": False})
    assert not told(sightings=(well, *ill[1:3]))["observer"].refuses


def test_silent_references_put_the_worker_under_suspicion_when_they_are_the_most() -> None:
    """One of three may be down itself."""
    check = ObserverCheck(references=("a:1", "b:1", "c:1"))
    for silent, refuses in (((), False), (("a:1",), False), (("a:1", "b:1"), True)):
        snapshot = Snapshot(now=NOW, fleet=FLEET, silent=silent)
        assert RULES["observer"](asked(), snapshot, Policy(), check).refuses is refuses


def test_a_reference_that_can_be_no_name_is_silent() -> None:
    """The others are asked all the same, and who is to be healed does not wait for a correction."""
    impossible = ("a..b:80", f"{'x' * 64}:80")
    assert silent_references(ObserverCheck(references=impossible)) == impossible


WEB = member("t0", tier="web")


@pytest.mark.parametrize(
    ("automation", "on", "now", "refuses"),
    [
        ("no", (), "2026-03-03T22:30", True),
        ("no", ("tier=web",), "2026-03-03T22:30", True),
        ("no", ("tier=db", "t1"), "2026-03-03T22:30", False),
        ("no", (), "2026-03-04T00:30", False),
        ("only", ("t0",), "2026-03-03T22:30", False),
        ("only", ("t0",), "2026-03-03T21:59", True),
        ("only", ("t1",), "2026-03-03T21:59", False),
    ],
)
def test_a_window_closes_or_is_the_only_time(
    automation: str, on: tuple[str, ...], now: str, *, refuses: bool
) -> None:
    """For the targets that it is for."""
    window = Window(name="night", on=on, start=time(22), duration_min=120, automation=automation)
    snapshot = Snapshot(now=datetime.fromisoformat(now).replace(tzinfo=UTC), fleet=FLEET)
    said = RULES["window"](asked(target=WEB), snapshot, Policy(window=(window,)), CHECK)
    assert said.refuses is refuses


def window_in(zone: str, start: time, minutes: int, *days: Day) -> Window:
    return Window(name="w", start=start, duration_min=minutes, zone=zone, days=days, automation="no")


@given(
    start=st.times().map(lambda each: each.replace(second=0, microsecond=0)),
    minutes=st.integers(1, 7 * 24 * 60),
    days=st.lists(st.sampled_from(Day), unique=True),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]),
    now=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)).map(lambda each: each.replace(tzinfo=UTC)),  # noqa: DTZ001
)
def test_a_window_is_open_for_exactly_its_time(
    start: time, minutes: int, days: list[Day], zone: str, now: datetime
) -> None:
    """Whoever finds it open finds the beginning within its time, and it closed when that is over."""
    window = window_in(zone, start, minutes, *days)
    opened = opened_at(window, now)
    if opened is None:
        return
    assert opened <= now < opened + timedelta(minutes=minutes)
    assert opened_at(window, opened) == opened
    assert opened_at(window, opened - timedelta(seconds=1)) != opened


def test_a_window_of_two_hours_lasts_two_hours_when_clocks_are_changed() -> None:
    """In Berlin on 29 March 2026 at 2 it is 3; on 25 October 2026 at 3 it is 2 again."""
    window = window_in("Europe/Berlin", time(1), 120, Day.SUN)
    for day, opened in (("2026-03-29", "2026-03-29T00:00"), ("2026-10-25", "2026-10-24T23:00")):
        began = datetime.fromisoformat(opened).replace(tzinfo=UTC)
        assert opened_at(window, began) == began, day
        assert opened_at(window, began + timedelta(minutes=119)) == began
        assert opened_at(window, began + timedelta(minutes=120)) is None


def test_only_a_person_overrides_and_a_label_is_meant_by_its_value() -> None:
    """A timer with a reason would override every pause for ever."""
    with pytest.raises(ValidationError, match="only a person"):
        Mandate(origin=Origin.ALERT, override="why not")
    assert is_meant("tier=web", "t0", {"tier": "web"})
    assert not is_meant("tier=web", "t0", {"tier": "db"})
    assert not is_meant("tier=web", "tier", {})
    assert is_meant("", "t0", {})


def test_what_stands_on_one_host_is_one_failure_domain() -> None:
    """Through whatever stands in between; and so is what shares the label of one."""
    rack = {"failure-domain": "rack-7"}
    targets = (
        Target(name="host", kind="host", url="host:local"),
        Target(name="server", kind="valkey", url="valkey://h", runs_on="host", labels=rack),
        Target(name="grid", kind="grid", url="valkey://h", runs_on="server"),
        Target(name="alone", kind="valkey", url="valkey://i", labels=rack),
    )
    assert {each.name: each.domains for each in fleet_of(targets, Policy())} == {
        "host": ("host",),
        "server": ("host", "failure-domain=rack-7"),
        "grid": ("host",),
        "alone": ("alone", "failure-domain=rack-7"),
    }


DOCUMENT = Path(__file__).parents[2] / "docs" / "admission.md"


def test_the_document_lists_every_rule_and_every_default() -> None:
    """In the order in which they are asked; who reads it at night must not be told another number."""
    rows = re.findall(r"^\| `(\w+)` \| .* \|(.*)\|$", DOCUMENT.read_text(), re.MULTILINE)
    assert [rule for rule, _ in rows] == list(RULES)
    told = {
        name: value
        for _, fields in rows
        for field in re.findall(r"`(\w+ = [^`]+)`", fields)
        for name, value in tomllib.loads(field).items()
    }
    defaults = Policy().model_dump(mode="json") | ObserverCheck().model_dump(mode="json")
    assert told == defaults
