"""Which findings about a process are signs of which of the guide's issues."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.analysis.symptoms import SYMPTOMS, rule_of
from medic8.model.issue import IssueType

_CPU, _PRESSURE, _IO = ((symptom,) for symptom in SYMPTOMS[IssueType.RESOURCE_EXHAUSTION])

RULES = (
    rule_of(
        IssueType.NETWORK,
        "{target} does not run, or cannot be looked at",
        UNREACHABLE,
        symptoms=("Connection failures", "Timeout errors"),
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} is started again and again",
        "presence.restarts",
        symptoms=("Connection failures",),
        cause="It ends soon after each start: its log tells why.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} has ended, and does not run any more",
        "presence.ended",
        symptoms=("Connection failures",),
        cause="It ended by itself or was killed: its log, or the kernel's, tells why.",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} does not run: its supervisor has given it up",
        "presence.gave_up",
        symptoms=("Connection failures",),
        cause="It could not be started, or ended soon after each start: its log tells why.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} does not do its work",
        "health.check_failed",
    ),
    rule_of(
        IssueType.NETWORK,
        "{target} does not accept connections at {about}",
        "descriptors.accept_queue",
        symptoms=("Connection failures", "Timeout errors"),
        cause="It runs, and does something else than to accept them, or serves too slowly.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} is stopped",
        "activity.stopped",
        symptoms=("Operation timeouts",),
        cause="A signal, a debugger or a freezer holds it; who sent a signal is not told.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} hangs in the kernel",
        "activity.stuck",
        symptoms=("Operation timeouts",),
        cause="A disk, a driver or a server of files does not answer.",
    ),
    rule_of(
        IssueType.SLOW_OPERATIONS,
        "{target} is kept from the processor",
        "activity.throttled",
        symptoms=("High latency", "Poor response times"),
        cause="The quota of its control group is used up before the period is over.",
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} takes ever more: {about}",
        "growth.memory",
        "growth.descriptors",
        "growth.threads",
        "growth.children",
        cause="The program keeps what it does not need any more, or it is given ever more to do.",
    ),
    rule_of(
        IssueType.MEMORY_LEAK,
        "{target} does not close connections that others have closed",
        "descriptors.half_closed",
        symptoms=("Degraded performance",),
        cause="The program does not close a connection when the other end does.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} keeps files that were deleted",
        "descriptors.deleted_files",
        symptoms=_IO,
        cause="Its logs were rotated, and it still writes into those that are gone.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} fills a disk: {about}",
        "growth.log",
        symptoms=_IO,
        cause="Nobody rotates it, and it is written to more than its disk can take.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of {about}",
        "memory.of_host",
        "memory.of_group",
        "memory.address_space",
        "memory.swapped",
        symptoms=_PRESSURE,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} is running out of {about}",
        "descriptors.near_limit",
        "activity.group_pids",
        "activity.user_threads",
        symptoms=_IO,
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} takes {about} of the whole host",
        "activity.hog",
        "activity.disk_hog",
        symptoms=(*_CPU, *_IO),
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} keeps {about} busy with nothing",
        "activity.spins",
        symptoms=_CPU,
        cause="A loop asks again and again for what does not come, such as of a connection that was closed.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "{target} leaves children behind",
        "activity.zombies",
        symptoms=_PRESSURE,
        cause="The program does not wait for processes that it has started.",
    ),
    rule_of(
        IssueType.RESOURCE_EXHAUSTION,
        "The data of {target} has no fresh backup",
        "data.backup_old",
        symptoms=_IO,
    ),
)
