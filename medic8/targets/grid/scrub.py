"""Look at every block of a grid, fast and without false alarms, while others write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

import valkey

from medic8.model.grid import GridPerformance, GroupDamage, ScrubReport
from medic8.targets.grid import checksum
from medic8.targets.grid.findings import findings, group_damage
from medic8.targets.grid.format import (
    SUMS_BYTES,
    VALUE_BYTES,
    FormatError,
    GroupSums,
    Manifest,
    unpack_sums,
)
from medic8.targets.grid.glance import Glances
from medic8.targets.grid.image import GroupImage, Value, has_parity
from medic8.targets.grid.judgement import judge
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.layout import MEMBERS, PAGE_BYTES, ROLES
from medic8.targets.grid.lost_record import MOST_LOST_BYTES, unpack_lost
from medic8.targets.grid.reading import get_at_most, group_keys, is_wrong_type, read_group
from medic8.targets.valkey.conversation import Command, Conversation, conversation, raise_first

#: Groups whose records of checksums are read together: 150 KiB.
_WINDOW = 64

#: The members of a group that was never written.
_NONE = (False,) * MEMBERS

#: Damaged groups described in a report; all are counted.
MOST_DAMAGE_KEPT = 256


class Watcher(Protocol):
    """Told of every group that a scrub looks at, whether anything is wrong with it or not."""

    def begin(self, manifest: Manifest) -> None:
        """A scrub of the grid of *manifest* begins."""

    def looked_at(self, group: int, existing: Sequence[bool], damage: GroupDamage | None) -> None:
        """
        Take note of *group*; a suspected group comes twice, and the second time counts.

        Args:
            group: Its number.
            existing: For each of its 16 members, whether the block must be there.
            damage: What is wrong with it; None if nothing is.
        """

    def given_up(self, group: int, pages: Iterable[tuple[int, int]]) -> None:
        """Take note of *pages* of *group*, by member and number, that were zeroed and listed as lost."""


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """
    How a scrub goes about it.

    Attributes:
        is_deep: Also compare P and Q with the data.
        groups: Which groups, in this order; None is all, ascending.
        limit_bytes_per_s: Most bytes read per second; None is no limit.
        on_progress: Called after each group with data blocks looked at, and data blocks to look at,
            those never written included. It must not use the scrub's client.
        should_stop: Asked before each group; True ends the scrub early.
        watcher: Told of every group; None is nobody. It must not use the scrub's client.
        most_damage_kept: Damaged groups described in the report, at most; all are counted.
        clock: Seconds that only go forward.
        sleep: Waits so many seconds.
    """

    is_deep: bool = False
    groups: Sequence[int] | None = None
    limit_bytes_per_s: float | None = None
    on_progress: Callable[[int, int], None] | None = None
    should_stop: Callable[[], bool] | None = None
    watcher: Watcher | None = None
    most_damage_kept: int = MOST_DAMAGE_KEPT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class ScrubResult:
    """
    What a scrub saw, and how the server answered.

    Attributes:
        report: What was seen.
        performance: How the server answered meanwhile.
        blocks_existing: Data blocks that exist, of the groups looked at.
    """

    report: ScrubReport
    performance: GridPerformance
    blocks_existing: int


def scrub(client: valkey.Valkey, manifest: Manifest, options: ScrubOptions | None = None) -> ScrubResult:
    """
    Check every value of the grid against both copies of its checksums.

    The values of a group are first read one after the other while others may
    write, so a mismatch is only a suspicion; a suspected group is read again at
    one moment and judged anew. Memory is bounded by two groups (3 MB), however
    long a damaged value is.

    Args:
        client: Used for nothing else meanwhile.
        manifest: Of the grid.
        options: How to go about it; None is everything, as fast as it goes.
    """
    scrubber = _Scrub(manifest, options or ScrubOptions())
    with conversation(client) as talk:
        scrubber.run(talk)
    return scrubber.result()


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group whose values are on their way: what its record says, and what was asked for."""

    group: int
    record: bytes
    existing: Sequence[bool]
    roles: list[int]
    commands: list[Command]


