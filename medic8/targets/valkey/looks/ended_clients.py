"""
Clients that the server ends by itself, for what waits for them or what all of them take, while one watches.

Whoever is ended connects anew, falls behind again and is ended again: at no moment much waits for anybody.

Source: valkey.conf, client-output-buffer-limit and maxmemory-clients; INFO, stats.
"""

from __future__ import annotations

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import span
from medic8.targets.facts import Facts, grown
from medic8.targets.valkey.policy import POLICY, ServerPolicy


def judge_ended(
    before: Facts, after: Facts, span_s: float, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether the server ended clients again and again.

    Replicas are ended as well when too much waits for them, and then copied anew: that is found as such.

    Args:
        before: The section ``stats`` of INFO.
        after: The same later.
        span_s: How much later, in seconds.
        policy: The limits of the target.
    """
    cut_off = grown(before, after, "client_output_buffer_limit_disconnections") or 0
    copied = sum(grown(before, after, name) or 0 for name in ("sync_full", "sync_partial_ok"))
    watched = Evidence(what="watched for", seen=span(span_s))
    return (
        *over(
            "clients.cut_off",
            policy.ended_clients,
            cut_off - copied if cut_off > copied else None,
            "{seen} clients were cut off while we watched, since more waited for them than "
            "client-output-buffer-limit lets: they take what they asked for too slowly",
            about="client output",
            also=(watched,),
            advice=(
                "the server's log names them: closed for overcoming of output buffer limits",
                "CONFIG SET client-output-buffer-limit 'pubsub 64mb 16mb 60' gives subscribers twice as much",
                "have programs take messages off the connection at once, and work on them apart",
            ),
        ),
        *over(
            "clients.evicted",
            policy.ended_clients,
            grown(before, after, "evicted_clients"),
            "{seen} clients were ended while we watched, since all of them take more than maxmemory-clients",
            about="room for clients",
            also=(watched,),
            advice=(
                "CLIENT LIST: tot-mem tells who takes most; they read slowly, or send huge pipelines",
                "CONFIG SET maxmemory-clients BYTES to more, or to 0 for no limit",
            ),
        ),
    )
