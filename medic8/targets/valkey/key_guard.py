"""
Keys that a plan does not touch: a sample of them, by digest, before and after.

Clients go on writing meanwhile, so that a key is another one than before says
nothing by itself. What is said is exact, and follows from two facts that the server
keeps: how many commands that write it has carried out (``INFO commandstats``), and for
how long nobody had used a key (``OBJECT IDLETIME``). See `judge_keys`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import valkey
import valkey.exceptions

from medic8.analysis.hard_guards import of, verdict
from medic8.model.guard import GuardVerdict, HardReading, Verdict
from medic8.model.wording import counted
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.conversation import Conversation, conversation, raise_first
from medic8.targets.valkey.elements import Kind
from medic8.targets.valkey.read_key import Found, KeyReader, Sized
from medic8.targets.valkey.read_pieces import Abilities

KEYS = "other keys"
_WRITES = "writes"
_CLOCK = "clock"

#: Keys in the sample, and scan calls to find them, at most.
_MOST_KEYS = 64
_MOST_SCANS = 16

#: A key that nobody had used for this long is at rest.
_AT_REST_S = 60

#: A command that writes and that the recovery itself sends: it renews the claim, and changes no value.
_OUR_OWN = b"pexpire"

#: Keys with fields that expire, as Valkey 9 and as Redis 7.4 count them.
_FIELDS_EXPIRE = re.compile(rb"(?:keys_with_volatile_items|subexpiry)=(\d+)")

#: The guard that reads how many keys the server has evicted.
EVICTIONS = "evictions"

_GONE = "gone"
_NO_TIME = -1


class _Key(NamedTuple):
    """A key as it was, its expiry as Unix time in ms (-1 is never), and whether it was at rest."""

    kind: str
    digest: str
    expires_at_ms: int
    is_at_rest: bool

    @classmethod
    def of(cls, text: str) -> _Key:
        kind, digest, expires_at_ms, is_at_rest = text.split()
        return cls(kind, digest, int(expires_at_ms), is_at_rest == "rest")

    def __str__(self) -> str:
        return f"{self.kind} {self.digest} {self.expires_at_ms} {'rest' if self.is_at_rest else 'used'}"


def read_keys(
    client: valkey.Valkey, known: Sequence[HardReading], *, is_ours: Callable[[bytes], bool]
) -> tuple[HardReading, ...]:
    """
    A sample of keys, and how much was written so far.

    Args:
        client: On the database that is looked at.
        known: The readings from before, whose keys are looked at again; empty chooses a sample: the first
            that ``SCAN`` gives.
        is_ours: Whether a plan may touch a key of that name; those are left out.
    """
    try:
        return tuple(_read(client, known, is_ours))
    except valkey.exceptions.ResponseError as exc:
        return (HardReading(guard=KEYS, unseen=str(exc)),)


def _read(
    client: valkey.Valkey, known: Sequence[HardReading], is_ours: Callable[[bytes], bool]
) -> list[HardReading]:
    names = [bytes.fromhex(about) for about in of(known, KEYS) if about] if known else None
    with conversation(client) as talk:
        # Before the keys the first time, after them the second: no write falls between.
        writes = [] if known else [_writes(talk)]
        if names is None:
            names = _sample(talk, is_ours)
        idle = talk.ask([("OBJECT", "IDLETIME", name) for name in names])
        reader = KeyReader(talk, Abilities.of(talk))
        sizes = reader.sizes(names)
        small = [each for each in sizes if isinstance(each, Sized) and each.is_small]
        if fields_expire(talk):
            small = [each for each in small if each.kind is not Kind.HASH]
        found = {key.name: value for key, value, _ in reader.small(small)}
        answers = talk.ask([("TIME",)])
        raise_first(answers)
        seconds, micros = answers[0]
        clock = HardReading(guard=_CLOCK, value=str(int(seconds) * 1000 + int(micros) // 1000))
        writes = writes or [_writes(talk)]
    readings = [*writes, clock]
    for name, size, rest in zip(names, sizes, idle, strict=True):
        value = _value(size, found.get(name), rest)
        if value:
            readings.append(HardReading(guard=KEYS, about=name.hex(), value=value))
    return readings


def _value(size: Any, found: Any, rest: Any) -> str:
    if size is None:
        return _GONE
    if isinstance(found, Found):
        is_at_rest = isinstance(rest, int) and rest >= _AT_REST_S
        return str(_Key(found.kind.type_name, found.digest.hex(), found.expires_at_ms, is_at_rest))
    return ""  # too large to read for this, of a module, or another one at this very moment


def _sample(talk: Conversation, is_ours: Callable[[bytes], bool]) -> list[bytes]:
    names: dict[bytes, None] = {}
    cursor: bytes | int = 0
    for _ in range(_MOST_SCANS):
        answers = talk.ask([("SCAN", cursor, "COUNT", 2 * _MOST_KEYS)])
        raise_first(answers)
        cursor, page = answers[0]
        names |= dict.fromkeys(name for name in page if not name.startswith(CLAIM_KEY) and not is_ours(name))
        if int(cursor) == 0 or len(names) >= _MOST_KEYS:
            break
    return list(names)[:_MOST_KEYS]


def fields_expire(talk: Conversation) -> bool:
    """Whether fields of hashes expire here: such a hash changes, or goes, although nobody writes."""
    answers = talk.ask([("INFO", "keyspace")])
    raise_first(answers)
    return any(int(count) for count in _FIELDS_EXPIRE.findall(bytes(answers[0])))


def _writes(talk: Conversation) -> HardReading:
    """How many commands that write were carried out, without those that renew the claim."""
    listed = talk.ask([("COMMAND", "LIST", "FILTERBY", "ACLCAT", "write")])[0]
    if isinstance(listed, Exception):  # before Redis 7.0
        listed = talk.ask([("ACL", "CAT", "write")])[0]
    if isinstance(listed, Exception):
        return HardReading(guard=_WRITES, unseen="the server does not tell which commands write")
    writing = {name.lower() for name in listed} - {_OUR_OWN}
    answer = talk.ask([("INFO", "commandstats")])[0]
    if isinstance(answer, Exception):
        return HardReading(guard=_WRITES, unseen=str(answer))
    calls = 0
    for line in bytes(answer).splitlines():
        name, _, numbers = line.removeprefix(b"cmdstat_").partition(b":")
        if name in writing and numbers.startswith(b"calls="):
            calls += int(numbers.removeprefix(b"calls=").partition(b",")[0])
    return HardReading(guard=_WRITES, value=str(calls))


def judge_keys(before: Sequence[HardReading], after: Sequence[HardReading]) -> GuardVerdict:
    """
    Whether keys that the plan does not touch are as they were.

    | a key | and | verdict |
    |---|---|---|
    | is as it was, or its expiry has come | | unchanged |
    | is gone | the server evicted keys meanwhile | cannot tell |
    | is another one or gone | no command that writes was carried out since | worse |
    | is gone, or of another type | somebody wrote, and it had been at rest for a minute | worse |
    | is another one or gone | otherwise | cannot tell: a client may have done it |
    """
    was, is_now = of(before, KEYS), of(after, KEYS)
    unseen = next((each.unseen for each in (*was.values(), *is_now.values()) if each.unseen), "")
    if unseen or not was:
        return verdict(KEYS, "", "", Verdict.CANNOT_TELL, unseen or "there is none to look at")
    nobody_wrote = _nobody_wrote(before, after)
    evicted = of(before, EVICTIONS) != of(after, EVICTIONS)
    clock_ms = int(of(after, _CLOCK)[""].value)
    spoilt: list[str] = []
    unclear: list[str] = []
    for about, each in was.items():
        later = is_now.get(about)
        if later is None or each.value == _GONE:
            continue  # not read this time
        key = _Key.of(each.value)
        if not _differs(key, later.value, clock_ms):
            continue
        if later.value == _GONE and evicted:
            unclear.append(about)
            continue
        is_lost = later.value == _GONE or _Key.of(later.value).kind != key.kind
        (spoilt if nobody_wrote or (is_lost and key.is_at_rest) else unclear).append(about)
    words = f"{counted(len(was), 'key')} looked at", _after_in_words(len(spoilt) + len(unclear))
    if spoilt:
        why = "nobody wrote meanwhile" if nobody_wrote else "gone or of another type, after a minute at rest"
        return verdict(KEYS, *words, Verdict.WORSE, f"key with SHA-256 {_short(spoilt[0])}: {why}")
    if unclear:
        return verdict(KEYS, *words, Verdict.CANNOT_TELL, "clients were writing and may have done it")
    return verdict(KEYS, *words, Verdict.UNCHANGED)


def _nobody_wrote(before: Sequence[HardReading], after: Sequence[HardReading]) -> bool:
    was, is_now = of(before, _WRITES).get(""), of(after, _WRITES).get("")
    return was is not None and is_now is not None and bool(was.value) and was.value == is_now.value


def _differs(key: _Key, later: str, clock_ms: int) -> bool:
    if later == _GONE:
        return key.expires_at_ms == _NO_TIME or key.expires_at_ms > clock_ms
    now = _Key.of(later)
    return (now.kind, now.digest) != (key.kind, key.digest)


def _after_in_words(count: int) -> str:
    return f"{counted(count, 'key')} changed or gone" if count else "as they were"


def _short(about: str) -> str:
    """Names of keys are never shown; whoever knows the name can tell that it is this one."""
    return hashlib.sha256(bytes.fromhex(about)).hexdigest()[:12]
