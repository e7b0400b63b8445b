"""For how long clients have been waiting in a blocking command, and for whom that does harm."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import Reading, reading
from medic8.model.wording import counted, span
from medic8.targets.facts import Facts
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Commands that wait until others have what was written; all else that blocks waits for work, as it should.
#: Source: Valkey documentation, WAIT and WAITAOF.
_FOR_OTHERS = frozenset({"wait", "waitaof"})

#: A module's command may wait for as long as the module likes; from here on that is worth knowing.
_MODULE_S = 60.0


def blocked_readings(listed: Sequence[Facts], facts: Facts) -> tuple[Reading | None, ...]:
    """
    How many wait without a time-out, and for how long the first of all has.

    Args:
        listed: Clients as CLIENT LIST has them.
        facts: The section ``clients`` of INFO.
    """
    blocked, bounded = facts.whole("blocked_clients"), facts.whole("clients_in_timeout_table")
    unbounded = None if blocked is None or bounded is None else max(0, blocked - bounded)
    longest_s = max((_waiting_s(each) for each in _blocked(listed)), default=None)
    return (
        reading("clients.blocked_without_time_out", unbounded, "count"),
        reading("clients.blocked_longest", longest_s, "seconds"),
    )


def judge_blocked(
    listed: Sequence[Facts], facts: Facts, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether clients wait for what does not come: replicas and disks (WAIT, WAITAOF), or a module.

    Who waits for work (BLPOP, XREADGROUP and the like) is as it should be, however many and however long.
    None of them is closed by any plan: what it waits for would be lost, and its program would not know.

    Args:
        listed: Clients as CLIENT LIST has them.
        facts: The sections ``clients`` and ``replication`` of INFO.
        policy: From when on that is harm.
    """
    blocked = sorted(_blocked(listed), key=lambda each: -_waiting_s(each))
    waiting = [each for each in blocked if _command(each) in _FOR_OTHERS]
    return (*_judge_wait(waiting, facts, policy), *_told(blocked))


def _judge_wait(waiting: Sequence[Facts], facts: Facts, policy: ServerPolicy) -> tuple[Finding, ...]:
    if not waiting:
        return ()
    first = waiting[0]
    long = [each for each in waiting if policy.waiting.severity(_waiting_s(each)) is not None]
    found = over(
        "clients.unacknowledged",
        policy.waiting,
        _waiting_s(first),
        "replicas or disks do not have what clients wrote and wait for: "
        f"{counted(len(long), 'client')} in WAIT, the first for {{seen}}",
        about="WAIT",
        advice=(
            "INFO replication tells which replicas there are and how far behind: bring back who is gone",
            "have programs ask for no more replicas than there are, and give WAIT a time-out that is not 0",
            f"CLIENT UNBLOCK {first.text('id')} lets the first go on: it is told how many replicas have it",
        ),
        also=(
            Evidence(what=f"client {first.text('id')} at {first.text('addr')}", seen=_command(first).upper()),
            Evidence(what="replicas that are connected", seen=facts.text("connected_slaves") or "unknown"),
        ),
    )
    return tuple(each.model_copy(update={"extent": len(long)}) for each in found)


def _told(blocked: Sequence[Facts]) -> tuple[Finding, ...]:
    """What is worth knowing: a module may be stuck, or have its clients wait for work as the server does."""
    of_modules = [each for each in blocked if "." in _command(each) and _waiting_s(each) >= _MODULE_S]
    if not of_modules:
        return ()
    first = of_modules[0]
    return fact(
        "clients.blocked_by_module",
        Severity.INFO,
        f"what clients asked of modules is not answered: {counted(len(of_modules), 'client')}, the first for "
        f"{span(_waiting_s(first))}",
        about="modules",
        evidence=(
            Evidence(
                what=f"client {first.text('id')} at {first.text('addr')}",
                seen=f"{_command(first).upper()} for {span(_waiting_s(first))}",
            ),
        ),
        advice=(
            "MODULE LIST tells which modules there are; whether their commands may take so long, they know",
        ),
    )


def _blocked(listed: Sequence[Facts]) -> list[Facts]:
    return [each for each in listed if "b" in each.get("flags", "")]


def _waiting_s(client: Facts) -> float:
    """For how long it has at least: since it last spoke, which is when it asked, or later."""
    return client.number("idle") or 0.0


def _command(client: Facts) -> str:
    return client.text("cmd").lower()


def judge_paused(facts: Facts) -> tuple[Finding, ...]:
    """
    Whether commands are held back for all clients; who waits in BLPOP and the like is as it should be.

    Args:
        facts: The section ``clients`` of INFO; Redis and Valkey before 8.1 do not tell.
    """
    what, left_ms = facts.get("paused_actions", "none"), facts.whole("paused_timeout_milliseconds")
    if what in {"none", ""} or not left_ms:
        return ()
    return fact(
        "clients.paused",
        Severity.WARNING,
        f"{'writes' if what == 'write' else 'all commands'} are held back for {left_ms / 1000:,.0f} s more",
        about="pause",
        evidence=(Evidence(what="paused_reason", seen=facts.text("paused_reason")),),
        advice=("CLIENT UNPAUSE, if no fail-over is under way", "ACL and code: who sends CLIENT PAUSE?"),
    )
