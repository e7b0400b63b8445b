"""
The rules that decide whether a recovery may be begun now, each a pure function of what is known.

`RULES` lists them in the order in which they are asked; the first that refuses is the answer. What a plan
itself must be (mode, allow-list, approval) is decided before, in `medic8.safety.admission`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from medic8.model.issue import Evidence
from medic8.model.policy import (
    Member,
    ObserverCheck,
    Pause,
    Policy,
    Refusal,
    Request,
    Reservation,
    Ruling,
    Snapshot,
)
from medic8.model.recovery import RecoveryState
from medic8.model.target import Target
from medic8.model.wording import counted, moment
from medic8.safety.windows import is_meant, opened_at

_FAILED = frozenset({RecoveryState.RESTORED.value, RecoveryState.NEEDS_PERSON.value})

Rule = Callable[[Request, Snapshot, Policy, ObserverCheck], Ruling]


def rulings(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> tuple[Ruling, ...]:
    """What every rule says to *request*, in the order of `RULES`."""
    return tuple(rule(request, snapshot, policy, check) for rule in RULES.values())


def refusal_in(said: Iterable[Ruling]) -> Refusal | None:
    """The first objection that counts; None if *said* has none."""
    found = next((each for each in said if each.refuses), None)
    if found is None:
        return None
    return Refusal(rule=found.rule, reason=found.reason, numbers=found.numbers, about=found.about)


def member_of(target: Target, targets: Mapping[str, Target], policy: Policy) -> Member:
    """
    *target* with its failure domains: what it stands on at last, and the labels that name one.

    A target that runs on nothing is a domain by itself, which those that run on it share.
    """
    ground = target
    while ground.runs_on is not None and ground.runs_on in targets:
        ground = targets[ground.runs_on]
    labelled = [f"{label}={target.labels[label]}" for label in policy.domain_labels if label in target.labels]
    return Member(name=target.name, labels=target.labels, domains=(ground.name, *labelled))


def fleet_of(targets: Iterable[Target], policy: Policy) -> tuple[Member, ...]:
    """All *targets* as rules about many of them see them."""
    by_name = {target.name: target for target in targets}
    return tuple(member_of(target, by_name, policy) for target in by_name.values())


def pause(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """Nothing is begun while a person has said so."""
    del policy, check
    return said_by_pause(request, snapshot.pauses)


def said_by_pause(request: Request, pauses: Iterable[Pause]) -> Ruling:
    """What the rule ``pause`` says, by itself: it is asked before every unit again."""
    target = request.target
    found = next((each for each in pauses if is_meant(each.on, target.name, target.labels)), None)
    if found is None:
        return Ruling(rule="pause")
    return Ruling(
        rule="pause",
        is_broken=True,
        binds=not request.mandate.override,
        numbers=(
            Evidence(what="paused", seen=found.on or "everything"),
            Evidence(what="since", seen=moment(found.since)),
            Evidence(what="until", seen="somebody resumes" if found.until is None else moment(found.until)),
        ),
        reason=in_words(found),
    )


def in_words(found: Pause) -> str:
    """A pause as a person is told of it, with how to end it."""
    until = "" if found.until is None else f" until {moment(found.until)}"
    how = f"medic8 resume {found.on}".rstrip() if found.id else "unset the Prefect variable medic8_paused"
    return (
        f"{found.on or 'everything'} is paused since {moment(found.since)}{until} by {found.by}: "
        f"{found.reason}; to go on: {how}"
    )


def window(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """Nothing is begun automatically while a window forbids it, or outside of all that alone allow it."""
    del check
    target, binds = request.target, request.mandate.origin.is_automatic
    mine = [
        each
        for each in policy.window
        if not each.on or any(is_meant(on, target.name, target.labels) for on in each.on)
    ]
    closing = [each for each in mine if each.automation == "no" and opened_at(each, snapshot.now)]
    if closing:
        opened = opened_at(closing[0], snapshot.now) or snapshot.now
        ends = opened + timedelta(minutes=closing[0].duration_min)
        seen = Evidence(what="now", seen=moment(snapshot.now), limit=f"none until {moment(ends)}")
        reason = (
            f"window {closing[0].name!r} is open until {moment(ends)}: nothing is begun automatically "
            f"on {target.name} in it"
        )
        return Ruling(rule="window", is_broken=True, binds=binds, numbers=(seen,), reason=reason)
    only = [each for each in mine if each.automation == "only"]
    names = ", ".join(repr(each.name) for each in only)
    seen = Evidence(what="now", seen=moment(snapshot.now), limit=f"only in {names}" if only else "")
    if only and not any(opened_at(each, snapshot.now) for each in only):
        reason = (
            f"no window of {names} is open: only in them is anything begun automatically on {target.name}"
        )
        return Ruling(rule="window", is_broken=True, binds=binds, numbers=(seen,), reason=reason)
    return Ruling(rule="window", binds=binds, numbers=(seen,))


def observer(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """Who sees many targets turn ill at once, or what it always reaches be silent, is itself suspected."""
    del policy
    binds = request.mandate.origin.is_automatic
    most = max(_part(check.share, len(snapshot.fleet)), check.at_least - 1)
    since = snapshot.now - timedelta(seconds=check.within_s)
    names = {each.name for each in snapshot.fleet}
    ill = sorted(
        each.target
        for each in snapshot.sightings
        if each.is_ill and each.since > since and each.target in names
    )
    numbers = (
        Evidence(
            what=f"targets that turned ill within {check.within_s} s",
            seen=f"{len(ill)} of {len(snapshot.fleet)}",
            limit=f"{most}" if check.at_least else "no limit",
        ),
        Evidence(
            what="references that are silent",
            seen=f"{len(snapshot.silent)} of {len(check.references)}",
            limit=f"{len(check.references) // 2}",
        ),
    )
    reason = ""
    if 2 * len(snapshot.silent) > len(check.references):
        reason = (
            f"{len(snapshot.silent)} of {counted(len(check.references), 'reference')} of this worker did "
            f"not answer ({', '.join(snapshot.silent)}): it may be the one that is cut off"
        )
    elif check.at_least and len(ill) > most:
        reason = (
            f"{len(ill)} of {len(snapshot.fleet)} targets turned ill within {check.within_s} s "
            f"({', '.join(ill[:_MOST_NAMED])}{' and more' if len(ill) > _MOST_NAMED else ''}), more than "
            f"{most}: it may be the worker that is ill, so that nothing is done on any of them"
        )
    return Ruling(
        rule="observer",
        is_broken=bool(reason),
        binds=binds,
        numbers=numbers,
        reason=reason,
        about="worker" if reason else "",
    )


def domain(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """In one failure domain only so many recoveries are under way at a time."""
    del check
    binds = request.mandate.origin.is_automatic
    fullest, there = "", list[Reservation]()
    for name in request.target.domains:
        found = [each for each in _under_way(snapshot) if name in each.domains]
        if not fullest or len(found) > len(there):
            fullest, there = name, found
    seen = Evidence(
        what=f"recoveries under way in {fullest or 'no failure domain'}",
        seen=str(len(there)),
        limit=str(policy.per_domain or "no limit"),
    )
    if not policy.per_domain or len(there) < policy.per_domain:
        return Ruling(rule="domain", binds=binds, numbers=(seen,))
    reason = (
        f"{_recoveries(len(there))} under way in failure domain {fullest} "
        f"({_named(there)}), of {policy.per_domain} at a time"
    )
    return Ruling(rule="domain", is_broken=True, binds=binds, numbers=(seen,), reason=reason)


def fleet(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """Only a part of all targets, and of those that share a label, is recovered at a time."""
    del check
    binds = request.mandate.origin.is_automatic
    touched = {each.target for each in _under_way(snapshot)} - {request.target.name}
    groups = [("all targets", policy.share_of_fleet, [each.name for each in snapshot.fleet])]
    groups += [
        (
            f"targets with {label}={value}",
            share,
            [each.name for each in snapshot.fleet if each.labels.get(label) == value],
        )
        for label, share in policy.share_of_label.items()
        if (value := request.target.labels.get(label)) is not None
    ]
    numbers, reason = list[Evidence](), ""
    for what, share, names in groups:
        # A target of another configuration with this journal counts in the fleet; its labels are not known.
        there = touched & set(names) if numbers else touched
        most = max(1, _part(share, len(names)))
        numbers.append(Evidence(what=f"of {what} recovered at a time", seen=str(len(there)), limit=str(most)))
        if len(there) >= most and not reason:
            reason = (
                f"{len(there)} of {len(names)} {what} recovered now ({', '.join(sorted(there))}), of {most} "
                f"at a time ({share:.0%}, at least 1)"
            )
    return Ruling(rule="fleet", is_broken=bool(reason), binds=binds, numbers=tuple(numbers), reason=reason)


def budget(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """On one target only so many recoveries are begun in a time."""
    del check
    binds = request.mandate.origin.is_automatic
    begun = _since(_on_target(request, snapshot), snapshot.now, policy.per_target_s)
    seen = Evidence(
        what=f"recoveries on {request.target.name} within {policy.per_target_s} s",
        seen=str(len(begun)),
        limit=str(policy.per_target or "no limit"),
    )
    if not policy.per_target or len(begun) < policy.per_target:
        return Ruling(rule="budget", binds=binds, numbers=(seen,))
    free = sorted(each.reserved_at for each in begun)[-policy.per_target]
    reason = (
        f"{_recoveries(len(begun))} begun on {request.target.name} within "
        f"{policy.per_target_s} s, of {policy.per_target}; the next at "
        f"{moment(free + timedelta(seconds=policy.per_target_s))}"
    )
    return Ruling(rule="budget", is_broken=True, binds=binds, numbers=(seen,), reason=reason)


def cool_down(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """After a recovery, a target is left alone by other runs for a time."""
    del check
    binds = request.mandate.origin.is_automatic
    treatment = request.mandate.treatment
    ended = [
        each.ended_at
        for each in _on_target(request, snapshot)
        if each.ended_at is not None and not (treatment and each.mandate.treatment == treatment)
    ]
    last = max(ended, default=None)
    passed_s = math.inf if last is None else (snapshot.now - last).total_seconds()
    seen = Evidence(
        what=f"since the last recovery on {request.target.name} ended",
        seen="none" if last is None else f"{passed_s:.0f} s",
        limit=f"{policy.cool_down_s} s",
    )
    if last is None or passed_s >= policy.cool_down_s:
        return Ruling(rule="cool_down", binds=binds, numbers=(seen,))
    reason = (
        f"the last recovery on {request.target.name} ended {passed_s:.0f} s ago, and it is left alone for "
        f"{policy.cool_down_s} s, until {moment(last + timedelta(seconds=policy.cool_down_s))}"
    )
    return Ruling(rule="cool_down", is_broken=True, binds=binds, numbers=(seen,), reason=reason)


def failures(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """What failed again and again on one issue is not tried once more."""
    del check
    failed = 0
    for each in _of_issue(request, snapshot, policy):
        failed = failed + 1 if each.end in _FAILED else 0 if each.ended_at is not None else failed
    seen = Evidence(
        what="failed recoveries of this issue, one after the other",
        seen=str(failed),
        limit=str(policy.failures or "no limit"),
    )
    reason = (
        f"{_recoveries(failed)} of this issue of {request.target.name} failed, one after "
        f"the other, within {policy.returns_s} s, of {policy.failures}: it takes a person to find out why"
    )
    return _stopped("failures", request, seen, reason, is_broken=0 < policy.failures <= failed)


def flapping(request: Request, snapshot: Snapshot, policy: Policy, check: ObserverCheck) -> Ruling:
    """What comes back again and again is not healed once more."""
    del check
    begun = _of_issue(request, snapshot, policy)
    seen = Evidence(
        what=f"recoveries of this issue within {policy.returns_s} s",
        seen=str(len(begun)),
        limit=str(policy.returns or "no limit"),
    )
    reason = (
        f"{_recoveries(len(begun))} of this issue of {request.target.name} within "
        f"{policy.returns_s} s, of {policy.returns}: it comes back whatever is done, and takes a person"
    )
    return _stopped("flapping", request, seen, reason, is_broken=0 < policy.returns <= len(begun))


def _stopped(rule: str, request: Request, seen: Evidence, reason: str, *, is_broken: bool) -> Ruling:
    binds = request.mandate.origin.is_automatic
    if not is_broken:
        return Ruling(rule=rule, binds=binds, numbers=(seen,))
    about = f"{request.target.name} {request.issue}".strip()
    return Ruling(
        rule=rule,
        is_broken=True,
        binds=binds,
        numbers=(seen,),
        reason=reason,
        about=about,
    )


#: Of many names so many are enough.
_MOST_NAMED = 5

#: Every rule by its name, in the order in which they are asked.
RULES: dict[str, Rule] = {
    "pause": pause,
    "window": window,
    "observer": observer,
    "domain": domain,
    "fleet": fleet,
    "budget": budget,
    "cool_down": cool_down,
    "failures": failures,
    "flapping": flapping,
}


def _part(share: float, of: int) -> int:
    """How many whole ones *share* of so many are; what is lost in the last digit of a float counts."""
    return math.floor(share * of + 1e-9)


def _under_way(snapshot: Snapshot) -> list[Reservation]:
    return [each for each in snapshot.reservations if each.ended_at is None]


def _on_target(request: Request, snapshot: Snapshot) -> list[Reservation]:
    return [each for each in snapshot.reservations if each.counts and each.target == request.target.name]


def _since(found: Iterable[Reservation], now: datetime, seconds: int) -> list[Reservation]:
    # No upper end: one that another machine's clock puts into the future counts.
    return [each for each in found if each.reserved_at > now - timedelta(seconds=seconds)]


def _of_issue(request: Request, snapshot: Snapshot, policy: Policy) -> list[Reservation]:
    """
    What was begun about the issue, the oldest first.

    From the last that a person began and that ended healthy: somebody has looked, and it helped.
    """
    found = [each for each in _on_target(request, snapshot) if each.issue == request.issue and request.issue]
    found = sorted(_since(found, snapshot.now, policy.returns_s), key=lambda each: each.reserved_at)
    for place in reversed(range(len(found))):
        is_persons = not found[place].mandate.origin.is_automatic
        if is_persons and found[place].end == RecoveryState.HEALTHY.value:
            return found[place + 1 :]
    return found


def _recoveries(number: int) -> str:
    return f"{number} recovery" if number == 1 else f"{number} recoveries"


def _named(found: Iterable[Reservation]) -> str:
    return ", ".join(sorted(f"{each.target}: {each.recovery[:8]}" for each in found))
