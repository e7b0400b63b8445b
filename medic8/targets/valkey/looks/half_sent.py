"""Commands that were sent by half: what has come of them is kept until the rest does."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import size
from medic8.targets.facts import Facts
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Whoever sends on is met within that.
_SILENT_S = 2.0


def judge_half_sent(
    listed: Sequence[Facts], called: Sequence[str], *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether clients have begun a long command and do not send the rest of it.

    Source: Valkey documentation, CLIENT LIST: qbuf is the length of the query buffer.

    Args:
        listed: Clients as CLIENT LIST has them.
        called: What people call each of them.
        policy: The limits of the target.
    """
    waiting = [
        (client.whole("qbuf") or 0, name)
        for client, name in zip(listed, called, strict=True)
        if (client.number("idle") or 0) >= _SILENT_S and policy.half_sent.severity(client.number("qbuf"))
    ]
    if not waiting:
        return ()
    most, name = max(waiting)
    return over(
        "clients.half_sent",
        policy.half_sent,
        most,
        f"{name} has sent {{seen}} of a command and not the rest of it",
        about="half commands",
        what=f"sent by {name} of a command that is not whole",
        also=(
            Evidence(what="clients that do so", seen=f"{len(waiting):,}"),
            Evidence(what="what they have sent together", seen=size(sum(each for each, _ in waiting))),
        ),
        advice=(
            "CLIENT LIST: qbuf is what has come, idle for how long no more did; look why they stopped",
            "CLIENT KILL ID frees it; CONFIG SET timeout 300 ends such connections by themselves",
        ),
    )
