"""
Give up pages that no source proves, so that the rest of their group is protected again.

The pages are zeroed, and in the same atomic act every checksum, P, Q and the
list of lost pages become those of the group as it is then. What is compared
with the saved state are the pages themselves and the list: nobody can change
those, because writers refuse what does not match its checksums. What others
write meanwhile to the good pages of the group is read anew, so nothing of it is
lost and nothing of it stands in the way.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Sequence

import numpy as np
import valkey

from medic8.errors import ChangedError, RefusedError, TransientError
from medic8.model.grid import DamageNature, QuarantineItem
from medic8.targets.grid import checksum
from medic8.targets.grid.compare_and_write import (
    Answer,
    Check,
    CompareAndWrite,
    HasSha1,
    IsAbsent,
    Write,
    WriteValue,
)
from medic8.targets.grid.findings import findings
from medic8.targets.grid.format import VALUE_BYTES, FormatError, Manifest
from medic8.targets.grid.image import GroupImage, Value
from medic8.targets.grid.judgement import Judgement, judge
from medic8.targets.grid.layout import BLOCK_BYTES, MEMBERS, PAGE_BYTES, PAGES, ROLES, role_name
from medic8.targets.grid.lost_record import MOST_LOST_BYTES, LostRow, pack_lost, unpack_lost
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.reading import group_keys, read_group
from medic8.targets.grid.write import Patience, whole_group
from medic8.targets.valkey.conversation import conversation

_PAGE_LENGTH = struct.Struct("<H")
_LIST_LENGTH = struct.Struct("<I")

#: Length of a list that is not there.
_NO_LIST = 0xFFFF_FFFF


def quarantine_item(name: str, judgement: Judgement) -> QuarantineItem | None:
    """What of a judged group nothing proves; None if every cell of it is known."""
    image = judgement.evidence.image
    unknown = ~judgement.is_known & np.array(judgement.exists)[:, np.newaxis]
    if not unknown[:MEMBERS].any():
        return None
    pages = tuple(sum(1 << page for page in range(PAGES) if unknown[role, page]) for role in range(ROLES))
    item = QuarantineItem(grid=name, grid_uuid=str(image.grid), group=image.group, pages=pages)
    held = [_last_checksum(judgement, member, page) for member, page in item.data]
    return item.model_copy(update={"held": hashlib.sha256(repr(held).encode()).hexdigest()})


def obstacle(image: GroupImage) -> str:
    """What a person has to do first, before pages of a group can be given up; empty if nothing."""
    for role, value in enumerate((*image.values, image.sums)):
        what = role_name(image.group, role) if role < ROLES else f"the checksums of group {image.group}"
        if value is not None and not isinstance(value, bytes):
            return f"the key of {what} holds a value of another type: move it away (RENAME), then heal again"
        if value is not None and len(value) > VALUE_BYTES:
            return f"{what} is longer than the {VALUE_BYTES:,} bytes of a block: look at it, move it away"
    try:
        _rows(image)
    except FormatError as exc:
        return (
            f"group {image.group}: {exc}; what it held cannot be proven: "
            f"medic8 grid refill TARGET --dismiss --group {image.group} drops it"
        )
    return ""


def saved_form(client: valkey.Valkey, item: QuarantineItem) -> bytes:
    """
    What a quarantine writes over, as it is kept: each page after its length, then the list after its own.

    Raises:
        RefusedError: the grid is another one, or a person has to do something first.
    """
    return _saved_form(_read(client, _manifest(client, item), item.group), item)


def wanted(client: valkey.Valkey, item: QuarantineItem, *, recovery: str, at_s: int) -> bytes:
    """
    The same as it shall be: zeros, and the list with the new pages on it.

    Raises:
        ChangedError: other pages than those of *item* are what nothing proves now.
        RefusedError: as above.
    """
    manifest = _manifest(client, item)
    judgement = _judged(_read(client, manifest, item.group), manifest, item)
    rows = {row.place: row for row in _rows(judgement.evidence.image)}
    keys = checksum.place_keys(checksum.grid_key(manifest.uuid), item.group)
    for member, page in item.data:
        known = _last_checksum(judgement, member, page)
        before = rows.get((member, page))
        if before is not None and known == checksum.hash_page(bytes(PAGE_BYTES)) ^ int(keys[member, page]):
            known = before.checksum  # nobody filled it since: the zeros are not what was lost
        rows[member, page] = LostRow(member, page, known, at_s, uuid.UUID(recovery))
    record = pack_lost(manifest.uuid, item.group, rows.values()) or b""
    zero_pages = (_PAGE_LENGTH.pack(PAGE_BYTES) + bytes(PAGE_BYTES)) * len(item.data)
    parity = _new_values(judgement, manifest)[0]
    for role, page in item.places[len(item.data) :]:
        zero_pages += _PAGE_LENGTH.pack(PAGE_BYTES) + _page(parity[role], page)
    return zero_pages + _LIST_LENGTH.pack(len(record)) + record


def swap(
    client: valkey.Valkey,
    item: QuarantineItem,
    expected: bytes,
    new: bytes,
    fence: Sequence[Check],
    patience: Patience,
) -> Answer:
    """
    Give the pages up if they and the list still are what was saved.

    Args:
        client: Where to write.
        item: Which pages.
        expected: What `saved_form` returned.
        new: What `wanted` returned.
        fence: Checks that are made first.
        patience: How often to try when others write into the same group.
    Returns:
        `Answer.CHANGED` if somebody changed the pages or the list: nothing was written.
    Raises:
        ChangedError: other pages than those of *item* are what nothing proves now; nothing was written.
        TransientError: others kept changing the group; nothing was written.
    """
    manifest = _manifest(client, item)
    record = _list_of(new, item)
    for attempt in range(patience.attempts):
        image = _read(client, manifest, item.group)
        if _saved_form(image, item) != expected:
            return Answer.CHANGED
        judgement = _judged(image, manifest, item)
        outcome = CompareAndWrite(client)(
            _as_read(image, manifest), _writes(judgement, manifest, record), fence=fence
        )
        if outcome.answer is not Answer.CHANGED:
            return outcome.answer
        patience.pause(attempt)
    raise TransientError(
        f"grid {item.grid!r}, group {item.group}: others changed it during each of {patience.attempts} tries"
    )


def problem_after(client: valkey.Valkey, item: QuarantineItem) -> str:
    """Why the group is not what a quarantine leaves behind, P and Q included; empty if it is."""
    manifest = _manifest(client, item)
    image = _read(client, manifest, item.group)
    members = manifest.layout.members(item.group)
    judgement = judge(image, checksum.grid_key(manifest.uuid), members, deep=True)
    damage = [found.damage for found in findings(judgement)]
    wrong = [each.detail for each in damage if each.nature is not DamageNature.STRAY]
    if wrong:
        return wrong[0]
    missing = set(item.data) - {row.place for row in _rows(image)}
    return f"{len(missing)} pages of group {item.group} are not on its list of lost pages" if missing else ""


def took_effect(client: valkey.Valkey, item: QuarantineItem, recovery: str) -> bool | None:
    """
    Whether *recovery* gave the pages up, whatever was written since.

    Returns:
        True if the list names the recovery; False if the pages are still what nothing proves; None if the
        group tells neither, as after somebody replaced it.
    """
    manifest = _manifest(client, item)
    image = _read(client, manifest, item.group)
    by = {row.place for row in _rows(image) if str(row.recovery) == recovery}
    if by.intersection(item.data):
        return True
    judgement = judge(image, checksum.grid_key(manifest.uuid), manifest.layout.members(item.group))
    return False if all(not judgement.is_known[place] for place in item.data) else None


def _manifest(client: valkey.Valkey, item: QuarantineItem) -> Manifest:
    manifest = read_manifest(client, item.grid).manifest
    if manifest.uuid != uuid.UUID(item.grid_uuid):
        raise RefusedError(f"grid {item.grid!r}: it is {manifest.uuid} now and was {item.grid_uuid}")
    return manifest


def _read(client: valkey.Valkey, manifest: Manifest, group: int) -> GroupImage:
    with conversation(client) as talk:
        image = read_group(talk, manifest, group)
    if why := obstacle(image):
        raise RefusedError(f"grid {manifest.name!r}: {why}")
    return image


def _judged(image: GroupImage, manifest: Manifest, item: QuarantineItem) -> Judgement:
    judgement = judge(image, checksum.grid_key(manifest.uuid), manifest.layout.members(item.group))
    if quarantine_item(item.grid, judgement) != item:
        raise ChangedError(
            f"grid {item.grid!r}, group {item.group}: other pages than the {len(item.data)} of the plan are "
            "what nothing proves now"
        )
    return judgement


def _rows(image: GroupImage) -> tuple[LostRow, ...]:
    if image.lost is None:
        return ()
    if not isinstance(image.lost, bytes):
        raise FormatError(f"the list of lost pages is a {image.lost.name}")
    return unpack_lost(image.lost, image.grid, image.group)


def _last_checksum(judgement: Judgement, member: int, page: int) -> int | None:
    """What a page that is found later would have to match: the record's word before the footer's."""
    record, footer = judgement.evidence.sound_record, judgement.evidence.footer(member)
    if record is not None and record.exists(member):
        return int(record.sums[member, page])
    return None if footer is None else int(footer[page])


def _saved_form(image: GroupImage, item: QuarantineItem) -> bytes:
    parts = []
    for role, page in item.places:
        content = _page(image.values[role], page)
        parts += [_PAGE_LENGTH.pack(len(content)), content]
    record = image.lost if isinstance(image.lost, bytes) else None
    parts += [_LIST_LENGTH.pack(_NO_LIST if record is None else len(record)), record or b""]
    return b"".join(parts)


def _page(value: Value, page: int) -> bytes:
    return (
        value[:BLOCK_BYTES][page * PAGE_BYTES : (page + 1) * PAGE_BYTES] if isinstance(value, bytes) else b""
    )


def _list_of(form: bytes, item: QuarantineItem) -> bytes:
    """The list at the end of what `wanted` returned."""
    at = len(item.places) * (_PAGE_LENGTH.size + PAGE_BYTES) + _LIST_LENGTH.size
    record = form[at:]
    if not 0 < len(record) <= MOST_LOST_BYTES:
        raise RefusedError(
            f"group {item.group} of grid {item.grid!r}: there is no list of lost pages to be written"
        )
    return record


def _new_values(judgement: Judgement, manifest: Manifest) -> tuple[dict[int, bytes], bytes]:
    known = np.where(judgement.is_known[:, :, np.newaxis], judgement.pages, np.uint8(0))
    blocks = {member: known[member].reshape(-1) for member in range(MEMBERS) if judgement.exists[member]}
    group = judgement.evidence.image.group
    return whole_group(manifest, checksum.grid_key(manifest.uuid), group, blocks)


def _as_read(image: GroupImage, manifest: Manifest) -> list[Check]:
    values = (*image.values, image.sums, image.lost)
    return [
        HasSha1(key, hashlib.sha1(value, usedforsecurity=False).hexdigest())
        if isinstance(value, bytes)
        else IsAbsent(key)
        for key, value in zip(group_keys(manifest.name, image.group), values, strict=True)
    ]


def _writes(judgement: Judgement, manifest: Manifest, lost: bytes) -> list[Write]:
    image = judgement.evidence.image
    values, record = _new_values(judgement, manifest)
    *roles, sums_key, lost_key = group_keys(manifest.name, image.group)
    writes: list[Write] = [
        WriteValue(roles[role], value) for role, value in values.items() if value != image.values[role]
    ]
    return [*writes, WriteValue(sums_key, record), WriteValue(lost_key, lost)]
