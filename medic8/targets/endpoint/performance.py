"""How fast an endpoint answers, by percentile and part of the request; its errors as a resource."""

from __future__ import annotations

import time
from collections.abc import Sequence

from medic8.analysis.queueing import latency_of
from medic8.model.issue import Evidence
from medic8.model.performance import AnalyzerResult, TimeShare, Weight
from medic8.model.report import DiagnosticReport, reading
from medic8.model.resources import ResourceMetrics
from medic8.model.target import Target
from medic8.model.wording import span
from medic8.targets.endpoint.answers import judge_speed, usual_phases
from medic8.targets.endpoint.asking import Phase, Reply
from medic8.targets.endpoint.asking_often import Asked, ask_often
from medic8.targets.endpoint.policy import policy_of
from medic8.targets.endpoint.replies import wrong_with
from medic8.targets.kind import Surroundings
from medic8.targets.readings import Readings

#: Rounds of requests at most, however fast they are answered.
_MOST_ROUNDS = 40

_ASSUMPTIONS = (
    (
        "Each request has a connection of its own and is sent after the one before: clients that keep "
        "connections open save the name, the connection and TLS. Only good answers are timed."
    ),
)


def analyze_requests(target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
    """Requests by percentile and part: the few that a look makes, again until the time is over."""
    del report
    until_s = time.perf_counter() + around.watch_s
    asked = ask_often(target)
    replies = list(asked.replies)
    for _ in range(_MOST_ROUNDS - 1):
        if not replies or time.perf_counter() >= until_s:
            break
        replies += ask_often(target).replies
    asked = asked._replace(replies=tuple(replies))
    good = [reply for reply in replies if not wrong_with(reply, target.request)]
    total_s = sum(reply.total_s for reply in good)
    by_phase = {
        phase: [reply.phases_s[phase] for reply in good if phase in reply.phases_s] for phase in Phase
    }
    timed = [latency_of("a request", [reply.total_s for reply in good])]
    timed += [latency_of(str(phase), took_s) for phase, took_s in by_phase.items()]
    shares = [
        TimeShare(what=str(phase), calls=len(took_s), took_s=sum(took_s), share=sum(took_s) / total_s)
        for phase, took_s in by_phase.items()
        if took_s and total_s
    ]
    return AnalyzerResult(
        analyzer="requests",
        target=target.name,
        kind=target.kind,
        latencies=tuple(each for each in timed if each),
        shares=tuple(sorted(shares, key=lambda each: -each.share)),
        readings=tuple(
            each
            for each in (
                reading("requests.made", len(replies), "count"),
                reading("requests.failed", len(replies) - len(good), "count"),
                reading("requests.name", round(asked.name.took_s, 6), "seconds"),
            )
            if each
        ),
        findings=judge_speed(asked, target.request, policy_of(target)),
        weights=weights_of(asked, good),
        assumptions=_ASSUMPTIONS,
    )


def weights_of(asked: Asked, good: Sequence[Reply]) -> tuple[Weight, ...]:
    """Which part of a request explains how much of it."""
    phases_s = {**({Phase.NAME: asked.name.took_s} if asked.name.took_s else {}), **usual_phases(good)}
    total_s = sum(phases_s.values())
    if not total_s:
        return ()
    most = max(phases_s, key=lambda phase: phases_s[phase])
    rest_s = total_s - phases_s[most]
    return (
        Weight(
            code="endpoint.slow",
            resource=f"{most}",
            explains=phases_s[most] / total_s,
            of="a request (medians of its parts)",
            effect=f"takes a request from {span(total_s)} to {span(rest_s)} at the best: all other parts "
            f"together take {span(rest_s)}",
            evidence=tuple(
                Evidence(what=str(phase), seen=span(took_s)) for phase, took_s in phases_s.items()
            ),
        ),
    )


def monitor_endpoint(report: DiagnosticReport) -> tuple[ResourceMetrics, ...]:
    """What an endpoint shows from outside; of what serves it the targets tell that it stands on."""
    seen = Readings(report)
    why = "an endpoint does not tell; name what serves it under depends_on"
    return (
        seen.row(
            "requests",
            why,
            seen.measure("requests", "requests.wait", "seconds", why="no good answer"),
            seen.measure("requests", "requests.failed", "count", limit="requests.made"),
        ),
        seen.row(
            "network",
            why,
            seen.measure("requests", "requests.connect", "seconds", why="no connection"),
            "errors of the way are failed requests",
        ),
    )
