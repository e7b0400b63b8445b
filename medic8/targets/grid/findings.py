"""Name what is wrong with a judged group, value by value, and what to write where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from medic8.model.grid import (
    BlockDamage,
    BlockRole,
    ByteRange,
    CellRange,
    DamageNature,
    GroupDamage,
    Proof,
    RebuildItem,
)
from medic8.targets.grid.format import (
    FOOTER_BYTES,
    SUMS_BYTES,
    VALUE_BYTES,
    FormatError,
    GroupSums,
    OtherGridError,
    OtherPlaceError,
    pack_footer,
)
from medic8.targets.grid.image import Value, WrongType, number_of
from medic8.targets.grid.judgement import Judgement
from medic8.targets.grid.keys import role_key, sums_key
from medic8.targets.grid.layout import (
    BLOCK_BYTES,
    MEMBERS,
    PAGE_BYTES,
    PAGE_CELLS,
    PAGES,
    ROLES,
    P,
    block_at,
    cells_of_page,
    role_name,
)
from medic8.targets.grid.lost_record import unpack_lost

#: Index of the ``:m`` record among the values of a group, after the 18 roles.
SUMS_ROLE = ROLES

#: Index of the ``:lost`` record, after that.
LOST_ROLE = ROLES + 1

_ALL_PAGES = tuple(range(PAGES))


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One value that is not what it must be.

    Attributes:
        role: 0 to 15, P, Q, `SUMS_ROLE` or `LOST_ROLE`.
        damage: What is wrong, in words.
        expected: What must be written: the whole value, or the *ranges* joined; None if it must be
            deleted or is not known.
        ranges: The stretches to write; empty if the whole value is.
    """

    role: int
    damage: BlockDamage
    expected: bytes | None
    ranges: tuple[ByteRange, ...]

    @property
    def can_be_rebuilt_in_part(self) -> bool:
        """Whether there is anything to write or to delete."""
        is_value = self.role != LOST_ROLE
        return self.expected is not None or (is_value and self.damage.nature is DamageNature.STRAY)


def findings(judgement: Judgement) -> tuple[Finding, ...]:
    """What is wrong with a group: data by member, P, Q, the record of checksums, the list of lost pages."""
    found = (
        *(_of_role(judgement, role) for role in range(ROLES)),
        _of_record(judgement),
        _of_lost(judgement),
    )
    return tuple(finding for finding in found if finding is not None)


def group_damage(group: int, found: Iterable[Finding]) -> GroupDamage | None:
    """The same for a report; None if nothing is wrong."""
    blocks = tuple(finding.damage for finding in found)
    return GroupDamage(group=group, blocks=blocks) if blocks else None


def rebuild_item(name: str, judgement: Judgement, finding: Finding) -> RebuildItem:
    """*finding* as plain data that another process can act on."""
    image = judgement.evidence.image
    role, damage = finding.role, finding.damage
    is_record = role == SUMS_ROLE
    present = image.sums if is_record else image.values[role]
    return RebuildItem(
        grid=name,
        grid_uuid=str(image.grid),
        group=image.group,
        role=damage.role,
        number=image.group if is_record else number_of(image.group, role),
        key=sums_key(name, image.group) if is_record else role_key(name, image.group, role),
        nature=damage.nature,
        ranges=finding.ranges,
        must_be_absent=damage.nature is DamageNature.STRAY,
        is_restorable=not isinstance(present, WrongType),
        size_bytes=len(finding.expected or b""),
    )


