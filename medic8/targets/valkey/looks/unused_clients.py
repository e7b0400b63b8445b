"""Connections that were opened and never used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.targets.facts import Facts
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: After so long a connection that was opened for something has been used.
_SETTLED_S = 5.0


def was_never_used(client: Facts) -> bool:
    """Whether a connection has done nothing after its first second; the server counts whole ones."""
    return (client.number("age") or 0) - (client.number("idle") or 0) <= 1


def judge_unused(
    ordinary: Sequence[Facts], listed: int, *, is_whole: bool, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether most connections were opened and never used; asked where half of those that may be are taken.

    One that has just come counts as used: a pool opens what it will need in a moment.

    Args:
        ordinary: Those that come and go, as CLIENT LIST has them.
        listed: How many were listed.
        is_whole: Whether these are all that there are.
        policy: The limits of the target.
    """
    unused = [each for each in ordinary if was_never_used(each) and (each.number("age") or 0) >= _SETTLED_S]
    called = Counter(each.text("name") or each.text("lib-name") for each in unused)
    name, count = max(called.items(), key=lambda pair: pair[1], default=("", 0))
    return over(
        "clients.idle",
        policy.unused_clients,
        len(unused) / max(listed, 1),
        f"{{seen}} of {'all' if is_whole else 'the listed'} clients have sent nothing since they came",
        about="idle clients",
        also=(Evidence(what="of them are called alike", seen=f"{count:,} {name!r}"),),
        advice=(
            "have the program close what it opens, or take connections from a pool that has a limit",
            "CONFIG SET timeout 300 ends idle ones",
        ),
    )
