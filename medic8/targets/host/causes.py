"""Which findings about a host lead to which others."""

from __future__ import annotations

from medic8.analysis.causes import CauseRule, Clue, Results

_ROOM = frozenset({"disk.space", "disk.inodes", "disk.filling"})

#: Where what takes room lies, by the words before it.
_LIES_IN = ("old files of ", "quarantine of ", "deleted files on ")
_FREE = "disk.free."


def _on_one_disk(results: Results, cause: str, effect: str) -> bool | None:
    """Whether what takes room lies on the file system that is short of it."""
    folder = next((cause.removeprefix(words) for words in _LIES_IN if cause.startswith(words)), None)
    disks = results.get("disks")
    if folder is None or disks is None:
        return None
    mounts = [each.name.removeprefix(_FREE) for each in disks.readings if each.name.startswith(_FREE)]
    above = [each for each in mounts if f"{folder}/".startswith(f"{each.rstrip('/')}/")]
    return max(above, key=len) == effect if above else None


def _is_a_queue_full(results: Results) -> bool | None:
    """Whether one was seen to be; None where none was looked at."""
    codes = {finding.code for result in results.values() for finding in result.findings}
    return True if "network.accept_queue" in codes else None


CAUSES = (
    CauseRule(
        causes=frozenset({"files.old", "files.overdue", "backups.not_kept"}),
        effects=_ROOM,
        why="What may go still takes room.",
        of_one=_on_one_disk,
    ),
    CauseRule(
        causes=frozenset({"disk.deleted_files"}),
        effects=_ROOM,
        why="A file that was deleted takes its room until nobody has it open.",
        of_one=_on_one_disk,
    ),
    CauseRule(
        causes=frozenset({"memory.pressure", "memory.swapping", "memory.low"}),
        effects=frozenset({"disk.slow"}),
        why="What does not fit into memory is read from disks again and again.",
    ),
    CauseRule(
        causes=frozenset({"network.accept_queue"}),
        effects=frozenset({"network.resent"}),
        why="A full queue drops what would complete a connection, and both ends send it again.",
        # On a quiet host hardly anything else is sent, so that the share of what is sent again is high.
        clues=(Clue("A queue is full.", "No queue is full.", _is_a_queue_full),),
    ),
)
