"""Which findings about a process lead to which others."""

from __future__ import annotations

from medic8.analysis.causes import CauseRule

_EXHAUSTED = frozenset({"memory.of_host", "memory.of_group", "memory.address_space", "memory.swapped"})


def _rule(cause: str, effects: frozenset[str], why: str) -> CauseRule:
    return CauseRule(causes=frozenset({cause}), effects=effects, why=why)


#: The most trusted first.
CAUSES = (
    _rule("growth.memory", _EXHAUSTED, "what it takes and never gives back fills the memory"),
    _rule(
        "growth.descriptors",
        frozenset({"descriptors.near_limit"}),
        "what it opens and never closes fills its table",
    ),
    _rule("growth.threads", frozenset({"activity.group_pids"}), "threads that never end fill its group"),
    _rule(
        "activity.stuck",
        frozenset({"growth.threads", "health.check_failed"}),
        "threads that hang do no work, and others are started in their place",
    ),
    _rule(
        "activity.throttled",
        frozenset({"health.check_failed"}),
        "a process that is kept from the processor answers late",
    ),
    _rule(
        "memory.of_group",
        frozenset({"presence.restarts"}),
        "processes of a full control group are killed, and started again",
    ),
)
