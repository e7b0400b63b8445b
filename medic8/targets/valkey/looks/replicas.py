"""Whether replicas hold what their primary holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import valkey

from medic8.analysis.interval import interval
from medic8.analysis.judging import fact, over
from medic8.errors import Medic8Error
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import counted, shown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import connection, info
from medic8.targets.valkey.comparing import Compared, Following, following, side_by_side
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.key_sample import SAMPLE
from medic8.targets.valkey.looks.peers import peers_of
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: A fail-over is over after that: who was a primary beside another one is looked at once more.
_LOOK_AGAIN_S = 1.0

#: What a strategy has to know of a replica.
_TELLING = {"place", "run_id", "host", "port", "takes_writes", "replicas"}

#: Keys that are named in a report.
_MOST_NAMED = 3

#: Both are asked so often whether they are at one offset, within so long; and as long is between two looks.
_TRIES, _BETWEEN_S = 20, 0.3

#: Databases that keys are compared of beside the address's.
_MOST_DATABASES = 2


def look_at_replicas(target: Target, around: Surroundings) -> DiagnosticResult:
    """
    Role and link of each replica, and a sample of its keys held against the primary's.

    Of the replicas that the target names; where it names none of those that the server does, see
    `peers_of`; of a replica itself, whose primary is asked then.
    """
    with looking(target) as server:
        facts = server.info("replication", "stats")
        readings: list[Reading | None] = []
        findings: list[Finding] = []
        copies = facts.whole("sync_full") or 0
        is_primary = facts.get("role") == "master"
        peers, others = ([], []) if target.replicas and is_primary else peers_of(target.address, facts)
        sides = [(target.address, url) for url in (target.replica_addresses if is_primary else ())]
        sides += [(target.address, url) if is_primary else (url, target.address) for url in peers]
        if others:
            what = "its primary" if not is_primary else "replicas"
            server.unseen.append(
                f"data of {what} {shown(', '.join(others), 100)}: on another machine or behind a password"
                + (", and the target names none (field replicas)" if is_primary else "; diagnose the primary")
            )
        for primary, url in sides:
            where = place(url)
            is_named = primary == target.address and url in target.replica_addresses
            try:
                found, compared = _look_at(target, primary, url, copies)
            except Medic8Error as exc:
                server.unseen.append(f"replica {where}: {shown(str(exc), 300)}")
                continue
            findings += found if is_named else [each.model_copy(update={"objects": ()}) for each in found]
            if compared is not None:
                readings.append(reading(f"replicas.compared.{where}", compared.keys, "count"))
                readings.append(reading(f"replicas.differing.{where}", len(compared.differing), "count"))
                if compared.unsettled:
                    server.unseen.append(
                        f"replica {where}: {counted(compared.unsettled, 'key')} written to all the while"
                    )
        return server.result("replicas", around, readings, findings)


def _look_at(
    target: Target, primary: str, url: str, copies: int
) -> tuple[tuple[Finding, ...], Compared | None]:
    with connection(url, timeout_s=target.timeout_s) as client:
        seen = following(client, url)
        if seen.role == "master":
            time.sleep(_LOOK_AGAIN_S)
            seen = following(client, url)
    # The primary may have got a new one since: a fail-over, or its own first replica.
    with connection(primary, timeout_s=target.timeout_s) as client:
        replication = info(client, "replication")
        history = str(replication["master_replid"])
        is_primary = replication["role"] == "master"
    found = judge_replica_state(seen, history, policy=policy_of(target)) if is_primary else ()
    if found or not seen.is_up or seen.role == "master":
        return found, None
    counts = _counts(primary, url, timeout_s=target.timeout_s)
    compared = Compared()
    # Where keys are more or fewer, a sample may tell which; the address names one that is looked into always.
    for database in (None, *sorted(each.database for each in counts)[:_MOST_DATABASES]):
        _compare(primary, url, compared, database, timeout_s=target.timeout_s)
    return judge_comparison(seen, compared, copies, counts), compared


def _compare(primary: str, url: str, compared: Compared, database: int | None, *, timeout_s: float) -> None:
    with side_by_side(primary, url, timeout_s=timeout_s, database=database) as both:
        names: dict[bytes, None] = {}
        for side in (0, 1):
            some = (name for batch in both.scanned(side) for name in batch)
            names |= dict.fromkeys(islice(some, SAMPLE // 2))
        every = [name for name in names if name not in compared.differing]
        for at in range(0, len(every), 50):
            both.compare(every[at : at + 50], compared, is_whole=False)
            time.sleep(0.002)


class Counted(NamedTuple):
    """How many keys a database has on the primary, and on its replica at the same offset."""

    database: int
    on_primary: int
    on_replica: int


def _counts(primary: str, url: str, *, timeout_s: float) -> tuple[Counted, ...]:
    """
    The databases that hold more or fewer keys on the replica when both have carried out the same commands.

    Twice, since the first may have met a key that expired in the very moment. A server that is written to
    all the while is not met at one offset, and then nothing is said.
    """
    with (
        connection(primary, timeout_s=timeout_s) as one,
        connection(url, timeout_s=timeout_s) as other,
    ):
        first = _counts_at_once(one, other)
        if not first:
            return ()
        time.sleep(_BETWEEN_S)
        return tuple(
            each for each in _counts_at_once(one, other) if each.database in {a.database for a in first}
        )


def _counts_at_once(one: valkey.Valkey, other: valkey.Valkey) -> tuple[Counted, ...]:
    for _ in range(_TRIES):
        before, there, after = _keys_of(one), _keys_of(other), _keys_of(one)
        if before == after and before[0] == there[0]:
            numbers = sorted({*before[1], *there[1]})
            both = [Counted(number, before[1].get(number, 0), there[1].get(number, 0)) for number in numbers]
            return tuple(each for each in both if each.on_primary != each.on_replica)
        time.sleep(_BETWEEN_S / _TRIES)
    return ()


def _keys_of(client: valkey.Valkey) -> tuple[int, dict[int, int]]:
    """Up to where in its history a server is, and how many keys it has by database."""
    replication, keyspace = info(client, "replication"), info(client, "keyspace")
    again = info(client, "replication")
    offset, ended = (
        int(each.get("slave_repl_offset", each["master_repl_offset"])) for each in (replication, again)
    )
    keys = {int(name[2:]): int(each["keys"]) for name, each in keyspace.items() if name[2:].isdecimal()}
    return (offset if offset == ended else -1), keys


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


def judge_comparison(
    seen: Following, compared: Compared, copies: int, counts: Sequence[Counted] = ()
) -> tuple[Finding, ...]:
    """
    Whether a replica that is in step holds other data all the same.

    Args:
        seen: The replica.
        compared: A sample of its keys.
        copies: How many full copies its primary has made.
        counts: Databases that have more or fewer keys there.
    """
    more = tuple(
        Evidence(
            what=f"keys of database {each.database} at the same offset",
            seen=f"{each.on_replica:,}",
            limit=f"{each.on_primary:,}",
        )
        for each in counts
    )
    if not compared.differing and not more:
        return ()
    hits, about = len(compared.differing), f"replica {seen.place}"
    low, high = interval(hits, compared.keys)
    named = [shown(name) for name in islice(compared.differing, _MOST_NAMED)]
    return fact(
        "replication.diverged",
        Severity.ERROR,
        f"{about} is in step and holds other data: of {compared.keys:,} keys sampled {hits:,} differ "
        f"({low:.1%} to {high:.1%} of all)"
        + "".join(
            f"; database {each.database} has {each.on_replica:,} keys there, and {each.on_primary:,} here"
            for each in counts
        ),
        about=about,
        evidence=(
            Evidence(what="keys that differ", seen=f"{hits:,} of {compared.keys:,} sampled", limit="0"),
            *((Evidence(what="such as", seen=", ".join(named)),) if named else ()),
            *more,
        ),
        advice=(
            "CONFIG SET replica-read-only yes on the replica, and find out who wrote there",
            "medic8 heal with resync_replica, which saves what differs and copies everything anew",
        ),
        objects=({**seen.model_dump(include=_TELLING), "copies": copies},),
    )
