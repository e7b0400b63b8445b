"""Which kind of file system a file lies on."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")

#: By the names that Linux mounts them under (``/proc/filesystems``, and FUSE's own).
_OF_A_NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "glusterfs",
        "lustre",
        "ocfs2",
        "gfs2",
        "beegfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.davfs",
        "davfs",
    }
)


def network_file_system(file: Path, mounts: str | None = None) -> str:
    """
    The name of the network file system that *file* lies on; empty if it is a local one, or nothing tells.

    Args:
        file: It need not exist.
        mounts: What ``/proc/self/mountinfo`` says (proc(5)); None reads it.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text()
        except OSError:
            return ""
    path = os.path.realpath(file)
    best, kind = -1, ""
    for line in mounts.splitlines():
        mounted, _, rest = line.partition(" - ")
        fields = mounted.split(" ")
        if len(fields) < 5 or not rest:  # noqa: PLR2004 - the mount point is the fifth
            continue
        point = _unescaped(fields[4])
        is_below = path == point or path.startswith(point.rstrip("/") + "/")
        # Of mounts over each other, the last one is seen.
        if is_below and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return kind if kind in _OF_A_NETWORK else ""


def _unescaped(point: str) -> str:
    """A mount point as the kernel writes it, with blanks and the like as octal digits."""
    return point.encode("utf-8", "surrogateescape").decode("unicode_escape") if "\\" in point else point
