"""
Write several keys at one moment, if and only if everything named is as it was.

All comparisons come before the first write, because neither scripts nor
transactions roll back: a type, a permission or a lack of memory that would
stop a later write must be noticed before the first one. A script does it in
one round trip; WATCH and MULTI do it where scripts are missing, and for large
writes, which scripts copy several times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import valkey
import valkey.exceptions

from medic8.targets.valkey.conversation import Command, Conversation, conversation, raise_first


@dataclass(frozen=True, slots=True)
class HasBytes:
    """The string at *key* holds *expected* at *offset*."""

    key: str
    offset: int
    expected: bytes

    def __post_init__(self) -> None:
        if not self.expected:
            raise ValueError(f"key {self.key!r}: a comparison with no bytes compares nothing")


@dataclass(frozen=True, slots=True)
class IsAbsent:
    """There is no *key*."""

    key: str


@dataclass(frozen=True, slots=True)
class HasSha1:
    """The string at *key* has this SHA-1, in hexadecimal."""

    key: str
    sha1: str


@dataclass(frozen=True, slots=True)
class HoldsExactly:
    """The string at *key* is *expected*."""

    key: str
    expected: bytes


@dataclass(frozen=True, slots=True)
class HasType:
    """The key holds a value of this type, by the server's name of it."""

    key: str
    type_name: str


@dataclass(frozen=True, slots=True)
class HasExpiry:
    """The key expires at this time of the server's clock, in milliseconds; needs PEXPIRETIME (Redis 7)."""

    key: str
    at_ms: int


Check = HasBytes | IsAbsent | HasSha1 | HoldsExactly | HasType | HasExpiry


@dataclass(frozen=True, slots=True)
class WriteRange:
    """Write *content* into the string at *key* from *offset* on; a check must name the key."""

    key: str
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class WriteValue:
    """
    Make *key* the string *content*, whatever it held.

    Attributes:
        key: Its name.
        content: All of the value.
        expires_at_ms: When it expires by the server's clock; one that has passed deletes it.
        keeps_expiry: An expiry that the key has stays.
    """

    key: str
    content: bytes
    expires_at_ms: int | None = None
    keeps_expiry: bool = False

    @property
    def options(self) -> tuple[str | int, ...]:
        """What SET is told about the expiry."""
        if self.expires_at_ms is not None:
            return ("PXAT", self.expires_at_ms)
        return ("KEEPTTL",) if self.keeps_expiry else ()


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete *key*."""

    key: str


Write = WriteRange | WriteValue | Delete


class Answer(StrEnum):
    """What came of a compare-and-write."""

    WRITTEN = "written"
    """Everything was as expected, and everything was written."""
    CHANGED = "changed"
    """A check failed; nothing was written."""
    FENCED = "fenced"
    """A check of the fence failed; nothing was written."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What came of a compare-and-write, and why.

    Attributes:
        answer: Whether it was written.
        failed: The first check that failed; None if all held or if a watched key changed meanwhile.
    """

    answer: Answer
    failed: Check | None = None

    @property
    def is_written(self) -> bool:
        """Whether everything was written; if not, nothing was."""
        return self.answer is Answer.WRITTEN


class Road(StrEnum):
    """How the comparison is made."""

    SCRIPT = "script"
    WATCH = "watch"


#: Beyond this many bytes sent, WATCH and MULTI are faster than a script.
SCRIPT_LIMIT_BYTES = 128 * 1024

# Arguments: how many checks, then four for each: kind, number of the key, two operands; then the writes in
# the same shape. The answer is 0, or the number of the first check that failed.
_SCRIPT = """
local types = {}
for i, key in ipairs(KEYS) do types[i] = redis.call('TYPE', key)['ok'] end

local function holds(kind, i, a, b)
  if kind == 'absent' then return types[i] == 'none' end
  if kind == 'type' then return types[i] == a end
  if kind == 'expiry' then return redis.call('PEXPIRETIME', KEYS[i]) == tonumber(b) end
  if types[i] ~= 'string' then return false end
  if kind == 'bytes' then return redis.call('GETRANGE', KEYS[i], a, a + #b - 1) == b end
  local value = redis.call('GET', KEYS[i])
  if kind == 'sha1' then return redis.sha1hex(value) == b end
  return value == b
end

local checks = tonumber(ARGV[1])
for n = 1, checks do
  local at = n * 4 - 2
  if not holds(ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]) then return n end
end

