"""Clear away what commands and servers that were killed left half done on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from medic8.local.records import StackRecord

#: Names under which things are made before they get their own, by the folder they are made in.
_HALF_DONE = {
    ".": (".local.json.*", ".medic8.toml.*", ".alerts.token.*", ".prefect.password.*"),
    "servers": (".postgres.*", ".postgres-socket.*", ".valkey.*", ".valkey-socket.*"),
    "servers/programs": (".*",),
    "servers/postgres": ("new-*",),
    "servers/postgres/data": (".postmaster.*",),
    "servers/valkey": (".valkey.conf.*",),
}
#: What Valkey is writing while it saves: as large as its data, and never looked at again once it is killed.
_HALF_SAVED = ("temp-*.rdb", "temp-*.aof")


def clear_leftovers(home: Path, record: StackRecord) -> None:
    """
    Remove what was being made when its maker died; whole things have other names.

    Args:
        home: Held by us, and nobody makes anything there: strays are stopped.
        record: Tells which servers run, and may be writing.
    """
    for folder, patterns in _HALF_DONE.items():
        _remove(home / folder, patterns)
    if not record.is_alive("valkey"):
        _remove(home / "servers" / "valkey", _HALF_SAVED)


def _remove(folder: Path, patterns: tuple[str, ...]) -> None:
    # Resolved, since what is in "servers" may lie elsewhere.
    for left in [each for pattern in patterns for each in folder.resolve().glob(pattern)]:
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
