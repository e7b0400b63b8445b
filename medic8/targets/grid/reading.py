"""Read a parity group at one moment."""

from __future__ import annotations

from typing import Any

import valkey.exceptions

from medic8.targets.grid.format import SUMS_BYTES, VALUE_BYTES, Manifest
from medic8.targets.grid.image import GroupImage, Value, WrongType
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.layout import ROLES
from medic8.targets.grid.lost_record import MOST_LOST_BYTES
from medic8.targets.valkey.conversation import Command, Conversation, raise_first


def group_keys(name: str, group: int) -> list[str]:
    """The keys of a group: 16 data blocks, P, Q, its record of checksums, and its list of lost pages."""
    roles = (role_key(name, group, role) for role in range(ROLES))
    return [*roles, sums_key(name, group), lost_key(name, group)]


def get_at_most(key: str, good_bytes: int) -> Command:
    """
    Ask for a value, however long somebody made it, without more memory than a good one needs.

    Args:
        key: Of the value.
        good_bytes: How long a good value is. One byte more is asked for, so that a longer one is seen to be.
    Returns:
        A command that answers with an empty string where there is no key; TYPE tells it from an empty value.
    """
    return ("GETRANGE", key, 0, good_bytes)


def read_group(talk: Conversation, manifest: Manifest, group: int) -> GroupImage:
    """
    The values of *group* as they were at one moment, about 1.2 MB.

    Of a value that is too long, only so much as shows it.
    """
    keys = group_keys(manifest.name, group)
    *roles, record, lost = keys
    looks = [
        *(get_at_most(key, VALUE_BYTES) for key in roles),
        get_at_most(record, SUMS_BYTES),
        get_at_most(lost, MOST_LOST_BYTES),
    ]
    answers = talk.ask_at_once([*looks, *(("TYPE", key) for key in keys)]) or []
    values = [as_value(answer, answers[len(keys) + at]) for at, answer in enumerate(answers[: len(keys)])]
    return GroupImage(manifest.uuid, group, tuple(values[:ROLES]), values[ROLES], values[ROLES + 1])


def as_value(answer: Any, type_name: bytes) -> Value:
    """What a look at a key answered: bytes, None, or, for a key of another type, that type's name."""
    if is_wrong_type(answer):
        raise_first([type_name])
        return WrongType(type_name.decode())
    raise_first([answer])
    if not answer:
        raise_first([type_name])
    return None if not answer and type_name == b"none" else bytes(answer)


def is_wrong_type(answer: object) -> bool:
    """Whether the server refused to read a key as a string because it is none."""
    return isinstance(answer, valkey.exceptions.ResponseError) and "WRONGTYPE" in str(answer)
