"""What to do about findings of a process that tell of slowness or of a shortage."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.analysis.remedy import Remedy


def _of(
    resource: str,
    text: str,
    effort: str,
    effect: str,
    risk: str = "low",
    *,
    slows: bool,
    is_short: bool = True,
) -> Remedy:
    return Remedy(
        resource=resource, text=text, effort=effort, risk=risk, effect=effect, slows=slows, is_short=is_short
    )


_RESTART = "a restart interrupts its work"
_GROWS = _of(
    "{about}",
    "Start it again before it is full, and find what it keeps",
    "a restart; the leak is a change of the program",
    "it begins anew at what it takes after a start",
    _RESTART,
    slows=False,
)
_MEMORY = _of(
    "memory",
    "Find what takes its memory, or give it more",
    "some minutes; one setting",
    "it is neither killed nor swapped out",
    slows=False,
)

REMEDIES: Mapping[str, Remedy] = {
    "activity.throttled": _of(
        "processor quota",
        "Raise the quota of its control group",
        "one setting",
        "it is not held back",
        slows=True,
    ),
    "activity.stuck": _of(
        "disk or driver in the kernel",
        "Find what its threads wait for in the kernel: a disk, a driver, a server of files",
        "some minutes of looking",
        "its threads go on",
        "none: only looking",
        slows=True,
        is_short=False,
    ),
    "activity.stopped": _of(
        "the process itself",
        "Find who stopped it, and have it go on",
        "one signal",
        "it does its work again",
        "whoever stopped it may have had a reason",
        slows=True,
        is_short=False,
    ),
    "activity.hog": _of(
        "processors of the host",
        "Give it less weight, or find what it computes",
        "one setting; a change of the program",
        "others on the host get their processor time",
        "it gets slower itself",
        slows=True,
    ),
    "health.check_failed": _of(
        "the process itself",
        "Start it again if its check goes on failing, and read its log",
        "a restart",
        "it does its work after a start",
        _RESTART,
        slows=True,
        is_short=False,
    ),
    "memory.swapped": _MEMORY.model_copy(update={"slows": True}),
    "memory.of_host": _MEMORY,
    "memory.of_group": _MEMORY,
    "memory.address_space": _MEMORY,
    "descriptors.near_limit": _of(
        "file descriptors",
        "Raise its limit, and find what it opens and never closes",
        "one setting and a restart",
        "it can open files and connections again",
        _RESTART,
        slows=False,
    ),
    "activity.group_pids": _of(
        "tasks of its control group",
        "Raise the limit of its control group, or find who starts so many threads",
        "one setting",
        "threads can be started again",
        slows=False,
    ),
    "activity.user_threads": _of(
        "tasks of its user",
        "Raise the limit of its user, or find who of that user has so many threads",
        "one setting and a restart",
        "threads can be started again",
        _RESTART,
        slows=False,
    ),
    "growth.memory": _GROWS,
    "growth.descriptors": _GROWS,
    "growth.threads": _GROWS,
    "growth.children": _GROWS,
}