local first = checks * 4 + 2
if not redis.acl_check_cmd and #ARGV > first + 3 then
  return redis.error_reply('scripting here cannot ask for the permission of every write beforehand')
end
if redis.acl_check_cmd then
  for at = first, #ARGV, 4 do
    local kind, key = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
    if (kind == 'SETRANGE' and not redis.acl_check_cmd('SETRANGE', key, '0', ''))
        or (kind == 'SET' and not redis.acl_check_cmd('SET', key, ''))
        or (kind == 'DEL' and not redis.acl_check_cmd('DEL', key)) then
      return redis.error_reply('NOPERM this user may not run ' .. kind .. ' on a key to be written')
    end
  end
end

for at = first, #ARGV, 4 do
  local kind, key = ARGV[at], KEYS[tonumber(ARGV[at + 1])]
  if kind == 'SETRANGE' then redis.call('SETRANGE', key, ARGV[at + 2], ARGV[at + 3])
  elseif kind == 'SET' and ARGV[at + 2] == '' then redis.call('SET', key, ARGV[at + 3])
  elseif kind == 'SET' and ARGV[at + 2] == 'KEEPTTL' then redis.call('SET', key, ARGV[at + 3], 'KEEPTTL')
  elseif kind == 'SET' then redis.call('SET', key, ARGV[at + 3], 'PXAT', ARGV[at + 2])
  else redis.call('DEL', key) end
