"""Whether replicas hang on, how far they are behind, and whether writes are refused for it."""

from __future__ import annotations

import time

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.error_words import ERROR_WORDS
from medic8.targets.valkey.looks.full_copies import BACKLOG, BUFFER, judge_syncs, written_per_s
from medic8.targets.valkey.looks.several import look_for_several
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of

#: Between one of three looks and the next: one burst is told from what is written all the time.
_INTERVAL_S = 0.2
_LOOKS = 3

#: After so long a replica has told once more how far it is. Source: Valkey documentation, Replication.
_AGAIN_S = 1.2

#: What is less is not much to be behind.
_MUCH = 1 << 20

_LAG_ADVICE = (
    "look at the replica: is it loading, swapping, or behind a slow network?",
    "CONFIG SET repl-backlog-size BYTES to what is written in the longest absence",
)


def look_at_replication(target: Target, around: Surroundings) -> DiagnosticResult:
    """The server's own view of its primary and of its replicas."""
    with looking(target, around.diagnosis) as server:
        looks = server.info_often(
            "replication", "stats", "server", "memory", times=_LOOKS, interval_s=_INTERVAL_S
        )
        (before, _), (facts, _) = looks[0], looks[-1]
        rate = written_per_s(looks)
        settings = server.settings(
            "replica-read-only", "replica-serve-stale-data", "min-replicas-to-write", BACKLOG, BUFFER
        )
        readings = (
            reading("replication.role", facts.text("role")),
            reading("replication.replicas", facts.whole("connected_slaves"), "count"),
            reading("replication.offset", facts.whole("master_repl_offset"), "bytes"),
            reading("replication.written", rate, "bytes/s"),
            reading("replication.link", facts.text("master_link_status")),
            reading("replication.silence", facts.whole("master_last_io_seconds_ago"), "seconds"),
            reading("replication.full_syncs", facts.whole("sync_full"), "count"),
        )
        findings = judge_replication(facts, settings, before, rate, policy=policy_of(target))
        if not any(each.code == "replication.lag" for each in findings) and behind_s(facts, rate):
            time.sleep(_AGAIN_S)
            after = server.info("replication")
            findings += judge_falling_behind(facts, after, rate, policy=policy_of(target))
        findings += look_for_several(target, facts)
        return server.result("replication", around, readings, findings)


def behind_s(facts: Facts, rate: int | None) -> dict[str, tuple[int, float]]:
    """
    By how much each replica is behind: bytes, and the seconds in which that is written.

    A replica tells once a second how far it is, so who lacks what is written in one is in step, and left out.

    Args:
        facts: The section ``replication`` of INFO.
        rate: Bytes that are written in each second, see `written_per_s`.
    """
    written, found = facts.whole("master_repl_offset"), {}
    for number, replica in facts.starting("slave"):
        offset = replica.whole("offset")
        if not number.isdecimal() or not rate or written is None or offset is None:
            continue
        if replica.get("state", "online") == "online" and written - offset >= max(_MUCH, rate):
            found[f"{replica.text('ip')}:{replica.text('port')}"] = (
                written - offset,
                (written - offset) / rate,
            )
    return found


