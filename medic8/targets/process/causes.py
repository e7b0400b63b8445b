"""Which findings about a process lead to which others."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.causes import CauseRule

_EXHAUSTED = frozenset({"memory.of_host", "memory.of_group", "memory.address_space", "memory.swapped"})


def _rule(cause: str, effects: frozenset[str], why: str) -> CauseRule:
    return CauseRule(causes=frozenset({cause}), effects=effects, why=why)


#: The most trusted first.
CAUSES = (
    _rule("growth.memory", _EXHAUSTED, "what it takes and never gives back fills the memory"),
    _rule(
        "descriptors.half_closed",
        frozenset({"descriptors.near_limit", "growth.descriptors"}),
        "connections that it never closes fill its table",
    ),
    _rule(
        "growth.descriptors",
        frozenset({"descriptors.near_limit"}),
        "what it opens and never closes fills its table",
    ),
    _rule(
        "growth.threads",
        frozenset({"activity.group_pids", "activity.user_threads"}),
        "threads that never end take them all",
    ),
    _rule(
        "growth.children",
        frozenset({"activity.group_pids", "activity.user_threads"}),
        "children that never end take them all",
    ),
    _rule(
        "growth.children",
        frozenset({"growth.threads", "growth.descriptors", "growth.memory"}),
        "each child has threads, descriptors and memory of its own",
    ),
    _rule(
        "growth.threads",
        frozenset({"growth.descriptors", "growth.memory"}),
        "each thread has a stack, and what it works with",
    ),
    _rule("growth.descriptors", frozenset({"growth.memory"}), "each descriptor has its buffers"),
    _rule(
        "activity.stuck",
        frozenset(
            {"growth.threads", "descriptors.half_closed", "descriptors.accept_queue", "health.check_failed"}
        ),
        "threads that hang do no work, and others are started in their place",
    ),
    _rule(
        "activity.stopped",
        frozenset(
            {"activity.zombies", "descriptors.half_closed", "descriptors.accept_queue", "health.check_failed"}
        ),
        "a process that is stopped does no work, closes nothing, and waits for none of its children",
    ),
    _rule(
        "activity.throttled",
        frozenset({"descriptors.accept_queue", "health.check_failed"}),
        "a process that is kept from the processor answers late",
    ),
    _rule(
        "descriptors.near_limit",
        frozenset({"descriptors.accept_queue", "health.check_failed"}),
        "a process that may open nothing more accepts no connection either",
    ),
    _rule(
        "health.check_failed",
        frozenset({"descriptors.accept_queue"}),
        "a process that does not do its work leaves connections where they wait",
    ),
    _rule(
        "memory.of_group",
        frozenset({"presence.restarts"}),
        "processes of a full control group are killed, and started again",
    ),
)

#: By the kind of what a process runs on.
CAUSES_BENEATH: Mapping[str, tuple[CauseRule, ...]] = {
    "host": (
        CauseRule(
            causes=frozenset({"memory.low", "memory.oom_kill"}),
            effects=frozenset(
                {UNREACHABLE, "presence.ended", "presence.restarts", "memory.of_host", "memory.swapped"}
            ),
            why="A host without memory swaps its processes out, and kills them in the end.",
        ),
        CauseRule(
            causes=frozenset({"disk.slow", "disk.errors", "disk.read_only"}),
            effects=frozenset({"activity.stuck"}),
            why="A process that waits for a disk hangs in the kernel.",
        ),
        CauseRule(
            causes=frozenset({"tables.threads", "tables.files"}),
            effects=frozenset({"health.check_failed", "presence.restarts"}),
            why="A host whose tables are full refuses new threads and files to every process.",
        ),
    )
}