end
return 0
"""
_SCRIPT_SHA1 = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class CompareAndWrite:
    """
    Compares and writes through one client, by script where the server has scripts.

    Args:
        client: A client that does not decode answers.
        road: Always this way; None finds out what the server has and what is faster.
    """

    def __init__(self, client: valkey.Valkey, *, road: Road | None = None) -> None:
        self._client = client
        self.road = road
        self._has_scripts = True

    def __call__(
        self, checks: Sequence[Check], writes: Sequence[Write], *, fence: Sequence[Check] = ()
    ) -> Outcome:
        """
        Write everything at one moment if every check holds, else nothing.

        Args:
            checks: What must hold; if there is nothing, and no fence, it is written whatever is there.
            writes: What is then written, in order. In a cluster all keys must share one slot.
            fence: Checks that are made first and whose failure is told apart.
        Raises:
            ValueError: a `WriteRange` on a key that no check names; its type would be unknown.
            ResponseError: the server refused (memory, permission, read-only replica); nothing was written.
            ConnectionError: the connection broke; it is unknown whether anything was written, never a part.
        """
        named = {check.key for check in (*fence, *checks) if not isinstance(check, HasType | HasExpiry)}
        loose = next((w.key for w in writes if isinstance(w, WriteRange) and w.key not in named), None)
        if loose is not None:
            raise ValueError(f"a range of key {loose!r} is to be written, and no check names that key")
        every = (*fence, *checks)
        road = self.road or (Road.SCRIPT if self._has_scripts and _fits(every, writes) else Road.WATCH)
        with conversation(self._client) as talk:
            if not every:
                raise_first(talk.ask_at_once([_command(write) for write in writes]) or [])
                return Outcome(Answer.WRITTEN)
            if road is Road.SCRIPT:
                try:
                    failed = _by_script(talk, every, writes)
                except valkey.exceptions.ResponseError as exc:
                    if self.road is not None or not _is_scripting_missing(exc):
                        raise
                    self._has_scripts = False
                    failed = _by_watch(talk, every, writes)
            else:
                failed = _by_watch(talk, every, writes)
        if failed is None:
            return Outcome(Answer.WRITTEN)
        if failed == _WATCHED:
            return Outcome(Answer.CHANGED)
        return Outcome(Answer.FENCED if failed < len(fence) else Answer.CHANGED, every[failed])


_WATCHED = -1


def _fits(checks: Sequence[Check], writes: Sequence[Write]) -> bool:
    size = sum(len(check.expected) for check in checks if isinstance(check, HasBytes | HoldsExactly))
    size += sum(len(write.content) for write in writes if not isinstance(write, Delete))
    return size <= SCRIPT_LIMIT_BYTES


def _is_scripting_missing(exc: valkey.exceptions.ResponseError) -> bool:
    """Whether this server, or this user, has no EVAL, or our script says so; nothing was written then."""
    text = str(exc).lower()
    return (
        "unknown command" in text
        or ("eval" in text and ("no permissions" in text or "not allowed" in text))
        or "scripting" in text
        or "could not find scripting engine" in text
    )


def _by_script(talk: Conversation, checks: Sequence[Check], writes: Sequence[Write]) -> int | None:
    """Index of the first check that failed, or None if everything was written."""
    keys: dict[str, int] = {}
    arguments: list[str | bytes | int] = [len(checks)]
    for check in checks:
        arguments += [*_operands(check, keys.setdefault(check.key, len(keys) + 1))]
    for write in writes:
        number = keys.setdefault(write.key, len(keys) + 1)
        match write:
            case WriteRange(offset=offset, content=content):
                arguments += ["SETRANGE", number, offset, content]
            case WriteValue(content=content) as whole:
                arguments += ["SET", number, whole.options[-1] if whole.options else "", content]
            case Delete():
                arguments += ["DEL", number, "", ""]
    (answer,) = talk.ask([("EVALSHA", _SCRIPT_SHA1, len(keys), *keys, *arguments)])
    if isinstance(answer, valkey.exceptions.NoScriptError):
        (answer,) = talk.ask([("EVAL", _SCRIPT, len(keys), *keys, *arguments)])
    raise_first([answer])
    return int(answer) - 1 if answer else None


def _operands(check: Check, number: int) -> tuple[str | bytes | int, ...]:
    match check:
        case HasBytes(offset=offset, expected=expected):
            return ("bytes", number, offset, expected)
        case IsAbsent():
            return ("absent", number, "", "")
        case HasSha1(sha1=sha1):
            return ("sha1", number, "", sha1)
        case HoldsExactly(expected=expected):
            return ("exactly", number, "", expected)
        case HasType(type_name=type_name):
            return ("type", number, type_name, "")
        case HasExpiry(at_ms=at_ms):
            return ("expiry", number, "", at_ms)


def _by_watch(talk: Conversation, checks: Sequence[Check], writes: Sequence[Write]) -> int | None:
    """Index of the first check that failed, `_WATCHED`, or None if everything was written."""
    try:
        failed = _watch_and_compare(talk, checks, writes)
        if failed is not None:
            talk.ask([("UNWATCH",)])
            return failed
        done = talk.ask_at_once([_command(write) for write in writes])
    except valkey.exceptions.ResponseError:
        talk.ask([("UNWATCH",)])
        raise
    if done is None:
        return _WATCHED
    raise_first(done)
    return None


def _watch_and_compare(talk: Conversation, checks: Sequence[Check], writes: Sequence[Write]) -> int | None:
    """Index of the first check that failed; the keys stay watched."""
    keys = list(dict.fromkeys([*(check.key for check in checks), *(write.key for write in writes)]))
    looks = [_look(check) for check in checks]
    watched, *answers = talk.ask([("WATCH", *keys), *(("TYPE", key) for key in keys), *looks])
    raise_first([watched, *answers[: len(keys)]])
    types = {key: name.decode() for key, name in zip(keys, answers, strict=False)}
    for index, (check, answer) in enumerate(zip(checks, answers[len(keys) :], strict=True)):
        if not _holds(check, types[check.key], answer):
            return index
    return None


def _look(check: Check) -> Command:
    match check:
        case HasBytes(key=key, offset=offset, expected=expected):
            return ("GETRANGE", key, offset, offset + len(expected) - 1)
        case HasSha1(key=key) | HoldsExactly(key=key):
            return ("GET", key)
        case IsAbsent(key=key) | HasType(key=key):
            return ("TYPE", key)
        case HasExpiry(key=key):
            return ("PEXPIRETIME", key)


def _holds(check: Check, type_name: str, answer: object) -> bool:
    match check:
        case IsAbsent():
            return type_name == "none"
        case HasType(type_name=wanted):
            return type_name == wanted
        case HasExpiry(at_ms=at_ms):
            if isinstance(answer, Exception):
                raise answer
            return answer == at_ms
        case HasSha1(sha1=sha1):
            is_same = (
                isinstance(answer, bytes) and hashlib.sha1(answer, usedforsecurity=False).hexdigest() == sha1
            )
            return type_name == "string" and is_same
        case HasBytes(expected=expected) | HoldsExactly(expected=expected):
            if isinstance(answer, Exception) and type_name == "string":
                raise answer
            return type_name == "string" and answer == expected


def _command(write: Write) -> Command:
    match write:
        case WriteRange(key=key, offset=offset, content=content):
            return ("SETRANGE", key, offset, content)
        case WriteValue(key=key, content=content) as whole:
            return ("SET", key, content, *whole.options)
        case Delete(key=key):
            return ("DEL", key)