def judge_falling_behind(
    before: Facts, after: Facts, rate: int | None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Which replica takes less than is written, and is behind by seconds of it already.

    Args:
        before: The section ``replication`` of INFO.
        after: The same when every replica that takes anything has told how far it is once more.
        rate: Bytes that are written in each second, see `written_per_s`.
        policy: The limits of the target.
    """
    was, found = behind_s(before, rate), list[Finding]()
    for name, (behind, seconds) in behind_s(after, rate).items():
        if name in was and behind > was[name][0]:
            found += over(
                "replication.lag",
                policy.replica_behind,
                seconds,
                f"replica {name} is {size(behind)} behind, {{seen}} of what is written, and falls back",
                about="replication",
                what=f"replica {name} behind",
                advice=_LAG_ADVICE,
            )
    return tuple(found)


def judge_replication(
    facts: Facts, settings: Facts, before: Facts, rate: int | None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Which link is broken, which replica lags, and what is refused for it.

    Args:
        facts: The sections ``replication``, ``stats``, ``server`` and ``memory`` of INFO.
        settings: Those of replication; empty if they may not be read.
        before: The same sections a moment earlier.
        rate: Bytes that are written in each second, see `written_per_s`.
        policy: The limits of the target.
    """
    found = [
        *judge_replicas(facts, policy=policy),
        *judge_syncs(facts, before, rate, settings, policy=policy),
    ]
    found += judge_quorum(facts, settings)
    if facts.get("role") == "slave":
        found += judge_replica(facts, settings)
    if before.get("role", "") != facts.get("role", ""):
        found += fact(
            "replication.role_changed",
            Severity.WARNING,
            "the server changed its role while it was looked at; look again",
            about="role",
            evidence=(Evidence(what="role", seen=facts.text("role"), limit=before.text("role")),),
        )
    return tuple(found)


def judge_replica(facts: Facts, settings: Facts) -> tuple[Finding, ...]:
    """What is wrong with a replica, as it sees it."""
    found: tuple[Finding, ...] = ()
    primary = f"{facts.text('master_host')}:{facts.text('master_port')}"
    if facts.get("master_link_status", "up") != "up":
        down_s = facts.text("master_link_down_since_seconds") or "unknown"
        is_copying = facts.get("master_sync_in_progress") == "1"
        refuses = settings.get("replica-serve-stale-data") == "no"
        found += fact(
            "replication.link_down",
            Severity.WARNING if is_copying and not refuses else Severity.ERROR,
            f"the link to the primary {primary} is down"
            + (", a full copy is on its way" if is_copying else "")
            + ("; everything is refused here (MASTERDOWN)" if refuses else "; reads here grow stale"),
            about="replication",
            evidence=(Evidence(what="master_link_status", seen=f"down for {down_s} s", limit="up"),),
            advice=ERROR_WORDS["MASTERDOWN"].advice
            if refuses
            else (
                f"see whether {primary} runs and can be reached from here, and whether masterauth is right",
            ),
        )
    if settings.get("replica-read-only") == "no":
        found += fact(
            "replication.writable",
            Severity.WARNING,
            "this replica takes writes of its own, which its primary never learns of",
            about="replica-read-only",
            evidence=(Evidence(what="replica-read-only", seen="no", limit="yes"),),
            advice=(
                "CONFIG SET replica-read-only yes; what was written here is lost with the next full copy",
            ),
        )
    return found


def judge_replicas(facts: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """Which replicas lag, are silent or are not in step, as their primary sees them."""
    found: tuple[Finding, ...] = ()
    written = facts.number("master_repl_offset")
    for number, replica in facts.starting("slave"):
        if not number.isdecimal() or written is None:
            continue
        name = f"{replica.text('ip')}:{replica.text('port')}"
        offset, silent_s = replica.number("offset"), replica.number("lag")
        if replica.get("state", "online") != "online":
            # As each does that is added; copies again and again are found as such.
            found += fact(
                "replication.copying",
                Severity.INFO,
                f"replica {name} is getting a full copy",
                about="replication",
                evidence=(Evidence(what=f"replica {name}", seen=replica.text("state"), limit="online"),),
                advice=_LAG_ADVICE,
            )
            continue
        found += over(
            "replication.lag",
            policy.replica_lag,
            None if offset is None else written - offset,
            f"replica {name} is {{seen}} behind",
            about="replication",
            what=f"replica {name} behind",
            advice=_LAG_ADVICE,
        )
        found += over(
            "replication.lag",
            policy.replica_silence,
            silent_s,
            f"replica {name} has been silent for {{seen}}",
            about="replication",
            what=f"replica {name} silent",
            advice=_LAG_ADVICE,
        )
    return found


def judge_quorum(facts: Facts, settings: Facts) -> tuple[Finding, ...]:
    """Whether writes are refused because too few replicas are in step."""
    least, good = settings.number("min-replicas-to-write"), facts.number("min_slaves_good_slaves")
    if facts.get("role") != "master" or not least or good is None or good >= least:
        return ()
    return fact(
        "errors.noreplicas",
        Severity.ERROR,
        f"writes are refused (NOREPLICAS): {good:.0f} of {least:.0f} replicas are in step",
        about="NOREPLICAS",
        evidence=(Evidence(what="replicas in step", seen=f"{good:.0f}", limit=f"at least {least:.0f}"),),
        advice=ERROR_WORDS["NOREPLICAS"].advice,
    )
