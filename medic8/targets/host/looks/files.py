"""Files that the configuration lets go when their file system fills up, and those in quarantine."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue

from medic8.analysis.judging import fact
from medic8.errors import RefusedError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import PruneRule, Target
from medic8.model.wording import counted, moment, size, span
from medic8.targets.host.acts.files import OneFile
from medic8.targets.host.folders import QUARANTINE, Folder, opened, state_in
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.policy import POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine

#: Most entries of one folder that are looked at, and for how long.
_MOST_ENTRIES, _LONGEST_S = 50_000, 1.0

#: Folders within folders are looked into so deep.
_DEEPEST = 16

#: Most files that one plan moves or deletes.
MOST_FILES = 100

_SECTOR_BYTES = 512


class Found(NamedTuple):
    """
    A file of a folder.

    Attributes:
        names: Folders within the folder, and its name.
        told: What stat(2) tells of it.
    """

    names: tuple[bytes, ...]
    told: os.stat_result

    @property
    def takes_bytes(self) -> int:
        """What it takes on the disk."""
        return self.told.st_blocks * _SECTOR_BYTES


class Filled(NamedTuple):
    """
    How full the file system of a folder is.

    Attributes:
        space: Share of its space that is used; None if it has none.
        inodes: Share of its inodes that are used; None if there is no limit.
    """

    space: float | None
    inodes: float | None

    def is_crowded(self, policy: HostPolicy) -> bool:
        """Whether files should go."""
        return any(policy.crowded.severity(each) is not None for each in self)

    @property
    def in_words(self) -> str:
        """Both shares."""
        told = (("space", self.space), ("inodes", self.inodes))
        return ", ".join(f"{each:.0%} of the {name}" for name, each in told if each is not None)


def look_at_files(target: Target, around: Surroundings) -> DiagnosticResult:
    """Look through the folders that the configuration names; links are not followed, nothing is opened."""
    machine = here(target)
    readings, findings = [], list[Finding]()
    for rule in target.prune:
        try:
            with opened(rule.folder) as folder:
                old, kept = look_into(folder, rule, around.now, machine)
                how_full = filled(folder)
                if old and how_full.is_crowded(policy_of(target)):
                    old = without_open(old, folder, machine)
        except RefusedError as exc:
            machine.unseen.append(str(exc))
            continue
        readings += [
            reading(f"files.old.{rule.folder}", len(old), "count"),
            reading(f"files.old_bytes.{rule.folder}", sum(each.takes_bytes for each in old), "bytes"),
            reading(f"files.kept.{rule.folder}", len(kept), "count"),
            reading(f"files.kept_bytes.{rule.folder}", sum(each.takes_bytes for each in kept), "bytes"),
        ]
        findings += judge_old(rule, old, how_full, around.now, policy=policy_of(target))
        findings += judge_kept(rule, kept, how_full, around.now, policy=policy_of(target))
    return result("files", around, machine, readings, findings)


def look_into(
    folder: Folder, rule: PruneRule, now: datetime, machine: Machine
) -> tuple[list[Found], list[Found]]:
    """Files that the rule lets go, and files in quarantine; what was left out is said."""
    left_out = Counter[str]()
    until_s = time.perf_counter() + _LONGEST_S
    old = []
    for found in _walk(folder, (), left_out, until_s, deep=rule.recurse):
        name = os.fsdecode(found.names[-1])
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in rule.patterns):
            continue
        if now.timestamp() - found.told.st_mtime < rule.older_than:
            continue
        if found.told.st_nlink != 1:
            left_out["files with other names too"] += 1
            continue
        old.append(found)
    kept = []
    with contextlib.suppress(FileNotFoundError, RefusedError):
        kept = list(_walk(folder, (QUARANTINE.encode(),), Counter(), until_s, deep=True))
    if left_out:
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(left_out.items()))
        machine.unseen.append(f"folder {rule.folder}: left alone were {told}")
    return old, kept


def without_open(old: list[Found], folder: Folder, machine: Machine) -> list[Found]:
    """
    *old* without files that a process has open, as far as its descriptors may be seen.

    Whether one is open is decided when it is moved; this keeps a plan from ending at one that always is.
    """
    busy = open_inodes(machine, folder.device)
    free = [each for each in old if each.told.st_ino not in busy]
    if len(free) < len(old):
        machine.unseen.append(
            f"folder {folder.path}: left alone: {counted(len(old) - len(free), 'open file')}"
        )
    return free


def open_inodes(machine: Machine, device: int) -> frozenset[int]:
    """The numbers of the files of a file system that processes have open, as far as that is seen in time."""
    found = set[int]()
    until_s = time.perf_counter() + _LONGEST_S
    for process in machine.names("proc"):
        if not process.isdigit():
            continue
        for name in machine.names(f"proc/{process}/fd"):
            with contextlib.suppress(OSError):
                told = machine.path(f"proc/{process}/fd/{name}").stat()
                if told.st_dev == device:
                    found.add(told.st_ino)
            if time.perf_counter() > until_s:
                return frozenset(found)
    return frozenset(found)


def _walk(
    folder: Folder, start: tuple[bytes, ...], left_out: Counter[str], until_s: float, *, deep: bool
) -> Iterator[Found]:
    waiting, looked = [start], 0
    while waiting:
        names = waiting.pop()
        with folder.within(names) as held, os.scandir(held) as entries:
            for entry in entries:
                looked += 1
                if looked > _MOST_ENTRIES or time.perf_counter() > until_s:
                    left_out[f"all after the first {looked - 1:,} entries"] += 1
                    return
                name = os.fsencode(entry.name)
                try:
                    told = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it vanished
                if stat.S_ISREG(told.st_mode) and told.st_dev == folder.device:
                    yield Found((*names, name), told)
                elif not stat.S_ISDIR(told.st_mode):
                    left_out["links and other things that are no files"] += 1
                elif told.st_dev != folder.device:
                    left_out["folders on other file systems"] += 1
                elif deep and name != QUARANTINE.encode() and len(names) < _DEEPEST:
                    waiting.append((*names, name))


def filled(folder: Folder) -> Filled:
    """How full the file system of *folder* is."""
    told = os.fstatvfs(folder.descriptor)
    used, whole = told.f_blocks - told.f_bfree, told.f_blocks - told.f_bfree + told.f_bavail
    inodes = (told.f_files - told.f_favail) / told.f_files if told.f_files else None
    return Filled(used / whole if whole else None, inodes)


def judge_old(
    rule: PruneRule, old: Sequence[Found], how_full: Filled, now: datetime, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Files that may go, if their file system is crowded; the largest are named: few steps help much."""
    if not old or not how_full.is_crowded(policy):
        return ()
    chosen = sorted(old, key=lambda each: (-each.takes_bytes, each.names))[:MOST_FILES]
    taken = size(sum(each.takes_bytes for each in old))
    return fact(
        "files.old",
        Severity.WARNING,
        f"{counted(len(old), 'file')} of {rule.folder} may go: nothing was written to them for "
        f"{span(rule.older_than)}",
        about=f"old files of {rule.folder}",
        evidence=(
            Evidence(what="they take", seen=taken),
            Evidence(what="used on their file system", seen=how_full.in_words, limit=policy.crowded.limits),
            Evidence(what="in quarantine they still take it, until", seen=_soon(rule, now)),
        ),
        advice=(f"medic8 heal moves them to {rule.folder}/{QUARANTINE}, if prune_files is allowed",),
        objects=tuple(_object(rule, each) for each in chosen),
        extent=len(old),
    )


