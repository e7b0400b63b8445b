"""Whether file systems are full, take no more writes, or have errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading, reading
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.host.looks.deleted import held_on, judge_deleted
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.mounts import Fill, Mount, fill_of, mounts
from medic8.targets.host.policy import ENOUGH_SPACE_BYTES, POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine

#: Keep themselves in memory: what is written there is not on a disk.
_IN_MEMORY = frozenset({"tmpfs"})


def look_at_disks(target: Target, around: Surroundings) -> DiagnosticResult:
    """Ask every local file system how full it is; read what the kernel noted of errors."""
    machine = here(target)
    policy, every = policy_of(target), mounts(machine)
    fills = {each: fill for each in every if (fill := fill_of(machine, each)) is not None}
    filled = {each: judge_fill(each, fill, policy=policy) for each, fill in fills.items()}
    full = {
        each: found[0].severity for each, found in filled.items() if found and found[0].code == "disk.space"
    }
    held = held_on(machine, {each.number for each in full})
    findings = (
        *(finding for found in filled.values() for finding in found),
        *(
            finding
            for each, severity in full.items()
            for finding in judge_deleted(each, fills[each], severity, held)
        ),
        *judge_read_only(every, wanted_by_fstab(machine)),
        *judge_errors(machine, every, policy=policy),
        *judge_raid(machine.lines("proc/mdstat")),
    )
    return result("disks", around, machine, tuple(_readings(fills)), findings)


def _readings(fills: Mapping[Mount, Fill]) -> Iterator[Reading | None]:
    for mount, fill in fills.items():
        if mount.is_read_only:
            continue
        used, inodes = fill.used, fill.used_inodes
        yield reading(f"disk.used.{mount.folder}", None if used is None else round(used, 4), "ratio")
        yield reading(f"disk.free.{mount.folder}", fill.free_bytes, "bytes")
        yield reading(f"disk.inodes.{mount.folder}", None if inodes is None else round(inodes, 4), "ratio")


def judge_fill(mount: Mount, fill: Fill, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether *mount* runs out of space or inodes; what takes no writes runs out of nothing."""
    if mount.is_read_only:
        return ()
    is_enough = fill.free_bytes >= ENOUGH_SPACE_BYTES
    in_memory = " (in memory)" if mount.kind in _IN_MEMORY else ""
    return (
        *over(
            "disk.space",
            policy.space,
            None if is_enough else fill.used,
            f"{{seen}} of the space of {mount.folder} is used",
            about=mount.folder,
            advice=(
                f"du -xh --max-depth=2 {mount.folder} | sort -h | tail   # what takes it",
                f"lsof +L1 {mount.folder}   # deleted files that a program still holds open",
            ),
            also=(
                Evidence(what="free for programs", seen=size(fill.free_bytes)),
                Evidence(what="file system", seen=f"{mount.kind}{in_memory} on {mount.device}"),
            ),
        ),
        *over(
            "disk.inodes",
            policy.inodes,
            fill.used_inodes,
            f"{{seen}} of the inodes of {mount.folder} are used: no more files can be made",
            about=mount.folder,
            advice=(f"du -x --inodes --max-depth=2 {mount.folder} | sort -n | tail   # where the files are",),
            also=(Evidence(what="inodes left", seen=f"{fill.free_inodes:,}"),),
        ),
    )


def wanted_by_fstab(machine: Machine) -> dict[str, bool]:
    """Which folders /etc/fstab wants mounted, and whether for reading only."""
    found = {}
    for line in machine.lines("etc/fstab"):
        words = line.split("#", 1)[0].split()
        if len(words) >= 4:  # noqa: PLR2004 - the columns of the file
            found[words[1]] = "ro" in words[3].split(",")
    return found


def judge_read_only(every: tuple[Mount, ...], wanted: Mapping[str, bool]) -> tuple[Finding, ...]:
    """Which file systems take no writes that /etc/fstab wants written to, as the kernel does after errors."""
    found: list[Finding] = []
    for each in every:
        takes_none = each.options & {"ro", "emergency_ro", "shutdown"}
        if not takes_none or wanted.get(each.path, True):
            continue
        found += fact(
            "disk.read_only",
            Severity.ERROR,
            f"{each.folder} takes no writes, and /etc/fstab wants it written to",
            about=each.folder,
            evidence=(
                Evidence(what="options", seen=", ".join(sorted(takes_none)), limit="rw"),
                Evidence(what="file system", seen=f"{each.kind} on {each.device}"),
            ),
            advice=(
                f"dmesg -T | grep -i {each.device.rpartition('/')[2]}   # why; then check the disk first",
                f"umount {each.folder} && fsck {each.device} && mount {each.folder}",
            ),
        )
    return tuple(found)


def judge_errors(
    machine: Machine, every: tuple[Mount, ...], *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Which file systems have noted errors; ext4 keeps count until fsck clears it."""
    found: list[Finding] = []
    for each in every:
        count = (
            machine.number(f"sys/fs/ext4/{each.device.rpartition('/')[2]}/errors_count")
            if each.kind == "ext4"
            else 0
        )
        found += over(
            "disk.errors",
            policy.disk_errors,
            count or None,
            f"{each.folder} has noted {{seen}} errors on {each.device}",
            about=each.folder,
            advice=(
                f"smartctl -a {each.device}; dmesg -T | grep -i {each.device.rpartition('/')[2]}",
                f"back up what is on it, then umount {each.folder} && e2fsck -f {each.device}",
            ),
        )
    return tuple(found)


def judge_raid(lines: list[str]) -> tuple[Finding, ...]:
    """Which arrays of /proc/mdstat have lost a disk: ``[U_]``. Source: md(4)."""
    found: list[Finding] = []
    name = ""
    for line in lines:
        if " : active" in line:
            name = line.split(" ", 1)[0]
        state = line.rpartition("[")[2].rstrip().removesuffix("]")
        if name and state and set(state) <= {"U", "_"} and "_" in state:
            found += fact(
                "disk.degraded",
                Severity.ERROR,
                f"array {name} has lost {state.count('_')} of {len(state)} disks",
                about=f"array {name}",
                evidence=(Evidence(what="disks", seen=f"[{state}]", limit=f"[{'U' * len(state)}]"),),
                advice=(
                    f"mdadm --detail /dev/{name}; then replace the disk and mdadm --add /dev/{name} DISK",
                ),
            )
    return tuple(found)
