"""Which findings about a host lead to which others."""

from __future__ import annotations

from medic8.analysis.causes import CauseRule

_ROOM = frozenset({"disk.space", "disk.inodes", "disk.filling"})

CAUSES = (
    CauseRule(
        causes=frozenset({"files.old", "files.overdue", "backups.not_kept"}),
        effects=_ROOM,
        why="What may go still takes room.",
    ),
    CauseRule(
        causes=frozenset({"disk.deleted_files"}),
        effects=_ROOM,
        why="A file that was deleted takes its room until nobody has it open.",
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
    ),
)
