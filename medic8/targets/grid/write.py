"""
Change pages of a parity group together with P, Q and every checksum.

Nothing is folded into parity that was not verified: the touched pages of the
data, of P and of Q, their footers and the group's record are read at one
moment, verified, and compared byte for byte by the same act that writes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medic8.errors import TransientError
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import (
    Answer,
    Check,
    CompareAndWrite,
    Delete,
    HasBytes,
    HoldsExactly,
    IsAbsent,
    Write,
    WriteRange,
    WriteValue,
)
from medic8.targets.grid.format import GroupSums, Manifest, pack_block, pack_footer, pack_sums
from medic8.targets.grid.image import number_of
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    CELL_BYTES,
    MEMBERS,
    PAGE_BYTES,
    PAGE_CELLS,
    PAGES,
    ROLES,
    P,
    Q,
)
from medic8.targets.grid.look import Look, Wanted
from medic8.targets.grid.parity import Octets, p_of, power, q_of, times
from medic8.targets.grid.permit import ANYBODY, Permit, version_of

_ATTEMPTS = 100
_SHORTEST_PAUSE_S = 0.0002
_LONGEST_PAUSE_S = 0.02

#: Data pages written by one compare-and-write.
MOST_PAGES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Edit:
    """
    New cells for one page.

    Attributes:
        cells: Places in the page, 0 to 127; of equal places the last wins.
        content: n x 32 bytes.
    """

    cells: npt.NDArray[np.intp]
    content: Octets

    def applied_to(self, page: bytes) -> Octets:
        """The page after the edit."""
        rows = np.frombuffer(page, dtype=np.uint8).reshape(PAGE_CELLS, CELL_BYTES).copy()
        rows[self.cells] = self.content
        return rows.reshape(PAGE_BYTES)


#: New cells by member and page.
Edits = Mapping[tuple[int, int], Edit]


@dataclass(frozen=True, slots=True)
class Patience:
    """
    How often a write is tried when others write into the same group.

    Attributes:
        attempts: Most tries.
        pause: Called with the number of the try that failed, from 0; waits.
    """

    attempts: int
    pause: Callable[[int], None]


def jittered_pause(
    rng: random.Random | None = None, sleep: Callable[[float], None] = time.sleep
) -> Callable[[int], None]:
    """A pause between tries: at random up to a bound that doubles from 0.2 ms to 20 ms."""
    rng = rng or random.Random()  # noqa: S311  # jitter, not cryptography

    def pause(attempt: int) -> None:
        sleep(rng.uniform(0, min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * 2**attempt)))

    return pause


def patient() -> Patience:
    """As often as a writer tries: 100 times, with pauses that grow to 20 ms."""
    return Patience(_ATTEMPTS, jittered_pause())


def wanted_for(edits: Edits) -> Wanted:
    """The pages that *edits* touch: those of the data, and those of P and Q at the same offsets."""
    wanted: dict[int, list[int]] = {}
    for member, page in sorted(edits):
        wanted.setdefault(member, []).append(page)
    columns = sorted({page for _, page in edits})
    return {**wanted, P: columns, Q: columns}


def write_pages(
    borrow: Callable[[Wanted], Look],
    compare_and_write: CompareAndWrite,
    manifest: Manifest,
    edits: Edits,
    patience: Patience,
    permit: Permit = ANYBODY,
) -> bytes:
    """
    Write *edits* of one group at one moment.

    Args:
        borrow: Reads and verifies pages of the group.
        compare_and_write: Writes if nothing has changed since.
        manifest: Of the grid.
        edits: New cells of at most `MOST_PAGES_AT_ONCE` pages of one group.
        patience: How often to try.
        permit: What the write must prove.
    Returns:
        The group's version after it.
    Raises:
        GridDamagedError: a page to be changed, or its parity, is damaged; nothing was changed.
        TransientError: others kept changing the group; nothing was changed.
    """
    wanted = wanted_for(edits)
    for attempt in range(patience.attempts):
        fence = permit.checks()
        seen = borrow(wanted)
        if permit.version not in {None, version_of(seen.record_bytes)}:
            permit.outdated()
        checks, writes = changes(manifest, seen, edits)
        if not writes:
            return version_of(seen.record_bytes)
        answer = compare_and_write(checks, writes, fence=fence).answer
        if answer is Answer.WRITTEN:
            return version_of(record_in(writes))
        if answer is Answer.FENCED:
            permit.failed()
        if seen.record_bytes is None:
            # Another's first write, or blocks without their record: a look at all of them tells.
            borrow(dict.fromkeys(range(ROLES), ()))
        patience.pause(attempt)
    raise TransientError(
        f"grid {manifest.name!r}, group {seen.group}: "
        f"others changed it during each of {patience.attempts} tries"
    )


def record_in(writes: Sequence[Write]) -> bytes:
    """The ``:m`` among *writes* of a group, which is the last of them."""
    last = writes[-1]
    if not isinstance(last, WriteValue):
        raise TypeError(f"the last write of a group is {last!r}, not its record")
    return last.content


def changes(manifest: Manifest, seen: Look, edits: Edits) -> tuple[list[Check], list[Write]]:
    """What must still hold, and what is then to be written; nothing if every cell is as wanted already."""
    pages = {place: edit.applied_to(seen.pages[place]) for place, edit in edits.items()}
    deltas = {place: page ^ np.frombuffer(seen.pages[place], np.uint8) for place, page in pages.items()}
    if not any(delta.any() for delta in deltas.values()):
        return [], []
    for (member, column), delta in deltas.items():
        for role, share in ((P, delta), (Q, times(delta, power(member)))):
            if (role, column) not in pages:
                pages[role, column] = np.frombuffer(seen.pages[role, column], np.uint8).copy()
            pages[role, column] ^= share
    sums = seen.sums.copy()
    writes: list[Write] = []
    for (role, column), page in pages.items():
        sums[role, column] = checksum.hash_page(page.tobytes()) ^ int(seen.keys[role, column])
        changed = np.flatnonzero(page != np.frombuffer(seen.pages[role, column], np.uint8))
        if changed.size:
            first, last = int(changed[0]), int(changed[-1]) + 1
            key = role_key(manifest.name, seen.group, role)
            writes.append(WriteRange(key, column * PAGE_BYTES + first, page[first:last].tobytes()))
    roles = sorted({role for role, _ in pages})
    for role in roles:
        footer = pack_footer(manifest.uuid, role, number_of(seen.group, role), sums[role])
        writes.append(WriteRange(role_key(manifest.name, seen.group, role), BLOCK_BYTES, footer))
    existing = tuple(exists or member in roles for member, exists in enumerate(seen.existing))
    writes.append(
        WriteValue(sums_key(manifest.name, seen.group), _pack(manifest, seen.group, existing, sums))
    )
    return _checks(manifest, seen, roles), writes


def _checks(manifest: Manifest, seen: Look, roles: list[int]) -> list[Check]:
    key_of_sums = sums_key(manifest.name, seen.group)
    if seen.record_bytes is None:
        every = [role_key(manifest.name, seen.group, role) for role in range(ROLES)]
        return [IsAbsent(key) for key in (key_of_sums, *every)]
    checks: list[Check] = [HoldsExactly(key_of_sums, seen.record_bytes)]
    for role in roles:
        key = role_key(manifest.name, seen.group, role)
        if role not in seen.footers:
            checks.append(IsAbsent(key))
            continue
        checks.append(HasBytes(key, BLOCK_BYTES, seen.footers[role]))
        checks += [
            HasBytes(key, page * PAGE_BYTES, content)
            for (owner, page), content in seen.pages.items()
            if owner == role
        ]
    return checks


def _pack(manifest: Manifest, group: int, existing: tuple[bool, ...], sums: checksum.Sums) -> bytes:
    there = np.array([*existing, True, True])[:, np.newaxis]
    return pack_sums(manifest.uuid, group, GroupSums(existing, np.where(there, sums, np.uint64(0))))


def whole_group(
    manifest: Manifest, grid_key: int, group: int, blocks: Mapping[int, Octets]
) -> tuple[dict[int, bytes], bytes]:
    """
    The values by role, and the record of checksums, of a group that holds *blocks* and no others.

    Args:
        manifest: Of the grid.
        grid_key: What `checksum.grid_key` returned for the grid's UUID.
        group: Number of the group.
        blocks: 64 KiB for each member that shall exist; at least one.
    """
    rows = np.zeros((ROLES, BLOCK_BYTES), dtype=np.uint8)
    for member, content in blocks.items():
        rows[member] = content
    rows[P], rows[Q] = p_of(rows[:MEMBERS]), q_of(rows[:MEMBERS])
    keys = checksum.place_keys(grid_key, group)
    sums = np.zeros((ROLES, PAGES), dtype=np.uint64)
    values: dict[int, bytes] = {}
    for role in (*sorted(blocks), P, Q):
        pages = rows[role].reshape(PAGES, PAGE_BYTES)
        sums[role] = checksum.hash_rows(pages) ^ keys[role]
        values[role] = pack_block(pages, manifest.uuid, role, number_of(group, role), sums[role])
    existing = tuple(member in blocks for member in range(MEMBERS))
    return values, _pack(manifest, group, existing, sums)


def write_whole_group(
    compare_and_write: CompareAndWrite,
    manifest: Manifest,
    grid_key: int,
    group: int,
    blocks: Mapping[int, Octets],
    patience: Patience,
    permit: Permit = ANYBODY,
) -> None:
    """
    Replace everything in a group at one moment, its list of lost pages included, without reading it.

    Args:
        compare_and_write: Writes if what *permit* asks for holds.
        manifest: Of the grid.
        grid_key: What `checksum.grid_key` returned for the grid's UUID.
        group: Number of the group.
        blocks: 64 KiB for each member that shall exist; the others will not.
        patience: How often to try.
        permit: What the write must prove.
    Raises:
        TransientError: the group, or its lock, changed during each try; nothing was changed.
    """
    writes: list[Write] = []
    gone = [lost_key(manifest.name, group)]
    if blocks:
        values, record = whole_group(manifest, grid_key, group, blocks)
        writes += [WriteValue(role_key(manifest.name, group, role), value) for role, value in values.items()]
        writes.append(WriteValue(sums_key(manifest.name, group), record))
    else:
        gone.append(sums_key(manifest.name, group))
    absent = range(MEMBERS if blocks else ROLES)
    gone += [role_key(manifest.name, group, role) for role in absent if role not in blocks]
    writes += [Delete(key) for key in gone]
    for attempt in range(patience.attempts):
        answer = compare_and_write((), writes, fence=permit.checks()).answer
        if answer is Answer.WRITTEN:
            return
        if answer is Answer.FENCED:
            permit.failed()
        patience.pause(attempt)
    raise TransientError(
        f"grid {manifest.name!r}, group {group}: others changed it during each of {patience.attempts} tries"
    )