def judge_kept(
    rule: PruneRule, kept: Sequence[Found], how_full: Filled, now: datetime, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Files whose time in quarantine is over, where they are to be deleted, or their room is needed."""
    over = [each for each in kept if now.timestamp() - each.told.st_ctime >= rule.keep]
    if not over or not (rule.delete or how_full.is_crowded(policy)):
        return ()
    chosen = sorted(over, key=lambda each: (-each.takes_bytes, each.names))[:MOST_FILES]
    return fact(
        "files.overdue",
        Severity.WARNING,
        f"{counted(len(over), 'file')} of {rule.folder} lie in quarantine for over {span(rule.keep)}",
        about=f"quarantine of {rule.folder}",
        evidence=(
            Evidence(what="they take", seen=size(sum(each.takes_bytes for each in over))),
            Evidence(what="used on their file system", seen=how_full.in_words, limit=policy.crowded.limits),
        ),
        advice=(
            "medic8 heal deletes them for good, if empty_quarantine is allowed",
            f"ls -R {rule.folder}/{QUARANTINE}   # what they are",
        ),
        objects=tuple(_object(rule, each, is_kept=True) for each in chosen),
        extent=len(over),
    )


def _soon(rule: PruneRule, now: datetime) -> str:
    """When files that are moved now may be deleted, and by whom."""
    when = moment(datetime.fromtimestamp(now.timestamp() + rule.keep, tz=now.tzinfo))
    return f"{when}, then deleted" if rule.delete else f"{when}, then deleted once a person agrees"


def _object(rule: PruneRule, found: Found, *, is_kept: bool = False) -> dict[str, JsonValue]:
    # In quarantine the path within the folder follows the quarantine's name and the file's own folder.
    names = found.names[2:] if is_kept else found.names
    state = state_in(found.told)
    return OneFile(
        folder=rule.folder,
        path=b"/".join(names).hex(),
        inode=state.inode,
        size=state.size,
        written_ns=state.written_ns,
    ).model_dump()
