"""Name keys that a cluster keeps in the slot of other keys."""

from __future__ import annotations

import binascii
import functools
import itertools

#: Of a cluster.
_SLOTS = 16_384


def slot_tag(key: bytes) -> bytes:
    """
    What a cluster computes the slot of *key* from; if that cannot stand between braces, another of that slot.

    Source: Valkey documentation, Cluster specification, Hash tags.
    """
    _, is_opened, rest = key.partition(b"{")
    tag, is_closed, _ = rest.partition(b"}")
    if is_opened and is_closed and tag:
        return tag
    return _number_of_slot()[_slot(key)] if b"}" in key or not key else key


def _slot(hashed: bytes) -> int:
    return binascii.crc_hqx(hashed, 0) % _SLOTS


@functools.cache
def _number_of_slot() -> dict[int, bytes]:
    """For each slot a number that lies in it."""
    found: dict[int, bytes] = {}
    for number in itertools.count():
        found.setdefault(_slot(b"%d" % number), b"%d" % number)
        if len(found) == _SLOTS:
            break
    return found
