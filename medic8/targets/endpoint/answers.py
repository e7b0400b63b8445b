"""Whether an endpoint answers, answers well, and how fast, by address and by part of the request."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.judging import fact, over
from medic8.model.endpoint import HttpRequest
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import shown, span
from medic8.targets.endpoint.asking import MOST_BODY, Phase, Reply
from medic8.targets.endpoint.asking_often import Asked, ask_often, sends_to_itself, without
from medic8.targets.endpoint.busy import BUSY, told_clients
from medic8.targets.endpoint.endings import ENDING_WORDS, NOT_REACHED, Ending
from medic8.targets.endpoint.policy import POLICY, EndpointPolicy, policy_of
from medic8.targets.endpoint.replies import GOOD, says_it_fails, that_count, wrong_with
from medic8.targets.endpoint.vantage import look_from_elsewhere, told_by
from medic8.targets.kind import Surroundings


def look_at_requests(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    Ask each address of the endpoint some times, from here and from where else the target says.

    Raises:
        ConfigurationError: its url or its file of issuers cannot be used.
    """
    asked = ask_often(target, around.watch_s)
    left_out = f"{len(asked.unasked)} more addresses of {asked.place.host}: only the first were asked"
    result = DiagnosticResult(
        diagnostic="requests",
        readings=readings_of(asked, target.request),
        findings=judge(asked, target.request, policy_of(target)),
        unseen=(left_out,) if asked.unasked else (),
        taken_at=around.now,
    )
    return told_by(result, look_from_elsewhere(target, asked), asked.place)


def readings_of(asked: Asked, request: HttpRequest) -> tuple[Reading, ...]:
    """What was measured, for the report: counts, and the median and the slowest of each part in seconds."""
    replies = asked.replies
    good = [reply for reply in replies if not wrong_with(reply, request)]
    found = [
        Reading(name="requests.made", value=len(replies), unit="count"),
        Reading(name="requests.failed", value=len(replies) - len(good), unit="count"),
        Reading(name="requests.addresses", value=len({reply.address for reply in replies}), unit="count"),
    ]
    if asked.name.took_s:
        found.append(Reading(name="requests.name", value=round(asked.name.took_s, 6), unit="seconds"))
    found += [
        _seconds(f"requests.{phase.name.lower()}", took_s) for phase, took_s in usual_phases(good).items()
    ]
    if good:
        total_s = sorted(reply.total_s for reply in good)
        found += [
            _seconds("requests.median", asked.name.took_s + statistics.median(total_s)),
            _seconds("requests.slowest", asked.name.took_s + total_s[-1]),
        ]
    if status := Counter(reply.status for reply in replies if reply.status).most_common(1):
        found.append(Reading(name="requests.status", value=status[0][0]))
    return tuple(found)


def judge(asked: Asked, request: HttpRequest, policy: EndpointPolicy = POLICY) -> tuple[Finding, ...]:
    """
    What is wrong with an endpoint.

    Args:
        asked: What was seen.
        request: What counts as well.
        policy: The limits of the target.
    """
    if not asked.replies:
        return _unreachable(asked, asked.name.ending, (_of_name(asked),))
    asked = asked._replace(replies=that_count(asked.replies))
    failing = {
        address: [reply for reply in replies if wrong_with(reply, request)]
        for address, replies in _by_address(asked.replies).items()
    }
    bad = [reply for replies in failing.values() for reply in replies]
    if len(bad) == len(asked.replies):
        return _all_fail(asked, bad, request)
    return (
        *_some_fail(asked, failing, request, policy),
        *judge_speed(asked, request, policy),
    )


