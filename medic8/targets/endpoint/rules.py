"""Which findings about an endpoint are signs of which issue, and what beneath leads to them."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.causes import CauseRule
from medic8.analysis.symptoms import rule_of
from medic8.model.issue import IssueType
from medic8.targets.valkey.clues import AT_LIMIT

RULES = (
    rule_of(
        IssueType.NETWORK,
        "{target} cannot be reached",
        UNREACHABLE,
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} answers at some of its addresses and not at {about}",
        "endpoint.address_down",
        symptoms=("Connection failures", "Timeout errors"),
        cause="One of the hosts that the name leads to does not serve.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} answers now and then",
        "endpoint.flapping",
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} is not served from everywhere",
        "endpoint.elsewhere",
        symptoms=("Connection failures", "Timeout errors"),
        cause="The way from there differs: a firewall, a route or a name server.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} answers badly",
        "endpoint.status",
        "endpoint.body",
        "endpoint.redirects",
        symptoms=("Connection failures",),
    ),
    rule_of(
        IssueType.NETWORK,
        "The answer of {target} does not end",
        "endpoint.endless",
        symptoms=("Timeout errors",),
    ),
    rule_of(
        IssueType.NETWORK,
        "The answer of {target} is cut off",
        "endpoint.cut_off",
        symptoms=("Connection failures",),
    ),
    rule_of(
        IssueType.NETWORK,
        "The certificate of {target} ends",
        "endpoint.certificate_ends",
        symptoms=("Connection failures",),
        cause="It was not renewed in time, or the service has not read the renewed one.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} answers slowly",
        "endpoint.slow",
        symptoms=("High latency", "Poor response times"),
    ),
)

#: What a client of the endpoint sees of a service that cannot do its work.
_FAILS = frozenset(
    {
        UNREACHABLE,
        "endpoint.status",
        "endpoint.body",
        "endpoint.cut_off",
        "endpoint.endless",
        "endpoint.flapping",
    }
)

#: By the kind of what the service behind the endpoint stands on.
CAUSES_BENEATH: Mapping[str, tuple[CauseRule, ...]] = {
    "valkey": (
        CauseRule(
            causes=frozenset(
                {
                    UNREACHABLE,
                    "errors.busy",
                    "errors.clusterdown",
                    "errors.loading",
                    "errors.masterdown",
                    "errors.misconf",
                    "errors.noauth",
                    "errors.noperm",
                    "errors.noreplicas",
                    "errors.oom",
                    "errors.readonly",
                    "errors.wrongpass",
                    "clients.rejected",
                    "server.busy",
                    "server.loading",
                }
            ),
            effects=_FAILS,
            why="A service whose server refuses its commands can only pass the failure on.",
        ),
        CauseRule(
            causes=frozenset({"memory.near_limit"}),
            effects=_FAILS - {UNREACHABLE},
            why="Where nothing may be evicted, a server at its limit refuses every write that needs memory.",
            clues=(AT_LIMIT,),
        ),
        CauseRule(
            causes=frozenset({"commands.slow", "commands.runaway", "commands.slow_delete", "server.busy"}),
            effects=frozenset({"endpoint.slow", "endpoint.endless"}),
            why="Whoever waits for a command of its server lets its own clients wait as well.",
        ),
    ),
    "grid": (
        CauseRule(
            causes=frozenset(
                {UNREACHABLE, "grid.damaged", "grid.not_found", "grid.lock_stale", "grid.deadlock"}
            ),
            effects=_FAILS,
            why="A service whose grid cannot be read or written can only pass the failure on.",
        ),
    ),
    "process": (
        CauseRule(
            causes=frozenset(
                {
                    UNREACHABLE,
                    "presence.restarts",
                    "presence.gave_up",
                    "presence.ended",
                    "health.check_failed",
                    "activity.stuck",
                    "activity.stopped",
                }
            ),
            effects=_FAILS,
            why="Who serves the endpoint does not run, or does not do its work.",
        ),
        CauseRule(
            causes=frozenset(
                {
                    "descriptors.near_limit",
                    "descriptors.accept_queue",
                    "activity.throttled",
                    "memory.of_group",
                }
            ),
            effects=frozenset({UNREACHABLE, "endpoint.slow", "endpoint.flapping", "endpoint.status"}),
            why="A process at its limit lets its clients wait, or turns them away.",
        ),
    ),
    "host": (
        CauseRule(
            causes=frozenset({"network.accept_queue", "network.conntrack", "network.ports"}),
            effects=frozenset({UNREACHABLE, "endpoint.flapping", "endpoint.slow"}),
            why="Connections that the host has no room for are lost or wait.",
        ),
        CauseRule(
            causes=frozenset({"memory.low", "memory.swapping", "memory.pressure", "processor.pressure"}),
            effects=frozenset({"endpoint.slow", "endpoint.endless"}),
            why="On a host that has too little everybody waits.",
        ),
    ),
    "endpoint": (
        CauseRule(
            causes=_FAILS,
            effects=_FAILS,
            why="A service that needs another one fails with it.",
        ),
        CauseRule(
            causes=frozenset({"endpoint.slow"}),
            effects=frozenset({"endpoint.slow", "endpoint.endless"}),
            why="A service that waits for another one is as slow as that.",
        ),
    ),
}
