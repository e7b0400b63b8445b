"""Which file systems are mounted here, and how full they are; those of other machines are left alone."""

from __future__ import annotations

import os
from typing import NamedTuple

from medic8.model.wording import visible
from medic8.targets.machine.files import Machine

#: A server that is gone would hold up whoever asks for one of these.
_OF_NETWORK = frozenset(["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "afs", "9p"])

#: Files that hold nothing, and images that are full by their nature.
_NONE = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "cramfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "erofs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
        "udf",
    ]
)

#: Shows folders of another file system, which is looked at by itself: of each container here once more. That
#: of a container itself is all that it sees of it.
_OF_ANOTHER = "overlay"

#: What is mounted there holds folders of the kernel's files and nothing else.
_OF_KERNEL = ("/sys/", "/proc/")

#: More are not looked at.
_MOST = 200


class Mount(NamedTuple):
    """
    One mounted file system.

    Attributes:
        folder: Where, fit to be shown.
        path: The same, for the system.
        kind: Such as ``ext4``.
        device: Such as ``/dev/sda1``; whatever it calls itself where there is none.
        number: Its device's number, ``8:1``.
        is_read_only: Whether the file system itself takes no writes, or this mount of it.
        options: Of the file system itself.
    """

    folder: str
    path: str
    kind: str
    device: str
    number: str
    is_read_only: bool
    options: frozenset[str]


class Fill(NamedTuple):
    """
    How full a file system is.

    Attributes:
        used_bytes: What is used.
        free_bytes: What anybody but root may still take.
        inodes: How many files it can hold; 0 = as many as there is space for.
        free_inodes: How many more.
    """

    used_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int

    @property
    def used(self) -> float | None:
        """The share of the space that is used, as df(1) has it; None if there is none."""
        whole = self.used_bytes + self.free_bytes
        return self.used_bytes / whole if whole else None

    @property
    def used_inodes(self) -> float | None:
        """The share of the inodes that are used; None if there is no limit."""
        return (self.inodes - self.free_inodes) / self.inodes if self.inodes else None


def mounts(machine: Machine) -> tuple[Mount, ...]:
    """Every local file system once, by the first place where it is mounted."""
    found, skipped = dict[str, Mount](), list[str]()
    for line in machine.lines("proc/self/mountinfo", what="file systems"):
        first, _, second = line.partition(" - ")
        head, tail = first.split(" "), second.split(" ")
        if len(head) < 6 or len(tail) < 3:  # noqa: PLR2004 - the columns of the file
            continue
        kind, path = tail[0], _unescaped(head[4])
        if kind in _OF_NETWORK or (kind.startswith("fuse") and kind != "fuseblk"):
            skipped.append(visible(path))
        elif kind == _OF_ANOTHER and path != "/":
            continue
        elif kind not in _NONE and not path.startswith(_OF_KERNEL):
            options = frozenset(tail[2].split(","))
            # What is mounted later over the same folder hides what was there.
            found[path] = Mount(
                folder=visible(path),
                path=path,
                kind=kind,
                device=_unescaped(tail[1]),
                number=head[2],
                is_read_only="ro" in options or "ro" in head[5].split(","),
                options=options,
            )
    if skipped:
        machine.unseen.append(
            "file systems of other machines, whose silence would hold the look up: "
            f"{', '.join(sorted(skipped)[:10])}"
        )
    by_number: dict[str, Mount] = {}
    for each in found.values():
        by_number.setdefault(each.number, each)
    if len(by_number) > _MOST:
        machine.unseen.append(f"file systems: only the first {_MOST} of {len(by_number)} were looked at")
    return tuple(by_number.values())[:_MOST]


def fill_of(machine: Machine, mount: Mount) -> Fill | None:
    """How full *mount* is; None if that may not be seen."""
    try:
        told = os.statvfs(mount.path)
    except OSError as exc:
        machine.unseen.append(f"space of {mount.folder}: {exc.strerror or exc}")
        return None
    return Fill(
        used_bytes=(told.f_blocks - told.f_bfree) * told.f_frsize,
        free_bytes=told.f_bavail * told.f_frsize,
        inodes=told.f_files,
        free_inodes=told.f_favail,
    )


def mount_of(every: tuple[Mount, ...], device: int) -> Mount | None:
    """The mount whose file system has the device's number *device* (``st_dev``); None if there is none."""
    number = f"{os.major(device)}:{os.minor(device)}"
    return next((each for each in every if each.number == number), None)


def _unescaped(text: str) -> str:
    r"""What the kernel wrote with ``\040`` for a space. Source: proc_pid_mountinfo(5)."""
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(written, meant)
    return text
