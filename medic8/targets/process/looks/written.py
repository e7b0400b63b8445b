"""Files that a process writes on and on: logs that nobody rotates, and those that were deleted under it."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from medic8.analysis.judging import fact, over
from medic8.analysis.trends import Shape, growth_of
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown, size, span
from medic8.targets.process.living import GoneError, Living, UntoldError, lines_of
from medic8.targets.process.looks.family import family_of
from medic8.targets.process.policy import LEAST_LOG_BYTES, POLICY, ProcessPolicy

#: Of more descriptors of one process the rest is not looked at.
_MOST_LOOKED_AT = 1024

#: A file that was deleted is written to if it is larger in so many looks than in the one before.
_LEAST_GAINS = 3

_DELETED = " (deleted)"
_STANDARD = frozenset({"1", "2"})
_LOG = re.compile(r"\.(log|out|err)\b|(^|/)(log|stdout|stderr)")
_DAY_S = timedelta(days=1).total_seconds()


class File(NamedTuple):
    """
    A file that is open for writing alone.

    Attributes:
        path: Where it is, or was.
        is_deleted: Whether it has no name any more.
        is_log: Whether it is written as logs are: at its end, as the standard output, or by its name.
        size: Bytes.
        free_bytes: What programs may still write to its file system.
    """

    path: str
    is_deleted: bool
    is_log: bool
    size: int
    free_bytes: int


#: By the numbers of its file system and of itself.
Files = Mapping[tuple[int, int], File]


def files_of(process: Living) -> Files:
    """What *process* and its descendants write; what may not be seen is left out."""
    found: dict[tuple[int, int], File] = {}
    with family_of(process) as family:
        for each in family:
            try:
                found |= dict(_files_of(each))
            except (GoneError, UntoldError):
                continue
    return found


def _files_of(process: Living) -> Iterator[tuple[tuple[int, int], File]]:
    for name in process.names("fd")[:_MOST_LOOKED_AT]:
        try:
            leads_to = process.link(f"fd/{name}")
            if not leads_to.startswith("/") or leads_to.startswith(("/dev/", "/proc/")):
                continue
            flags = int(lines_of(process.read(f"fdinfo/{name}")).get("flags", "0"), 8)
            if flags & os.O_ACCMODE != os.O_WRONLY:
                continue
            link = f"/proc/{process.pid}/fd/{name}"
            told, room = Path(link).stat(), os.statvfs(link)
        except (UntoldError, OSError):
            continue  # it was closed meanwhile
        path = leads_to.removesuffix(_DELETED)
        is_log = bool(flags & os.O_APPEND) or name in _STANDARD or bool(_LOG.search(path))
        yield (
            (told.st_dev, told.st_ino),
            File(path, not told.st_nlink, is_log, told.st_size, room.f_bavail * room.f_frsize),
        )


def judge_written(
    seen: Sequence[tuple[float, Files]], policy: ProcessPolicy = POLICY, *, rotates_itself: bool = False
) -> tuple[Finding, ...]:
    """
    Whether a log grows that nobody rotates, or one that has no name any more.

    Args:
        seen: The files at moments of a watch, each with its time in seconds, the oldest first.
        policy: What to hold it against.
        rotates_itself: Whether the program writes its files anew by itself, as data servers do.
    """
    found: tuple[Finding, ...] = ()
    for file, last in seen[-1][1].items() if seen else ():
        told = [(at_s, files[file].size) for at_s, files in seen if file in files]
        if last.is_deleted:
            found += _judge_deleted(last, told)
        elif last.is_log and not rotates_itself and not has_old_ones(last.path):
            found += _judge_log(last, told, policy)
    return found


def _judge_deleted(file: File, told: Sequence[tuple[float, int]]) -> tuple[Finding, ...]:
    sizes = [each for _, each in told]
    gains = sum(later > earlier for earlier, later in itertools.pairwise(sizes))
    if gains < _LEAST_GAINS:
        return ()
    return fact(
        "descriptors.deleted_files",
        Severity.WARNING,
        "it goes on writing to a file that was deleted: nobody can read that, and its room is not free",
        about="deleted files",
        evidence=(Evidence(what=shown(file.path, 300), seen=size(file.size)),),
        advice=(
            "have it open its logs again after they were rotated: copytruncate or a signal in postrotate",
        ),
        objects=({"bytes": file.size, "files": 1},),
    )


def _judge_log(file: File, told: Sequence[tuple[float, int]], policy: ProcessPolicy) -> tuple[Finding, ...]:
    growth = growth_of([at_s for at_s, _ in told], [float(each) for _, each in told])
    if growth is None or growth.shape is not Shape.GROWS or growth.least_rise < LEAST_LOG_BYTES:
        return ()
    full_s = file.free_bytes / growth.least_per_s
    path = shown(file.path, 300)
    return over(
        "growth.log",
        policy.log_fills,
        full_s / _DAY_S,
        f"{path} grows by {size(growth.per_s * 3600)} an hour, and nobody rotates it: its file system is "
        f"full in {span(full_s)} if it goes on",
        about=f"log {path}",
        also=(
            Evidence(what="size", seen=size(file.size)),
            Evidence(what="watched for", seen=span(growth.span_s)),
            Evidence(what="free for programs", seen=size(file.free_bytes)),
        ),
        advice=(
            "have it rotated: a file in /etc/logrotate.d with size and copytruncate",
            f"tail {path}   # what it repeats so often; a lower log level may be all it takes",
        ),
    )


def has_old_ones(path: str) -> bool:
    """Whether beside a log lie older ones of its name, as ``web.log.1``: then somebody rotates it."""
    file = Path(path)
    try:
        names = {each.name for each in file.parent.iterdir()}
    except OSError:
        return False
    return any(re.fullmatch(rf"{re.escape(file.stem)}.*\d.*", each) for each in names - {file.name})