def judge_speed(asked: Asked, request: HttpRequest, policy: EndpointPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether good answers are slow, and in which part of the request the time goes."""
    good = [reply for reply in asked.replies if not wrong_with(reply, request)]
    if not good:
        return ()
    slow = [reply for reply in good if policy.answer.severity(asked.name.took_s + reply.total_s) is not None]
    some = ""
    if len(slow) >= _LEAST_SLOW and len(slow) / len(good) >= _LEAST_SHARE and 2 * len(slow) <= len(good):
        # The median is that of those who do not wait.
        some, good = f"{len(slow)} of {len(good)} answers took longer than others: ", slow
    phases_s = usual_phases(good)
    if asked.name.took_s:
        phases_s = {Phase.NAME: asked.name.took_s, **phases_s}
    median_s = asked.name.took_s + statistics.median(reply.total_s for reply in good)
    most = max(phases_s, key=lambda phase: phases_s[phase])
    parts = tuple(Evidence(what=str(phase), seen=span(took_s)) for phase, took_s in phases_s.items())
    return over(
        "endpoint.slow",
        policy.answer,
        round(median_s, 6),
        f"{some}an answer takes {{seen}}, most of it {most} ({span(phases_s[most])})",
        about="speed",
        advice=_FASTER[most],
        also=parts,
    )


#: Of a handful of requests each one counts; of more than so many, as of a watch, one alone may be chance.
_MOST_OF_A_LOOK = 20

#: So many slow answers, and such a share of them, are more than chance. Our choice.
_LEAST_SLOW = 2
_LEAST_SHARE = 0.2

_FASTER = {
    Phase.NAME: (
        "resolvectl statistics, or dig NAME, tells how long the name server takes; keep a cache on this host",
    ),
    Phase.CONNECT: ("ping and mtr ADDRESS tell where the time goes; have clients keep connections open",),
    Phase.TLS: ("have clients keep connections open and sessions resumed; look at the service's processor",),
    Phase.WAIT: (
        "look at what the service waits for: its processor, its database, its queue, its own calls",
        "medic8 diagnose of the targets that it stands on",
    ),
    Phase.BODY: ("look how large the answer is (curl -so /dev/null -w '%{size_download}'), and at the way",),
}


def _all_fail(asked: Asked, bad: Sequence[Reply], request: HttpRequest) -> tuple[Finding, ...]:
    if all(reply.ending in NOT_REACHED for reply in bad):
        (ending, _), *_ = Counter(reply.ending for reply in bad).most_common(1)
        return _unreachable(asked, ending, _facts(asked, bad, request))
    return _answers_badly(asked, [reply for reply in bad if reply.ending not in NOT_REACHED], bad, request)


def _unreachable(asked: Asked, ending: Ending, evidence: Sequence[Evidence]) -> tuple[Finding, ...]:
    words = ENDING_WORDS[ending]
    return fact(
        UNREACHABLE,
        Severity.CRITICAL,
        f"{asked.place.shown} cannot be reached ({ending}): {words.means}",
        about="connection",
        evidence=evidence,
        advice=words.advice,
        objects=({"ending": ending.value},),
    )


#: Of answers that did not end as they should.
_CODES = {
    Ending.CUT: "endpoint.cut_off",
    Ending.ENDLESS: "endpoint.endless",
    Ending.CIRCLE: "endpoint.redirects",
}


def _answers_badly(
    asked: Asked, answers: Sequence[Reply], bad: Sequence[Reply], request: HttpRequest
) -> tuple[Finding, ...]:
    reply = answers[0]
    facts = _facts(asked, bad, request)
    if reply.ending is not Ending.ANSWERED:
        words = ENDING_WORDS[reply.ending]
        return fact(
            _CODES[reply.ending],
            Severity.ERROR,
            words.means,
            about="answer",
            evidence=facts,
            advice=words.advice,
        )
    if reply.status not in (request.status or GOOD):
        return _bad_status(asked, answers, facts, request)
    if status := says_it_fails(reply, request):
        return fact(
            "endpoint.body",
            Severity.ERROR,
            f"it answers with status {reply.status}, and says in its answer that it is {shown(status)}",
            about="answer",
            evidence=(
                *facts,
                Evidence(what="answer", seen=shown(without(asked.secrets, reply.body), 200)),
            ),
            advice=(
                "look in the answer at which of its parts fails, and at that: curl -s URL",
                "have the service answer with 503 while it is so, so that who balances load goes by it",
            ),
        )
    return fact(
        "endpoint.body",
        Severity.ERROR,
        f"the answer does not contain {shown(request.body)!r}"
        + (f" in its first {MOST_BODY >> 10} KiB" if len(reply.body) >= MOST_BODY else ""),
        about="answer",
        evidence=(
            *facts,
            Evidence(
                what="answer",
                seen=shown(without(asked.secrets, reply.body), 200) or "empty",
                limit=shown(request.body),
            ),
        ),
        advice=(
            "look at what is answered: curl -s URL; then at the service, or at body under [target.request]",
        ),
    )


def _bad_status(
    asked: Asked, answers: Sequence[Reply], facts: Sequence[Evidence], request: HttpRequest
) -> tuple[Finding, ...]:
    reply = answers[0]
    good = ", ".join(map(str, request.status)) or "200 to 299"
    facts = (*facts, Evidence(what="status", seen=str(reply.status), limit=good))
    server_errors = 500
    if location := reply.headers.get("location"):
        if sends_to_itself(asked.place, reply):
            words = ENDING_WORDS[Ending.CIRCLE]
            return fact(
                "endpoint.redirects",
                Severity.ERROR,
                words.means,
                about="answer",
                evidence=facts,
                advice=words.advice,
            )
        # Its query may hold what ours holds, and a session of its own.
        facts = (
            *facts,
            Evidence(
                what="redirects to",
                seen=shown(without(asked.secrets, _without_query(location).encode()), 200),
            ),
        )
        return fact(
            "endpoint.redirects",
            Severity.WARNING,
            f"the answer sends on with status {reply.status}, and whether that is well nobody has said",
            about="answer",
            evidence=facts,
            advice=(
                "ask what it sends to as a target of its own, or name the status under [target.request]",
                "follows = true there follows redirects to the same host",
            ),
        )
    advice: tuple[str, ...] = ("look at the service's log at this time",)
    if reply.status in BUSY:
        told = told_clients(answers)
        facts = (*facts, *told.evidence)
        advice = (
            "the service says that it is too busy: look at its load, and at what it stands on",
            *told.advice,
        )
    elif reply.status < server_errors:
        advice = ("the request itself is refused: look at path, credentials and method of the url",)
    return fact(
        "endpoint.status",
        Severity.ERROR,
        f"the answer has status {reply.status}",
        about="answer",
        evidence=facts,
        advice=advice,
    )


def _without_query(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "something that is no address"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _some_fail(
    asked: Asked, failing: dict[str, list[Reply]], request: HttpRequest, policy: EndpointPolicy
) -> tuple[Finding, ...]:
    """Addresses that always fail, and addresses that fail now and then."""
    by_address = _by_address(asked.replies)
    down = [address for address, bad in failing.items() if len(bad) == len(by_address[address])]
    found: tuple[Finding, ...] = ()
    for address in down:
        reply = failing[address][0]
        words, told = ENDING_WORDS.get(reply.ending), told_clients(failing[address])
        found += fact(
            "endpoint.address_down",
            Severity.ERROR,
            f"one of {len(by_address)} addresses of {asked.place.host} does not serve "
            f"({wrong_with(reply, request)}), and others do",
            about=address,
            evidence=(*_facts(asked, failing[address], request), *told.evidence),
            advice=(
                "take the address out of the name until its host serves again",
                *(words.advice if words else ()),
                *told.advice,
            ),
        )
    unsteady = [address for address in failing if address not in down]
    bad = [reply for address in unsteady for reply in failing[address]]
    made = sum(len(by_address[address]) for address in unsteady)
    if bad and (len(bad) > 1 or made <= _MOST_OF_A_LOOK):
        words, told = ENDING_WORDS.get(bad[0].ending), told_clients(bad)
        found += over(
            "endpoint.flapping",
            policy.failing,
            len(bad) / made,
            f"{len(bad)} of {made} requests failed ({wrong_with(bad[0], request)}), and the others did not",
            about="steadiness",
            advice=(
                "look whether one of several servers behind the address is ill, or all are at their limit",
                *(words.advice if words else ()),
                *told.advice,
            ),
            also=(*_facts(asked, bad, request), *told.evidence),
        )
    return found


def _facts(asked: Asked, bad: Sequence[Reply], request: HttpRequest) -> tuple[Evidence, ...]:
    """How many failed by which address and how, and what the errors said."""
    counted = Counter((reply.address, wrong_with(reply, request)) for reply in bad)
    made = Counter(reply.address for reply in asked.replies)
    facts = [
        Evidence(
            what=f"{address} port {asked.place.port}", seen=f"{why}: {count} of {made[address]} requests"
        )
        for (address, why), count in counted.items()
    ]
    said = dict.fromkeys(reply.said for reply in bad if reply.said)
    facts += [
        Evidence(what="error", seen=shown(without(asked.secrets, each.encode()), 200))
        for each in list(said)[:3]
    ]
    last = bad[-1]
    if last.phases_s:
        phase = max(last.phases_s, key=lambda each: last.phases_s[each])
        facts.append(Evidence(what=str(phase), seen=span(last.phases_s[phase])))
    return (*((_of_name(asked),) if asked.name.took_s else ()), *facts)


def _of_name(asked: Asked) -> Evidence:
    name = asked.name
    seen = ", ".join(name.addresses) or f"{name.ending}: {name.said}"
    return Evidence(what=f"name {shown(asked.place.host)}", seen=f"{seen} after {span(name.took_s)}")


def usual_phases(replies: Sequence[Reply]) -> dict[Phase, float]:
    """The median of each part that was come to, in seconds and in the order of a request."""
    return {
        phase: statistics.median(took_s)
        for phase in Phase
        if (took_s := [reply.phases_s[phase] for reply in replies if phase in reply.phases_s])
    }


def _by_address(replies: Sequence[Reply]) -> dict[str, list[Reply]]:
    found: dict[str, list[Reply]] = {}
    for reply in replies:
        found.setdefault(reply.address, []).append(reply)
    return found


def _seconds(name: str, value: float) -> Reading:
    return Reading(name=name, value=round(value, 6), unit="seconds")
