"""The proven content of a grid's parity groups, for a backup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from medic8.targets.grid import checksum
from medic8.targets.grid.format import SUMS_BYTES, FormatError, Manifest, unpack_sums
from medic8.targets.grid.image import GroupImage, is_clean
from medic8.targets.grid.judgement import judge
from medic8.targets.grid.keys import sums_key
from medic8.targets.grid.layout import BLOCK_BYTES, PAGES, block_at
from medic8.targets.grid.reading import get_at_most, is_wrong_type, read_group
from medic8.targets.valkey.conversation import Conversation, raise_first

ALL_PAGES = (1 << PAGES) - 1

#: Records of checksums that are asked for together: 150 KiB.
_WINDOW = 64


@dataclass(frozen=True, slots=True)
class ProvenBlock:
    """
    One data block, as far as its content is known.

    Attributes:
        number: Of the block.
        content: Its 64 KiB; zeros where nothing is known.
        pages: Bit *n* says whether page *n* is known.
    """

    number: int
    content: bytes
    pages: int

    @property
    def lost_pages(self) -> int:
        """How many of its pages are not known."""
        return PAGES - self.pages.bit_count()


@dataclass(frozen=True, slots=True)
class ProvenGroup:
    """
    The data blocks of a parity group as they were at one moment.

    Attributes:
        blocks: Every block that the group has, ascending.
        bytes_read: Bytes of values received for it.
    """

    blocks: tuple[ProvenBlock, ...]
    bytes_read: int


def proven_group(talk: Conversation, manifest: Manifest, group: int) -> ProvenGroup:
    """
    Read *group* at one moment, and judge it.

    A page counts if it matches a copy of its checksum or follows from parity;
    of one that nothing proves, no bytes are offered. A group of which every key
    is gone looks like one that was never written.
    """
    image = read_group(talk, manifest, group)
    values = [value for value in (*image.values, image.sums) if isinstance(value, bytes)]
    key = checksum.grid_key(manifest.uuid)
    blocks = _clean(image, manifest) if is_clean(image, key) else _judged(image, manifest, key)
    return ProvenGroup(tuple(blocks), sum(map(len, values)))


def count_blocks(talk: Conversation, manifest: Manifest) -> int:
    """How many data blocks exist, by the groups' records; of an unusable record, as many as there may be."""
    total = 0
    every = range(manifest.layout.groups)
    for start in every[::_WINDOW]:
        groups = every[start : start + _WINDOW]
        answers = talk.ask([get_at_most(sums_key(manifest.name, group), SUMS_BYTES) for group in groups])
        total += sum(
            _blocks_by(answer, manifest, group) for group, answer in zip(groups, answers, strict=True)
        )
    return total


def _blocks_by(answer: object, manifest: Manifest, group: int) -> int:
    if not answer:
        return 0
    if is_wrong_type(answer):
        return manifest.layout.members(group)
    raise_first([answer])
    try:
        return sum(unpack_sums(cast("bytes", answer), manifest.uuid, group).existing)
    except FormatError:
        return manifest.layout.members(group)


def _clean(image: GroupImage, manifest: Manifest) -> Iterator[ProvenBlock]:
    for member in range(manifest.layout.members(image.group)):
        value = image.values[member]
        if isinstance(value, bytes):
            yield ProvenBlock(block_at(image.group, member), value[:BLOCK_BYTES], ALL_PAGES)


def _judged(image: GroupImage, manifest: Manifest, key: int) -> Iterator[ProvenBlock]:
    members = manifest.layout.members(image.group)
    verdict = judge(image, key, members)
    for member in range(members):
        if verdict.exists[member]:
            is_known = verdict.is_known[member]
            content = np.where(is_known[:, np.newaxis], verdict.pages[member], np.uint8(0)).tobytes()
            pages = sum(1 << page for page in range(PAGES) if is_known[page])
            yield ProvenBlock(block_at(image.group, member), content, pages)