def _of_role(judgement: Judgement, role: int) -> Finding | None:
    image = judgement.evidence.image
    present = image.values[role]
    if not judgement.exists[role]:
        return None if present is None else _stray(judgement, role)
    if not isinstance(present, bytes) or len(present) != VALUE_BYTES:
        nature = (
            DamageNature.MISSING
            if present is None
            else DamageNature.WRONG_TYPE
            if isinstance(present, WrongType)
            else DamageNature.TRUNCATED
        )
        lost = _lost(judgement, role)
        damage = _damage(judgement, role, nature, pages=_ALL_PAGES, lost=lost, is_footer=True)
        return Finding(role, damage, judgement.value(role), ())
    read = np.frombuffer(present, dtype=np.uint8, count=BLOCK_BYTES).reshape(PAGES, PAGE_BYTES)
    differs = (read != judgement.pages[role]).any(axis=1) & judgement.is_known[role]
    lost = _lost(judgement, role)
    wrong = tuple(page for page in _ALL_PAGES if differs[page] or page in lost)
    footer = _footer(judgement, role)
    is_footer = footer != present[BLOCK_BYTES:]
    if not wrong and not is_footer:
        return None
    nature = _nature(judgement, role, wrong)
    damage = _damage(
        judgement,
        role,
        nature,
        pages=wrong,
        lost=lost,
        is_footer=is_footer,
        is_footer_known=footer is not None,
    )
    ranges = [*_page_ranges(page for page in wrong if page not in lost)]
    if is_footer and footer is not None:
        ranges.append(ByteRange(offset=BLOCK_BYTES, length=FOOTER_BYTES))
    return Finding(role, damage, expected_bytes(judgement, role, ranges) if ranges else None, tuple(ranges))


