"""Keys that a restore fills before it gives them their names, and what killed restores have left of them."""

from __future__ import annotations

import base64
import binascii
import itertools

from pydantic import ValidationError

from medic8.model.recovery import Owner
from medic8.owner import is_known_dead, this_process
from medic8.targets.valkey.conversation import Conversation, raise_first
from medic8.targets.valkey.key_names import glob_of_prefix
from medic8.targets.valkey.slots import slot_tag

#: How their names begin.
TEMPORARY = b"medic8:restoring:"

#: So long after it was last written to, the server removes one by itself.
LASTS_MS = 10 * 60 * 1000

_SCAN_COUNT = 1000


class TemporaryNames:
    """Makes names that no other key has, in the same slot as the key that is to take the place."""

    def __init__(self) -> None:
        self._owner = base64.urlsafe_b64encode(this_process().model_dump_json().encode())
        self._numbers = itertools.count()

    def name_for(self, key: bytes) -> bytes:
        """A name for what will become *key*."""
        return b"%s%s:%d-%d:{%s}" % (TEMPORARY, self._owner, id(self), next(self._numbers), slot_tag(key))


def remove_leftovers(talk: Conversation) -> int:
    """
    Remove what restores have left whose process is certainly dead.

    Returns:
        How many keys.
    """
    removed = 0
    cursor = b"0"
    while True:
        (answer,) = talk.ask([("SCAN", cursor, "MATCH", glob_of_prefix(TEMPORARY), "COUNT", _SCAN_COUNT)])
        raise_first([answer])
        cursor, names = answer
        dead = [name for name in names if _is_left(name)]
        if dead:
            raise_first(talk.ask([("UNLINK", name) for name in dead]))
            removed += len(dead)
        if cursor == b"0":
            return removed


def _is_left(name: bytes) -> bool:
    try:
        owner = base64.urlsafe_b64decode(name.removeprefix(TEMPORARY).partition(b":")[0])
        return is_known_dead(Owner.model_validate_json(owner))
    except (binascii.Error, ValidationError):
        return False  # nobody knows whose it is
