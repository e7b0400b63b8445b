"""Connections that only ever come: a program opens one for each piece of work and closes none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medic8.analysis.judging import over
from medic8.analysis.trends import Shape, growth_of
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import span
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.clients import MOST_LISTED, is_ordinary, parse_list, who
from medic8.targets.valkey.looks.unused_clients import was_never_used
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Fewer new ones may be a release, or a pool that opens what it needs.
_LEAST_NEW = 10

#: This share of the new ones has done nothing after its first second.
_UNUSED = 0.8


def look_for_growing_clients(
    server: Server, times_s: Sequence[float], connected: Sequence[int], *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether ever more connections are open; nothing more is asked where their number did not rise steadily.

    Args:
        server: To ask for its clients.
        times_s: When it was looked, in seconds from any moment on.
        connected: How many were connected at each of those times.
        policy: The limits of the target.
    """
    growth = growth_of(times_s, connected) if connected else None
    if growth is None or growth.shape is not Shape.GROWS or growth.least_rise < _LEAST_NEW:
        return ()
    if policy.new_clients.severity(connected[-1]) is None or connected[-1] > MOST_LISTED:
        return ()
    listed = parse_list(server.ask("CLIENT", "LIST", what="who connects ever anew"))
    return judge_growing_clients(listed, connected[-1], growth.span_s, growth.per_s, policy=policy)


def judge_growing_clients(
    listed: Sequence[Facts], connected: int, span_s: float, per_s: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether those that came while we looked are not used.

    Args:
        listed: Clients as CLIENT LIST has them.
        connected: How many there are.
        span_s: For how long it was looked.
        per_s: By so many a second they became more.
        policy: The limits of the target.
    """
    # The server counts whole seconds: one that has just come has had no time to be used.
    new = [each for each in listed if 1 < (each.number("age") or 0) <= span_s and is_ordinary(each)]
    unused = [each for each in new if was_never_used(each)]
    if len(new) < _LEAST_NEW or len(unused) < _UNUSED * len(new):
        return ()
    name, count = Counter(each.text("name") or each.text("lib-name") for each in unused).most_common(1)[0]
    return over(
        "clients.growing",
        policy.new_clients,
        connected,
        f"{{seen}} connections are open, and {per_s * 60:,.0f} a minute are added, steadily for "
        f"{span(span_s)}, and those that came are not used",
        about="clients",
        also=(
            Evidence(what="of those that came and are not used", seen=f"{count:,} are called {name!r}"),
            Evidence(what="for example", seen=who(unused[-1])),
        ),
        advice=(
            "have the program close what it opens, or take connections from a pool that has a limit",
            "CONFIG SET timeout 300 ends idle ones",
        ),
    )