def expected_bytes(judgement: Judgement, role: int, ranges: Sequence[ByteRange]) -> bytes | None:
    """
    What must stand at *ranges* of a value, joined; of the whole value if there are none.

    Returns:
        None if a part of it is unknown, or the value must not be there.
    """
    if role == SUMS_ROLE:
        return judgement.record()
    if not ranges:
        return judgement.value(role)
    if not judgement.exists[role]:
        return None
    footer = _footer(judgement, role)
    whole = judgement.pages[role].tobytes() + (footer or b"")
    for part in ranges:
        end = part.offset + part.length
        pages = slice(part.offset // PAGE_BYTES, -(-min(end, BLOCK_BYTES) // PAGE_BYTES))
        if end > len(whole) or not judgement.is_known[role, pages].all():
            return None
    return b"".join(whole[part.offset : part.offset + part.length] for part in ranges)


def _nature(judgement: Judgement, role: int, wrong: tuple[int, ...]) -> DamageNature:
    problem = judgement.evidence.footers[role]
    if isinstance(problem, OtherGridError):
        return DamageNature.FOREIGN
    if isinstance(problem, OtherPlaceError):
        return DamageNature.MISPLACED
    if not wrong:
        return DamageNature.CHECKSUMS
    if role in judgement.disagrees:
        return DamageNature.PARITY
    if all(judgement.is_stale[role, page] for page in wrong):
        return DamageNature.STALE
    return DamageNature.DAMAGED


def _footer(judgement: Judgement, role: int) -> bytes | None:
    """The footer that must be there; None if it cannot be known."""
    sums = judgement.sums(role, for_record=False)
    if sums is None:
        return None
    image = judgement.evidence.image
    return pack_footer(image.grid, role, number_of(image.group, role), sums)


def _stray(judgement: Judgement, role: int) -> Finding:
    damage = _damage(judgement, role, DamageNature.STRAY, pages=(), lost=(), is_footer=False)
    return Finding(role, damage, None, ())


def _of_record(judgement: Judgement) -> Finding | None:
    image, record = judgement.evidence.image, judgement.evidence.record
    if image.is_empty:
        return None
    expected = judgement.record()
    if expected is not None and expected == image.sums:
        return None
    if isinstance(record, GroupSums) and expected is None:
        return None  # it is sound, and what it says of lost pages is the best there is
    nature = _nature_of_record(image.sums, record, is_of_length=lambda value: len(value) == SUMS_BYTES)
    damage = BlockDamage(
        role=BlockRole.SUMS,
        member=None,
        block=None,
        group=image.group,
        nature=nature,
        pages=(),
        is_footer_concerned=False,
        can_be_rebuilt=expected is not None,
        proof=Proof.COPY if expected is not None else None,
        lost_pages=(),
        lost_cells=(),
        detail=f"checksums of group {image.group}: {nature.value.replace('_', ' ')}"
        + ("" if expected is not None else "; what they must be cannot be proven"),
    )
    return Finding(SUMS_ROLE, damage, expected, ())


def _of_lost(judgement: Judgement) -> Finding | None:
    """What a damaged list held nothing proves: it has no second copy, as it guards nothing that is there."""
    image = judgement.evidence.image
    if image.lost is None:
        return None
    problem: FormatError | None = None
    if isinstance(image.lost, bytes):
        try:
            unpack_lost(image.lost, image.grid, image.group)
        except FormatError as exc:
            problem = exc
        else:
            if not image.is_empty:
                return None
    nature = _nature_of_record(image.lost, problem, is_of_length=lambda _: True)
    if nature is DamageNature.STALE:
        nature = DamageNature.STRAY
    damage = BlockDamage(
        role=BlockRole.LOST,
        member=None,
        block=None,
        group=image.group,
        nature=nature,
        pages=(),
        is_footer_concerned=False,
        can_be_rebuilt=False,
        proof=None,
        lost_pages=(),
        lost_cells=(),
        detail=f"list of lost pages of group {image.group}: {nature.value.replace('_', ' ')}"
        + (", the group is not there" if nature is DamageNature.STRAY else "; what it held cannot be proven"),
    )
    return Finding(LOST_ROLE, damage, None, ())


def _nature_of_record(
    value: Value, problem: object, *, is_of_length: Callable[[bytes], bool]
) -> DamageNature:
    if not isinstance(value, bytes):
        return DamageNature.MISSING if value is None else DamageNature.WRONG_TYPE
    if not is_of_length(value):
        return DamageNature.TRUNCATED
    natures: dict[type, DamageNature] = {
        OtherGridError: DamageNature.FOREIGN,
        OtherPlaceError: DamageNature.MISPLACED,
    }
    otherwise = DamageNature.DAMAGED if isinstance(problem, FormatError) else DamageNature.STALE
    return natures.get(type(problem), otherwise)


def _lost(judgement: Judgement, role: int) -> tuple[int, ...]:
    return tuple(int(page) for page in np.flatnonzero(~judgement.is_known[role]))


def _damage(
    judgement: Judgement,
    role: int,
    nature: DamageNature,
    *,
    pages: tuple[int, ...],
    lost: tuple[int, ...],
    is_footer: bool,
    is_footer_known: bool = True,
) -> BlockDamage:
    group = judgement.evidence.image.group
    block = block_at(group, role) if role < MEMBERS else None
    proofs = {judgement.proofs[role, page] for page in pages if (role, page) in judgement.proofs}
    proof = next((p for p in (Proof.CANDIDATE, Proof.PARITY, Proof.CHECKSUM) if p in proofs), Proof.COPY)
    is_provable = not lost and is_footer_known
    what = f"{role_name(group, role)}: {nature.value.replace('_', ' ')}"
    if 0 < len(pages) < PAGES:
        what += f", pages {', '.join(map(str, pages))}"
    if lost:
        what += f"; pages {', '.join(map(str, lost))} cannot be proven"
        if judgement.is_disputed:
            what += ", nor whether the block was ever written"
    return BlockDamage(
        role=BlockRole.DATA if role < MEMBERS else BlockRole.P if role == P else BlockRole.Q,
        member=role if role < MEMBERS else None,
        block=block,
        group=group,
        nature=nature,
        pages=pages,
        is_footer_concerned=is_footer,
        can_be_rebuilt=is_provable,
        proof=proof if is_provable else None,
        lost_pages=lost,
        lost_cells=_lost_cells(block, lost),
        detail=what,
    )


def _lost_cells(block: int | None, lost: tuple[int, ...]) -> tuple[CellRange, ...]:
    if block is None:
        return ()
    return tuple(
        CellRange(first=cells_of_page(block, run[0])[0], count=len(run) * PAGE_CELLS) for run in _runs(lost)
    )


def _page_ranges(pages: Iterable[int]) -> list[ByteRange]:
    return [ByteRange(offset=run[0] * PAGE_BYTES, length=len(run) * PAGE_BYTES) for run in _runs(pages)]


def _runs(pages: Iterable[int]) -> list[list[int]]:
    """Ascending *pages* as runs without gaps."""
    return [
        [page for _, page in run] for _, run in groupby(enumerate(pages), key=lambda pair: pair[1] - pair[0])
    ]