@dataclass(slots=True)
class _Scrub:
    manifest: Manifest
    options: ScrubOptions
    started_s: float = 0.0
    duration_s: float = 0.0
    groups_checked: int = 0
    members_done: int = 0
    members_total: int = 0
    blocks_checked: int = 0
    blocks_existing: int = 0
    bytes_read: int = 0
    suspicions: int = 0
    damaged_groups: int = 0
    lost_cells: int = 0
    quarantined_pages: int = 0
    is_complete: bool = False
    damage: list[GroupDamage] = field(default_factory=list)
    read_times_s: list[float] = field(default_factory=list)

    def run(self, talk: Conversation) -> None:
        layout = self.manifest.layout
        options = self.options
        groups: Sequence[int] = range(layout.groups) if options.groups is None else options.groups
        self.members_total = (
            layout.blocks if options.groups is None else sum(layout.members(group) for group in groups)
        )
        grid_key = checksum.grid_key(self.manifest.uuid)
        if options.watcher is not None:
            options.watcher.begin(self.manifest)
        self.started_s = options.clock()
        remaining = iter(groups)
        is_stopped = False
        while not is_stopped and (window := list(islice(remaining, _WINDOW))):
            suspects = self._read_lists(talk, window)
            glances = Glances(self.manifest.uuid, grid_key)
            asked = list(self._read_records(talk, window, suspects))
            asked = self._of_right_length(talk, self._without_strays(talk, asked, suspects), suspects)
            is_stopped = self._read_values(talk, asked, suspects, glances)
            for group in sorted(suspects | glances.suspects()):
                self._look_again(talk, group, grid_key)
        self.is_complete = not is_stopped
        self.duration_s = options.clock() - self.started_s

    def _read_lists(self, talk: Conversation, window: list[int]) -> set[int]:
        """Count what was given up in the groups of a window; the groups whose list of it is odd."""
        name, grid = self.manifest.name, self.manifest.uuid
        there = talk.ask([("EXISTS", lost_key(name, group)) for group in window])
        raise_first(there)
        listed = [group for group, exists in zip(window, there, strict=True) if exists]
        answers = talk.ask([get_at_most(lost_key(name, group), MOST_LOST_BYTES) for group in listed])
        suspects: set[int] = set()
        for group, answer in zip(listed, answers, strict=True):
            if not is_wrong_type(answer):
                raise_first([answer])
            try:
                rows = unpack_lost(answer if isinstance(answer, bytes) else b"", grid, group)
            except FormatError:
                suspects.add(group)
            else:
                self.quarantined_pages += len(rows)
                if self.options.watcher is not None:
                    self.options.watcher.given_up(group, [row.place for row in rows])
        return suspects

    def _read_records(self, talk: Conversation, window: list[int], suspects: set[int]) -> Iterator[_Asked]:
        """Read the records of a window; say what to read next of each group that has a usable one."""
        name = self.manifest.name
        answers = talk.ask([get_at_most(sums_key(name, group), SUMS_BYTES) for group in window])
        is_probed = False
        for group, answer in zip(window, answers, strict=True):
            record = self._unpack(answer, group)
            if record is None:
                # Absent, or empty: an empty record is as odd as values without one.
                yield _Asked(group, b"", _NONE, [], [("EXISTS", *group_keys(name, group))])
                continue
            if isinstance(record, FormatError):
                suspects.add(group)
                yield _Asked(group, b"", _NONE, [], [])
                continue
            if not is_probed:
                self._probe(talk, group)
                is_probed = True
            roles = record.roles()
            commands: list[Command] = [("GET", role_key(name, group, role)) for role in roles]
            absent = [role_key(name, group, role) for role in range(MEMBERS) if not record.existing[role]]
            if absent:
                commands.append(("EXISTS", *absent))
            self.blocks_existing += sum(record.existing)
            self.bytes_read += len(answer)
            yield _Asked(group, answer, record.existing, roles, commands)

    @staticmethod
    def _without_strays(talk: Conversation, asked: list[_Asked], suspects: set[int]) -> list[_Asked]:
        """Ask at one go whether anything is there of the groups without a record, which may be most."""
        unwritten = {each.group: each.commands for each in asked if each.commands and not each.record}
        answers = talk.ask([command for commands in unwritten.values() for command in commands])
        raise_first(answers)
        suspects.update(group for group, count in zip(unwritten, answers, strict=True) if count)
        return [replace(each, commands=[]) if each.group in unwritten else each for each in asked]

    def _of_right_length(self, talk: Conversation, asked: list[_Asked], suspects: set[int]) -> list[_Asked]:
        """
        Leave out values of a wrong length: somebody may have made them too long for our memory.

        Asking for the length and then for the whole is much faster than GETRANGE.
        """
        name = self.manifest.name
        lengths = iter(
            talk.ask([("STRLEN", role_key(name, each.group, role)) for each in asked for role in each.roles])
        )
        found = []
        for each in asked:
            answers = [next(lengths) for _ in each.roles]
            raise_first([answer for answer in answers if not is_wrong_type(answer)])
            right = [at for at, answer in enumerate(answers) if answer == VALUE_BYTES]
            if len(right) == len(answers):
                found.append(each)
                continue
            suspects.add(each.group)
            others = each.commands[len(each.roles) :]
            commands = [*(each.commands[at] for at in right), *others]
            found.append(replace(each, roles=[each.roles[at] for at in right], commands=commands))
        return found

    def _unpack(self, answer: Any, group: int) -> GroupSums | FormatError | None:
        if is_wrong_type(answer):
            return FormatError(str(answer))
        raise_first([answer])
        if not answer:
            return None
        try:
            return unpack_sums(answer, self.manifest.uuid, group)
        except FormatError as exc:
            return exc

    def _probe(self, talk: Conversation, group: int) -> None:
        """Time the reading of one page, with nothing else on its way."""
        key = role_key(self.manifest.name, group, MEMBERS)
        before = self.options.clock()
        talk.ask([("GETRANGE", key, 0, PAGE_BYTES - 1)])
        self.read_times_s.append(self.options.clock() - before)

    def _read_values(
        self, talk: Conversation, asked: list[_Asked], suspects: set[int], glances: Glances
    ) -> bool:
        """Look at the groups of a window; True if stopped."""
        for current in asked:
            if self.options.should_stop is not None and self.options.should_stop():
                return True
            if current.commands:
                talk.send(current.commands)
            if self._is_suspect(talk, current, glances):
                suspects.add(current.group)
            if self.options.watcher is not None:
                self.options.watcher.looked_at(current.group, current.existing, None)
            self.groups_checked += 1
            self.members_done += self.manifest.layout.members(current.group)
            if self.options.on_progress is not None:
                self.options.on_progress(self.members_done, self.members_total)
            self._keep_to_limit()
        return False

    def _is_suspect(self, talk: Conversation, asked: _Asked, glances: Glances) -> bool:
        """Look at each value of a group as it comes, while the server sends the next; True if one is odd."""
        is_odd = False
        values: list[Value] = [None] * ROLES
        for role in asked.roles:
            answer = talk.receive_one()
            if isinstance(answer, Exception) and not is_wrong_type(answer):
                raise answer
            is_odd |= not glances.add(asked.group, role, answer, asked.record)
            if isinstance(answer, bytes) and answer:
                self.blocks_checked += 1
                self.bytes_read += len(answer)
                if self.options.is_deep:
                    values[role] = answer
        strays = talk.receive(len(asked.commands) - len(asked.roles))
        raise_first(strays)
        is_odd |= any(strays)
        if self.options.is_deep and not is_odd:
            is_odd = not has_parity(GroupImage(self.manifest.uuid, asked.group, tuple(values), None))
        return is_odd

    def _keep_to_limit(self) -> None:
        limit = self.options.limit_bytes_per_s
        if limit is not None:
            early_s = self.bytes_read / limit - (self.options.clock() - self.started_s)
            if early_s > 0:
                self.options.sleep(early_s)

    def _look_again(self, talk: Conversation, group: int, grid_key: int) -> None:
        self.suspicions += 1
        image = read_group(talk, self.manifest, group)
        self.bytes_read += sum(len(value) for value in image.values if isinstance(value, bytes))
        self._keep_to_limit()
        members = self.manifest.layout.members(group)
        judgement = judge(image, grid_key, members, deep=self.options.is_deep)
        damage = group_damage(group, findings(judgement))
        if self.options.watcher is not None:
            self.options.watcher.looked_at(group, judgement.exists[:MEMBERS], damage)
        if damage is None:
            return
        self.damaged_groups += 1
        self.lost_cells += sum(cells.count for cells in damage.lost_cells)
        if len(self.damage) < self.options.most_damage_kept:
            self.damage.append(damage)

    def result(self) -> ScrubResult:
        report = ScrubReport(
            groups_checked=self.groups_checked,
            groups_total=self.manifest.layout.groups,
            blocks_checked=self.blocks_checked,
            bytes_read=self.bytes_read,
            duration_s=self.duration_s,
            suspicions=self.suspicions,
            damaged_groups=self.damaged_groups,
            damage=tuple(sorted(self.damage, key=lambda damage: damage.group)),
            lost_cells=self.lost_cells,
            is_deep=self.options.is_deep,
            is_complete=self.is_complete,
            quarantined_pages=self.quarantined_pages,
        )
        times = sorted(self.read_times_s)
        performance = GridPerformance(
            read_median_s=times[len(times) // 2] if times else None,
            read_p99_s=times[len(times) * 99 // 100] if times else None,
            read_worst_s=times[-1] if times else None,
            reads_timed=len(times),
            throughput_bytes_per_s=self.bytes_read / self.duration_s if self.duration_s > 0 else None,
        )
        return ScrubResult(report, performance, self.blocks_existing)
