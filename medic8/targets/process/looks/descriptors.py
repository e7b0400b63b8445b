"""What the process has open, and how near to its limit that is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping

from pydantic import JsonValue

from medic8.analysis.judging import over, share
from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import shown, size
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import Living, lines_of
from medic8.targets.process.looks.accepting import full_queues, judge_accepting
from medic8.targets.process.looks.half_closed import half_closed, judge_half_closed
from medic8.targets.process.looks.limits import limits_of
from medic8.targets.process.looks.looking import Look, if_told, of_a_process
from medic8.targets.process.looks.sampling import count_descriptors
from medic8.targets.process.policy import POLICY, ProcessPolicy, policy_of

_ABOUT = "descriptors"

#: Of more than so many the rest is not told by what it is.
_MOST_LOOKED_AT = 4096

_DELETED = " (deleted)"

_EXAMPLES = 3


class Open(Frozen):
    """
    What a process has open.

    Attributes:
        count: Of descriptors.
        kinds: How many of which kind, of those that were looked at.
        deleted: By path: room that deleted files take which are still open.
    """

    count: int
    kinds: dict[str, int]
    deleted: dict[str, int]


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Count what it has open, and tell it by kind."""
    del kept
    count = look.ask("descriptors", lambda: count_descriptors(process))
    limits = look.ask("limits", lambda: limits_of(process)) or {}
    if count is None:
        return look.result()
    opened = look.ask("what is open", lambda: opened_by(process)) or Open(count=count, kinds={}, deleted={})
    most, policy = limits.get("Max open files"), policy_of(target)
    waiting = look.ask("connections", lambda: half_closed(process, policy)) or {}
    return look.result(
        (
            reading("descriptors.count", count, "count"),
            reading("descriptors.limit", None if most is None else int(most), "count"),
            *(reading(f"descriptors.{kind}", number, "count") for kind, number in opened.kinds.items()),
            reading("descriptors.half_closed", len(waiting), "count"),
            reading("descriptors.deleted_bytes", sum(opened.deleted.values()), "bytes"),
        ),
        (
            *judge_descriptors(opened, most, policy),
            *judge_half_closed(waiting, policy=policy),
            *judge_accepting(look.ask("accept queues", lambda: full_queues(process)) or ()),
        ),
    )


def opened_by(process: Living) -> Open:
    """
    What *process* has open.

    Raises:
        GoneError: it has ended.
        UntoldError: its descriptors may not be listed.
    """
    names = process.names("fd")
    kinds, deleted = Counter[str](), dict[str, int]()
    for name in names[:_MOST_LOOKED_AT]:
        with if_told():  # one that was closed meanwhile
            leads_to = process.link(f"fd/{name}")
            kinds[kind_of(leads_to)] += 1
            if leads_to.endswith(_DELETED) and leads_to.startswith("/") and _is_only_written(process, name):
                deleted[leads_to.removesuffix(_DELETED)] = process.allocated_bytes(f"fd/{name}")
    return Open(count=len(names), kinds=dict(kinds.most_common()), deleted=deleted)


def _is_only_written(process: Living, name: str) -> bool:
    """Whether a descriptor is one for writing alone, as of a log; files for a while are read as well."""
    told = lines_of(process.read(f"fdinfo/{name}"))
    return int(told.get("flags", "0"), 8) & os.O_ACCMODE == os.O_WRONLY


def kind_of(leads_to: str) -> str:
    """In one word, what a link below ``/proc/PID/fd`` leads to (proc_pid_fd(5))."""
    for start, kind in (
        ("socket:", "sockets"),
        ("pipe:", "pipes"),
        ("anon_inode:", "events"),
        ("/dev/", "devices"),
    ):
        if leads_to.startswith(start):
            return kind
    return "files"


def judge_descriptors(
    opened: Open, most: float | None, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Hold what is open against the limit, and the room of deleted files against what nobody misses.

    Args:
        opened: What is open.
        most: The limit; None without one.
        policy: What to hold it against.
    """
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in opened.kinds.items())
    found = over(
        "descriptors.near_limit",
        policy.descriptors,
        share(opened.count, most),
        f"it has {opened.count:,} descriptors open, {{seen}} of its limit",
        about=_ABOUT,
        also=(Evidence(what="open", seen=kinds or f"{opened.count:,}"),),
        advice=("LimitNOFILE= of its unit, minfds of supervisord, or ulimit -n raise the limit",),
    )
    largest = sorted(opened.deleted.items(), key=lambda each: -each[1])
    return found + over(
        "descriptors.deleted_files",
        policy.deleted_bytes,
        sum(opened.deleted.values()),
        "it keeps {seen} of the disk by files that were deleted and are still open",
        about="deleted files",
        also=tuple(Evidence(what=shown(path, 300), seen=size(taken)) for path, taken in largest[:_EXAMPLES]),
        advice=(
            "have it open its logs again after they were rotated: copytruncate or a signal in postrotate",
        ),
        objects=(_deleted(opened.deleted),) if opened.deleted else (),
    )


def _deleted(deleted: Mapping[str, int]) -> dict[str, JsonValue]:
    return {"bytes": sum(deleted.values()), "files": len(deleted)}


look_at_descriptors = of_a_process("descriptors", _look)
