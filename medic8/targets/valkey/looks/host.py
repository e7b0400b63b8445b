"""What a server tells of the machine under it; nothing is read from that machine."""

from __future__ import annotations

from medic8.analysis.judging import over, share
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of


def look_at_host(target: Target, around: Surroundings) -> DiagnosticResult:
    """The host's memory by INFO; the memory limit of a container is not told there."""
    with looking(target) as server:
        facts = server.info("server", "memory")
        readings = (
            reading("host.memory", facts.whole("total_system_memory"), "bytes"),
            reading("host.os", facts.text("os")),
            reading("host.allocator", facts.text("mem_allocator")),
        )
        return server.result("host", around, readings, judge_host(facts, policy=policy_of(target)))


def judge_host(facts: Facts, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether the server takes, or may take, more than its host has.

    Args:
        facts: The section ``memory`` of INFO.
        policy: The limits of the target.
    """
    total = facts.number("total_system_memory")
    return (
        *over(
            "host.memory",
            policy.host_memory,
            share(facts.number("used_memory_rss"), total),
            "the server takes {seen} of its host's memory",
            about="host memory",
            advice=(
                "CONFIG SET maxmemory BYTES leaves the host room for forks and everything else",
                "or move the server to a larger host",
            ),
        ),
        *over(
            "host.limit",
            policy.host_limit,
            share(facts.number("maxmemory"), total),
            "maxmemory is {seen} of its host's memory",
            about="maxmemory",
            advice=("CONFIG SET maxmemory BYTES to less than the host has; leave room for forks",),
        ),
    )
