"""What to do about findings of a host that tell of slowness or of a shortage."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.analysis.remedy import Remedy

_LOOKING = "none: only looking"


def _of(
    resource: str, text: str, effort: str, effect: str, risk: str = "low", *, slows: bool = True
) -> Remedy:
    return Remedy(
        resource=resource, text=text, effort=effort, risk=risk, effect=effect, slows=slows, is_short=True
    )


_MEMORY = _of(
    "memory",
    "Find what takes the memory and end or bound it, or give the host more",
    "some minutes; more memory takes a restart of a machine",
    "work no longer waits for memory",
)
_LINKS = _of(
    "network",
    "Find where packets get lost: card, cable, switch, or a full queue",
    "some minutes of looking",
    "nothing waits for packets to be sent again",
    _LOOKING,
)

REMEDIES: Mapping[str, Remedy] = {
    "processor.pressure": _of(
        "processors",
        "Find what takes the processors and move it, bound it or have it wait; or give the host more",
        "some minutes; moving takes planning",
        "work no longer waits for a processor",
    ),
    "processor.steal": _of(
        "processors",
        "Move the machine to a less crowded host",
        "a move of the machine",
        "all of the processors' time goes to this machine",
        "a restart of the machine",
    ),
    "processor.throttled": _of(
        "processor quota", "Raise the quota of the control group", "one setting", "nothing is held back"
    ),
    "memory.pressure": _MEMORY,
    "memory.swapping": _MEMORY,
    "memory.low": _MEMORY.model_copy(update={"slows": False}),
    "memory.oom_kill": _MEMORY.model_copy(update={"slows": False}),
    "disk.slow": _of(
        "disk {about}",
        "Find who reads and writes most (iotop -o), and have it do so less, later or elsewhere",
        "some minutes; another disk takes planning",
        "work no longer waits for the disk",
    ),
    "disk.space": _of(
        "disk space {about}",
        "Let go of files that nobody needs, or make the file system larger",
        "some minutes",
        "there is room again",
        "what is deleted is gone: a quarantine first",
        slows=False,
    ),
    "disk.filling": _of(
        "disk space {about}",
        "Find what grows (du -x) and bound it before the file system is full",
        "some minutes",
        "it stays below its limit",
        slows=False,
    ),
    "disk.inodes": _of(
        "inodes {about}", "Let go of many small files", "some minutes", "there is room again", slows=False
    ),
    "files.old": _of(
        "disk space {about}",
        "Move files that may go into quarantine",
        "one plan",
        "their space is free once the quarantine is emptied",
        "they can be brought back from the quarantine until then",
        slows=False,
    ),
    "backups.not_kept": _of(
        "disk space {about}",
        "Remove backups that retention does not keep",
        "one plan",
        "their space is free",
        "a backup that is removed is gone",
        slows=False,
    ),
    "network.resent": _LINKS,
    "network.errors": _LINKS,
    "network.accept_queue": _of(
        "accept queues",
        "Find which program does not accept, and give its queue more room",
        "some minutes; one setting",
        "connections are no longer turned away",
    ),
    "network.half_closed": _of(
        "connections",
        "Have the program close its connections; a restart of it gives back what they take",
        "a change of the program; a restart",
        "no connection takes a descriptor for ever",
        slows=False,
    ),
    "network.conntrack": _of(
        "connection tracking", "Raise the limit, or track less", "one setting", "no packet is dropped for it"
    ),
    "network.ports": _of(
        "ports",
        "Have programs keep connections open, or widen the range of ports",
        "a change of the program; one setting",
        "new connections find a port",
        slows=False,
    ),
    "tables.files": _of(
        "file descriptors",
        "Find who holds so many files open",
        "some minutes",
        "files can be opened",
        slows=False,
    ),
    "programs.descriptors": _of(
        "file descriptors",
        "Raise the limit of the program, and find what it opens and never closes",
        "one setting and a restart",
        "it can open files and connections again",
        slows=False,
    ),
    "programs.zombies": _of(
        "children",
        "Have the program wait for its children; a restart of it lets them go",
        "a change of the program; a restart",
        "their places in the kernel's table are free",
        slows=False,
    ),
    "tables.threads": _of(
        "threads", "Find who starts so many threads", "some minutes", "threads can be started", slows=False
    ),
}
