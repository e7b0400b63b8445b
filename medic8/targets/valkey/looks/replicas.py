"""Whether the replicas that a target names hold what their primary holds."""

from __future__ import annotations

import time
from itertools import islice

from medic8.analysis.interval import interval
from medic8.analysis.judging import fact, over
from medic8.errors import Medic8Error
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import counted, shown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection, info, place
from medic8.targets.valkey.comparing import Compared, Following, following, side_by_side
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.key_sample import SAMPLE
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: A fail-over is over after that: who was a primary beside another one is looked at once more.
_LOOK_AGAIN_S = 1.0

#: What a strategy has to know of a replica.
_TELLING = {"place", "run_id", "host", "port", "takes_writes", "replicas"}

#: Keys that are named in a report.
_MOST_NAMED = 3


def look_at_replicas(target: Target, around: Surroundings) -> DiagnosticResult:
    """Role and link of each named replica, and a sample of its keys held against the primary's."""
    with looking(target) as server:
        facts = server.info("replication", "stats")
        readings: list[Reading | None] = []
        findings: list[Finding] = []
        is_primary = facts.get("role") == "master"
        if not target.replicas and is_primary and facts.number("connected_slaves"):
            server.unseen.append("data of replicas: the target names none (field replicas)")
        for url in target.replica_addresses if is_primary else ():
            where = place(url)
            try:
                found, compared = _look_at(target, url, facts.whole("sync_full") or 0)
            except Medic8Error as exc:
                server.unseen.append(f"replica {where}: {shown(str(exc), 300)}")
                continue
            findings += found
            if compared is not None:
                readings.append(reading(f"replicas.compared.{where}", compared.keys, "count"))
                readings.append(reading(f"replicas.differing.{where}", len(compared.differing), "count"))
                if compared.unsettled:
                    server.unseen.append(
                        f"replica {where}: {counted(compared.unsettled, 'key')} written to all the while"
                    )
        return server.result("replicas", around, readings, findings)


def _look_at(target: Target, url: str, copies: int) -> tuple[tuple[Finding, ...], Compared | None]:
    with connection(url, timeout_s=target.timeout_s) as client:
        seen = following(client, url)
        if seen.role == "master":
            time.sleep(_LOOK_AGAIN_S)
            seen = following(client, url)
    # The primary may have got a new one since: a fail-over, or its own first replica.
    with connection(target.address, timeout_s=target.timeout_s) as client:
        replication = info(client, "replication")
        history = str(replication["master_replid"])
        is_primary = replication["role"] == "master"
    found = judge_replica_state(seen, history, policy=policy_of(target)) if is_primary else ()
    if found or not seen.is_up:
        return found, None
    compared = Compared()
    with side_by_side(target.address, url, timeout_s=target.timeout_s) as both:
        names: dict[bytes, None] = {}
        for side in (0, 1):
            some = (name for batch in both.scanned(side) for name in batch)
            names |= dict.fromkeys(islice(some, SAMPLE // 2))
        every = list(names)
        for at in range(0, len(every), 50):
            both.compare(every[at : at + 50], compared, is_whole=False)
            time.sleep(0.002)
    return judge_comparison(seen, compared, copies), compared


def judge_replica_state(
    seen: Following, history: str, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a named replica follows the primary at all, and answers with old data.

    Args:
        seen: The replica.
        history: The primary's replication id.
        policy: The limits of the target.
    """
    about = f"replica {seen.place}"
    if seen.role == "master":
        return fact(
            "replication.two_primaries",
            Severity.ERROR,
            f"{about} is a primary of its own: what is written there never reaches the others",
            about=about,
            evidence=(Evidence(what=f"role of {seen.place}", seen="master", limit="slave"),),
            advice=(
                "find out which of the two is written to; medic8 backup create of the other one",
                "then, on the other one: REPLICAOF HOST PORT",
            ),
        )
    if not seen.is_up:
        if not seen.serves_stale:
            return ()
        return over(
            "replication.stale_reads",
            policy.replica_silence,
            seen.down_s,
            f"{about} has lost its primary for {{seen}}, and goes on answering with what it had",
            about=about,
            advice=(
                f"can {shown(seen.host)}:{seen.port} be reached from there, and is masterauth right?",
                "CONFIG SET replica-serve-stale-data no on the replica, if stale answers do harm",
            ),
        )
    if seen.history != history:
        return fact(
            "replication.foreign_primary",
            Severity.ERROR,
            f"{about} follows another primary, {shown(seen.host)}:{seen.port}",
            about=about,
            evidence=(Evidence(what="replication id", seen=seen.history[:12], limit=history[:12]),),
            advice=("REPLICAOF HOST PORT on the replica, or take it off the target's list",),
        )
    return ()


def judge_comparison(seen: Following, compared: Compared, copies: int) -> tuple[Finding, ...]:
    """
    Whether a replica that is in step holds other data all the same.

    Args:
        seen: The replica.
        compared: A sample of its keys.
        copies: How many full copies its primary has made.
    """
    if not compared.differing:
        return ()
    hits, about = len(compared.differing), f"replica {seen.place}"
    low, high = interval(hits, compared.keys)
    named = [shown(name) for name in islice(compared.differing, _MOST_NAMED)]
    return fact(
        "replication.diverged",
        Severity.ERROR,
        f"{about} is in step and holds other data: of {compared.keys:,} keys sampled {hits:,} differ "
        f"({low:.1%} to {high:.1%} of all)",
        about=about,
        evidence=(
            Evidence(what="keys that differ", seen=f"{hits:,} of {compared.keys:,} sampled", limit="0"),
            Evidence(what="such as", seen=", ".join(named)),
        ),
        advice=(
            "CONFIG SET replica-read-only yes on the replica, and find out who wrote there",
            "medic8 heal with resync_replica, which saves what differs and copies everything anew",
        ),
        objects=({**seen.model_dump(include=_TELLING), "copies": copies},),
    )
