"""
Read what a backup needs of a grid: of most blocks only their checksums, of the others the content.

A group's record of checksums says, at one moment, what all its blocks are. A
block whose checksums an earlier backup knows is not read; its footer must
agree, since a record alone might be an old one that somebody put back. The
others are read at one moment, with the record and all footers. Where anything
does not agree, the whole group is read and judged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from medic8.targets.grid import checksum
from medic8.targets.grid.backup_source import ProvenBlock, proven_group
from medic8.targets.grid.backup_table import ALL_PAGES, StoredBlock
from medic8.targets.grid.format import (
    FOOTER_BYTES,
    FOOTER_SUMS_AT,
    SUMS_AT,
    SUMS_BYTES,
    VALUE_BYTES,
    FormatError,
    Manifest,
    unpack_footer,
    unpack_sums,
)
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    EXTENT_BLOCKS,
    EXTENT_GROUPS,
    PAGE_BYTES,
    PAGES,
    block_at,
    member_of,
)
from medic8.targets.grid.reading import get_at_most, group_keys, is_wrong_type
from medic8.targets.valkey.conversation import Command, Conversation, raise_first

_ROW_BYTES = 8 * PAGES

#: What an earlier backup knows of the blocks of an extent, by their place in it.
Known = Mapping[int, Sequence[StoredBlock]]


@dataclass(frozen=True, slots=True)
class FreshBlock:
    """
    One block whose content was read.

    Attributes:
        place: Its place in the extent.
        pages: Bit *n* says whether page *n* is known; an unknown page is zeros.
        content: Its 64 KiB.
        sums: Little-endian checksums of its pages; 0 for an unknown page.
    """

    place: int
    pages: int
    content: bytes
    sums: bytes


@dataclass(frozen=True, slots=True)
class GroupForBackup:
    """
    The blocks of a group as they were at one moment.

    Attributes:
        group: Number of the group.
        same: Those that an earlier backup has.
        fresh: Those that it does not have.
        bytes_read: Bytes received for it.
    """

    group: int
    same: tuple[StoredBlock, ...]
    fresh: tuple[FreshBlock, ...]
    bytes_read: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A group by its sound record: its members, and the checksums in their footers."""

    group: int
    record: bytes
    members: list[int]
    footers: dict[int, bytes] = field(default_factory=dict)

    def row(self, member: int) -> bytes:
        return _row(self.record, member)

    @property
    def bytes_read(self) -> int:
        return len(self.record) + FOOTER_BYTES * len(self.footers)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A group whose *fresh* members are to be read."""

    group: int
    members: list[int]
    fresh: list[int]

    def commands(self, name: str) -> list[Command]:
        """What is asked at one moment: the record, then for each member its content or its footer."""
        found: list[Command] = [("GET", sums_key(name, self.group))]
        for member in self.members:
            key = role_key(name, self.group, member)
            is_fresh = member in self.fresh
            found.append(("GET", key) if is_fresh else ("GETRANGE", key, BLOCK_BYTES, VALUE_BYTES - 1))
        return found


class ExtentReader:
    """
    Reads the groups of one extent for a backup.

    Args:
        talk: Used for nothing else meanwhile.
        manifest: Of the grid.
        extent: Number of the extent.
        known: What earlier backups have of it.
    """

    def __init__(self, talk: Conversation, manifest: Manifest, extent: int, known: Known) -> None:
        self._talk = talk
        self._manifest = manifest
        self._key = checksum.grid_key(manifest.uuid)
        self._known = known
        first = extent * EXTENT_GROUPS
        self._groups = range(first, min(first + EXTENT_GROUPS, manifest.layout.groups))

    def read(self) -> Iterator[GroupForBackup]:
        """Every group of the extent that has blocks, in no particular order."""
        unclear: list[int] = []
        asked: list[_Wanted] = []
        for seen in self._with_footers(self._records(unclear), unclear):
            same = [self._same(seen.group, member, seen.row(member)) for member in seen.members]
            fresh = [member for member, stored in zip(seen.members, same, strict=True) if stored is None]
            fresh += [m for m in seen.members if seen.footers[m] != seen.row(m) and m not in fresh]
            if fresh:
                asked.append(_Wanted(seen.group, seen.members, fresh))
            else:
                found = tuple(stored for stored in same if stored is not None)
                yield GroupForBackup(seen.group, found, (), seen.bytes_read)
        yield from self._contents(asked, unclear)
        for group in unclear:
            yield self._judged(group)

    def _records(self, unclear: list[int]) -> list[_Seen]:
        """The groups that were written and have a sound record; those that must be judged go to *unclear*."""
        name = self._manifest.name
        answers = self._talk.ask([get_at_most(sums_key(name, group), SUMS_BYTES) for group in self._groups])
        found, absent = [], []
        for group, answer in zip(self._groups, answers, strict=True):
            if is_wrong_type(answer):
                unclear.append(group)
                continue
            raise_first([answer])
            members = _members(answer, self._manifest, group)
            if not answer:
                absent.append(group)
            elif members is None:
                unclear.append(group)
            else:
                found.append(_Seen(group, answer, members))
        counts = self._talk.ask([("EXISTS", *group_keys(name, group)) for group in absent])
        raise_first(counts)
        unclear += [group for group, count in zip(absent, counts, strict=True) if count]
        return found

    def _with_footers(self, groups: list[_Seen], unclear: list[int]) -> Iterator[_Seen]:
        """Those of *groups* whose values have the right length, with the checksums in their footers."""
        name = self._manifest.name
        answers = self._talk.ask(
            [
                command
                for seen in groups
                for member in seen.members
                for command in _footer_and_length(role_key(name, seen.group, member))
            ]
        )
        each = iter(answers)
        for seen in groups:
            is_odd = False
            for member in seen.members:
                footer, length = next(each), next(each)
                if is_wrong_type(footer):
                    is_odd = True
                    continue
                raise_first([footer, length])
                # A value may have been made too long for our memory.
                is_odd |= length != VALUE_BYTES
                seen.footers[member] = _sums_in(footer)
            if is_odd:
                unclear.append(seen.group)
            else:
                yield seen

    def _same(self, group: int, member: int, row: bytes) -> StoredBlock | None:
        place = block_at(group, member) % EXTENT_BLOCKS
        candidates = self._known.get(place, ())
        return next((each for each in candidates if each.pages == ALL_PAGES and each.sums == row), None)

    def _contents(self, wanted: list[_Wanted], unclear: list[int]) -> Iterator[GroupForBackup]:
        """Read the groups of *wanted*, the next one always on its way while one is looked at."""
        on_its_way: deque[tuple[_Wanted, int]] = deque()
        for each in (*wanted, None):  # None: there is no next one
            if each is not None:
                commands = each.commands(self._manifest.name)
                self._talk.send([("MULTI",), *commands, ("EXEC",)])
                on_its_way.append((each, len(commands)))
            if len(on_its_way) > 1 or (each is None and on_its_way):
                asked, count = on_its_way.popleft()
                found = self._agreeing(asked, self._answers(count))
                if found is None:
                    unclear.append(asked.group)
                else:
                    yield found

    def _answers(self, count: int) -> list[bytes] | None:
        """The answers of a transaction of *count* commands; None if a key is no string."""
        *queued, answers = self._talk.receive(count + 2)
        raise_first([*queued, answers])
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        raise_first([answer for answer in refused if not is_wrong_type(answer)])
        return None if refused else list(answers)

    def _agreeing(self, asked: _Wanted, values: list[bytes] | None) -> GroupForBackup | None:
        """The group, if record, footers and content agree at that moment; else None."""
        if values is None:
            return None
        group, (record, *of_members) = asked.group, values
        if _members(record, self._manifest, group) != asked.members:
            return None
        keys = checksum.place_keys(self._key, group)
        same: list[StoredBlock] = []
        fresh: list[FreshBlock] = []
        for member, value in zip(asked.members, of_members, strict=True):
            row = _row(record, member)
            if member not in asked.fresh:
                stored = self._same(group, member, row) if _sums_in(value) == row else None
                if stored is None:
                    return None
                same.append(stored)
                continue
            if not self._is_good(group, member, value, row, keys[member]):
                return None
            place = block_at(group, member) % EXTENT_BLOCKS
            fresh.append(FreshBlock(place, ALL_PAGES, value[:BLOCK_BYTES], row))
        return GroupForBackup(group, tuple(same), tuple(fresh), sum(map(len, values)))

    def _is_good(self, group: int, member: int, value: bytes, row: bytes, keys: checksum.Sums) -> bool:
        if len(value) != VALUE_BYTES:
            return False
        try:
            number = block_at(group, member)
            footer = unpack_footer(value[BLOCK_BYTES:], self._manifest.uuid, member, number)
        except FormatError:
            return False
        sums = checksum.as_sums(checksum.hash_pages(value)) ^ keys
        return sums.astype("<u8").tobytes() == row == footer.astype("<u8").tobytes()

    def _judged(self, group: int) -> GroupForBackup:
        found = proven_group(self._talk, self._manifest, group)
        keys = checksum.place_keys(self._key, group)
        fresh = tuple(_as_fresh(block, keys) for block in found.blocks)
        known = [(block, self._earlier(block)) for block in fresh]
        return GroupForBackup(
            group,
            tuple(stored for _, stored in known if stored is not None),
            tuple(block for block, stored in known if stored is None),
            found.bytes_read,
        )

    def _earlier(self, block: FreshBlock) -> StoredBlock | None:
        candidates = self._known.get(block.place, ())
        wanted = (block.pages, block.sums)
        return next((each for each in candidates if (each.pages, each.sums) == wanted), None)


def _members(record: object, manifest: Manifest, group: int) -> list[int] | None:
    """The blocks that a record says exist, as far as the grid had them at the beginning; None if unusable."""
    if not isinstance(record, bytes):
        return None
    try:
        existing = unpack_sums(record, manifest.uuid, group).existing
    except FormatError:
        return None
    return [member for member in range(manifest.layout.members(group)) if existing[member]]


def _row(record: bytes, member: int) -> bytes:
    """The checksums of a member's pages, by a sound record."""
    at = SUMS_AT + member * _ROW_BYTES
    return record[at : at + _ROW_BYTES]


def _footer_and_length(key: str) -> tuple[Command, Command]:
    return ("GETRANGE", key, BLOCK_BYTES, VALUE_BYTES - 1), ("STRLEN", key)


def _sums_in(footer: bytes) -> bytes:
    return footer[FOOTER_SUMS_AT : FOOTER_SUMS_AT + _ROW_BYTES]


def _as_fresh(block: ProvenBlock, keys: checksum.Sums) -> FreshBlock:
    sums = checksum.as_sums(checksum.hash_pages(block.content)) ^ keys[member_of(block.number)]
    for page in range(PAGES):
        if not block.pages >> page & 1:
            sums[page] = 0
    content = block.content
    assert len(content) == PAGES * PAGE_BYTES  # noqa: S101 - what `proven_group` promises
    return FreshBlock(block.number % EXTENT_BLOCKS, block.pages, content, sums.astype("<u8").tobytes())
