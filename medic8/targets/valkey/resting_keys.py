"""Compare a sample of keys that nobody uses with what a copy of a server holds."""

from __future__ import annotations

import valkey

from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.conversation import Conversation, conversation, raise_first
from medic8.targets.valkey.key_guard import fields_expire
from medic8.targets.valkey.read_key import Found, KeyReader, Sized
from medic8.targets.valkey.read_pieces import Abilities

_SAMPLE = 1000

#: A key that expires so soon may be gone on one side.
_SOON_MS = 60_000


def differing_at_rest(ours: valkey.Valkey, copy: valkey.Valkey, *, rest_s: float) -> tuple[int, int]:
    """
    How many keys of a sample were compared, and how many of them *copy* holds otherwise.

    Compared are keys of the database of *ours* that nobody had used for *rest_s*, by what the server says
    of them (``OBJECT IDLETIME``, which one that evicts by frequency does not tell; then none is).
    """
    with conversation(ours) as one, conversation(copy) as other:
        names = _names(one)
        idle = one.ask([("OBJECT", "IDLETIME", name) for name in names])
        resting = [
            name for name, each in zip(names, idle, strict=True) if isinstance(each, int) and each >= rest_s
        ]
        mine, theirs = _digests(one, resting), _digests(other, resting)
    known = [name for name in resting if name in mine]
    return len(known), sum(theirs.get(name) != mine[name] for name in known)


def _names(talk: Conversation) -> list[bytes]:
    names: dict[bytes, None] = {}
    cursor: bytes | int = 0
    while len(names) < _SAMPLE:
        answers = talk.ask([("SCAN", cursor, "COUNT", 200)])
        raise_first(answers)
        cursor, page = answers[0]
        names |= dict.fromkeys(name for name in page if not name.startswith(CLAIM_KEY))
        if int(cursor) == 0:
            break
    return list(names)[:_SAMPLE]


def _digests(talk: Conversation, names: list[bytes]) -> dict[bytes, tuple[bytes, int]]:
    """Digest and expiry of those that are small and stay for a minute."""
    reader = KeyReader(talk, Abilities.of(talk))
    may_lose_fields = fields_expire(talk)
    answers = talk.ask([("TIME",)])
    raise_first(answers)
    soon_ms = int(answers[0][0]) * 1000 + _SOON_MS
    small = [each for each in reader.sizes(names) if isinstance(each, Sized) and each.is_small]
    return {
        key.name: (found.digest, found.expires_at_ms)
        for key, found, _ in reader.small(small)
        if isinstance(found, Found)
        and not 0 <= found.expires_at_ms < soon_ms
        and not (may_lose_fields and found.kind.type_name == "hash")
    }
