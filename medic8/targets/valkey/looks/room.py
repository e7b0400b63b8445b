"""How far a server's memory limit could be raised on the machine that it runs on."""

from __future__ import annotations

from itertools import pairwise

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence
from medic8.model.wording import size
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.machine import Available, Unknown
from medic8.targets.valkey.policy import LEAST_JUDGED_BYTES, POLICY, ServerPolicy

#: A limit is raised by one part in so many.
STEP_PARTS = 4

#: What a fork is taken to copy where none was measured yet: what the policy warns of.
_UNMEASURED_SHARE = POLICY.copy_on_write.warning or 0.5


class Room(Frozen):
    """
    What raising the memory limit by one step would take, and what there is. All in bytes.

    Attributes:
        limit: ``maxmemory`` now.
        counted: What counts towards it.
        raised: ``maxmemory`` after one step.
        resident: What the server itself would take when it is full, with its fragmentation.
        copied: What a fork would copy meanwhile.
        replicas: What the buffers of its replicas may take, which do not count towards the limit.
        clients: What its clients' buffers take, which grow on when writes are refused.
        has: What the server may take altogether; None if nobody tells.
        whose: What sets that bound, for people.
    """

    limit: int
    counted: int
    raised: int
    resident: int
    copied: int
    replicas: int
    clients: int
    has: int | None
    whose: str

    @property
    def needs(self) -> int:
        """What the server would take at most after one step."""
        return self.resident + self.copied + self.replicas + self.clients

    @property
    def fits(self) -> bool:
        """Whether there is room for one step."""
        return self.has is not None and self.needs <= self.has

    def helps(self, policy: ServerPolicy = POLICY) -> bool:
        """Whether one step would bring the server out of its difficulty, by the limits of the target."""
        return policy.memory_used.severity(self.counted / self.raised) is None

    @property
    def evidence(self) -> Evidence:
        """The numbers in words."""
        return Evidence(what=f"memory that maxmemory {size(self.raised)} would take", seen=self.in_words)

    @property
    def in_words(self) -> str:
        """What it would take, of what, and what there is."""
        there = f"{size(self.has)} ({self.whose})" if self.has is not None else self.whose
        return (
            f"{size(self.needs)}: {size(self.resident)} resident, {size(self.copied)} copied by forks, "
            f"{size(self.replicas)} for replicas, {size(self.clients)} for clients; there is {there}"
        )


def room_of(
    facts: Facts, settings: Facts, available: Available | Unknown | None, *, policy: ServerPolicy = POLICY
) -> Room | None:
    """
    What one step up would take; None where there is no limit, or too little is told.

    Args:
        facts: The sections ``memory``, ``clients``, ``replication`` and ``persistence`` of INFO.
        settings: ``save`` and ``client-output-buffer-limit``; empty if they may not be read.
        available: What this machine tells; None for a server on another one.
        policy: The limits of the target.
    """
    limit, used, resident = (facts.whole(name) for name in ("maxmemory", "used_memory", "used_memory_rss"))
    if not limit or not used or resident is None:
        return None
    raised = limit + limit // STEP_PARTS
    # Of a small server the process itself is most of what is resident, and does not grow with its data.
    grown = raised * max(1.0, resident / used) if used >= LEAST_JUDGED_BYTES else raised + resident - used
    has, whose = _has(facts, resident, available, policy=policy)
    return Room(
        limit=limit,
        counted=used - (facts.whole("mem_not_counted_for_evict") or 0),
        raised=raised,
        resident=round(max(raised, grown)),
        copied=round(raised * _copied_share(facts, settings, used)),
        replicas=_for_replicas(facts, settings),
        clients=facts.whole("mem_clients_normal") or 0,
        has=has,
        whose=whose,
    )


def _has(
    facts: Facts, resident: int, available: Available | Unknown | None, *, policy: ServerPolicy = POLICY
) -> tuple[int | None, str]:
    if isinstance(available, Unknown):
        return None, available.why
    total = facts.whole("total_system_memory")
    bounds = []
    if total:
        share = policy.host_limit.cautious.warning or 0.9
        bounds.append((int(total * share), f"{share:.0%} of the host's memory"))
    if available is not None:
        bounds.append((resident + available.of_host, "what it has and the host has left"))
        if available.of_cgroup is not None:
            bounds.append((resident + available.of_cgroup, "what it has and its control group leaves"))
    return min(bounds) if total else (None, "nobody tells how much the host has")


def _copied_share(facts: Facts, settings: Facts, used: int) -> float:
    """Which share of the memory a fork copies: as measured, or what is to be expected where any may come."""
    measured = max(
        facts.number(name) or 0 for name in ("rdb_last_cow_size", "aof_last_cow_size", "current_cow_peak")
    )
    if measured:
        return min(1.0, measured / used)
    forks = settings.get("save", "?") or facts.get("aof_enabled") != "0" or facts.number("connected_slaves")
    return _UNMEASURED_SHARE if forks else 0.0


def _for_replicas(facts: Facts, settings: Facts) -> int:
    """What replicas may have waiting before they are cut off; what they have where that has no limit."""
    replicas = facts.whole("connected_slaves") or 0
    words = settings.get("client-output-buffer-limit", "").split()
    hard = next((most for kind, most in pairwise(words) if kind in {"slave", "replica"}), "0")
    most = int(hard) if hard.isdecimal() else 0
    return max(replicas * most, facts.whole("mem_clients_slaves") or 0)
