"""Keep a server from writing its snapshots, as root cannot either, and let it write them again."""

from __future__ import annotations

from pathlib import Path

#: What a snapshot is called, unless a configuration says otherwise.
SNAPSHOT = "dump.rdb"

#: What the snapshot of before is called while a folder is in its place.
_ASIDE = ".medic8-lab"


def block_saves(folder: Path, name: str = SNAPSHOT) -> None:
    """
    Put a folder where the snapshot is to be written: it is in the way of everybody, root included.

    Args:
        folder: The server's.
        name: The snapshot's; one that is there is kept beside it.
    """
    snapshot = folder / name
    if snapshot.is_file():
        snapshot.rename(_aside(snapshot))
    snapshot.mkdir(exist_ok=True)


def unblock_saves(folder: Path, name: str = SNAPSHOT) -> bool:
    """Take that folder away and put the snapshot of before back; says whether there was one."""
    snapshot, aside = folder / name, _aside(folder / name)
    blocked = snapshot.is_dir()
    if blocked:
        snapshot.rmdir()
    if aside.exists() and not snapshot.exists():
        aside.rename(snapshot)
    return blocked


def _aside(snapshot: Path) -> Path:
    return snapshot.with_name(f"{snapshot.name}{_ASIDE}")
