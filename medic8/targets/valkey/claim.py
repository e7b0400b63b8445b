"""
Mark a server as being repaired, so that two journals never repair it at once.

The claim is one key of database 0, whichever database is repaired. What is
changed is guarded by a copy beside it, since a server compares only what lies
in one database, and a cluster only what lies in one slot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import valkey
import valkey.exceptions
from valkey.client import Pipeline

from medic8.errors import ClaimGoneError, FencedError
from medic8.model.recovery import Claim
from medic8.targets.claim_record import holder_of, require_replaceable
from medic8.targets.valkey.client import RECOVERY, was_cut_off
from medic8.targets.valkey.slots import slot_tag

#: What holds the claim; every change is guarded by its content, byte for byte.
CLAIM_KEY = b"medic8:claim"


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a claim is kept.

    Attributes:
        database: Number of the database.
        key: Name of the key.
    """

    database: int
    key: bytes


def places_of(claim: Claim, database: int) -> tuple[Place, ...]:
    """Everywhere that *claim* is kept for a connection to *database*, the server's own first."""
    beside = [_in_slot(tag) for tag in claim.tags]
    if not beside and database:
        beside = [Place(database, CLAIM_KEY)]
    return (Place(0, CLAIM_KEY), *beside)


def place_for(claim: Claim, database: int, key: bytes | None = None) -> Place:
    """Where the claim lies that guards *key*: in its database, and in its slot if slots matter."""
    if key is None or not claim.tags:
        return Place(database, CLAIM_KEY)
    return _in_slot(tag_of(key))


def tag_of(key: bytes) -> str:
    """The hash tag that keeps the claim in the slot of *key*; every character stands for one byte."""
    return slot_tag(key).decode("latin-1")


def take(client: valkey.Valkey, claim: Claim, *, lasts_s: float) -> None:
    """
    Put *claim* on the server for *lasts_s* seconds of the server's clock.

    An older claim of the same journal is replaced: the journal has granted the
    resource to this recovery, so the older one has ended. One with a higher fence
    is not: that recovery was granted later, or this one was taken over.

    Raises:
        ClaimedError: a recovery of another journal holds the server.
        FencedError: the claim changed while it was being taken, or a later one of this journal holds it.
    """
    for place in places_of(claim, database_of(client)):
        with _database(client, place.database):
            try:
                _take_at(client, place.key, claim, lasts_s=lasts_s)
            except (valkey.exceptions.OutOfMemoryError, valkey.exceptions.ExecAbortError) as exc:
                _take_on_full_server(client, place.key, claim, exc, lasts_s=lasts_s)


# A full server refuses to write anything, also what is to help it. This says that the writes of a script
# are small. Source: Valkey documentation, Scripting with Lua, script flags (since Redis 7.0).
_ON_FULL_SERVER = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= (ARGV[1] ~= '' and ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


def _take_on_full_server(
    client: valkey.Valkey, key: bytes, claim: Claim, refusal: Exception, *, lasts_s: float
) -> None:
    holder = cast("bytes | None", client.get(key)) or b""
    _require_replaceable(client, key, claim, holder)
    try:
        taken = client.execute_command(
            "EVAL", _ON_FULL_SERVER, 1, key, holder, claim.content, int(lasts_s * 1000)
        )
    except valkey.exceptions.ResponseError:
        raise valkey.exceptions.OutOfMemoryError(
            f"{refusal} (before Redis 7.0, and without scripts, a full server cannot be claimed)"
        ) from None
    if not taken:
        raise FencedError("the claim on the server changed at the same moment")


def _require_replaceable(client: valkey.Valkey | Pipeline, key: bytes, claim: Claim, holder: bytes) -> None:
    """See that what *holder* says may be replaced by *claim*."""
    left_ms = cast("int", client.pttl(key)) if holder else 0
    lapses = (
        f"its claim lapses in {left_ms / 1000:.0f} s"
        if left_ms >= 0
        else f"its claim has no expiry; if nobody repairs there: DEL {key.decode()}"
    )
    require_replaceable(holder, claim, what="the server", lapses=lapses)


def _take_at(client: valkey.Valkey, key: bytes, claim: Claim, *, lasts_s: float) -> None:
    lasts_ms = int(lasts_s * 1000)
    if client.set(key, claim.content, nx=True, px=lasts_ms):
        return
    with client.pipeline() as pipe:
        pipe.watch(key)
        holder = _present(pipe, key) or b""
        _require_replaceable(pipe, key, claim, holder)
        pipe.multi()
        pipe.set(key, claim.content, px=lasts_ms)
        carry_out(pipe)


def renew(client: valkey.Valkey, claim: Claim, *, lasts_s: float) -> None:
    """
    Hold *claim* for *lasts_s* more seconds.

    Raises:
        ClaimGoneError: it lapsed, or was evicted or deleted.
        FencedError: it is another's.
    """
    lasts_ms = int(lasts_s * 1000)
    for place in places_of(claim, database_of(client)):
        with _database(client, place.database), client.pipeline() as pipe:
            guard(pipe, claim, place.key)
            pipe.multi()
            pipe.pexpire(place.key, lasts_ms)
            try:
                carry_out(pipe)
            except valkey.exceptions.OutOfMemoryError:
                _on_full_server(client, claim, place.key, "PEXPIRE", lasts_ms)


#: Before Redis 7.4 and Valkey 8.0 a full server takes no command within MULTI, but scripts that take no
#: memory. Source: Redis 7.2, server.c, processCommand, reject_cmd_on_oom.
_IF_STILL_OURS = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call(ARGV[2], KEYS[1], unpack(ARGV, 3))
return 1
"""


def _on_full_server(client: valkey.Valkey, claim: Claim, key: bytes, *command: str | int) -> None:
    """
    Have *command* done with *key* if that still holds *claim*.

    Raises:
        FencedError: it does not.
    """
    name, *more = command
    if not client.execute_command("EVAL", _IF_STILL_OURS, 1, key, claim.content, name, *more):
        raise FencedError("the claim on the server changed at the same moment")


def release(client: valkey.Valkey, claim: Claim) -> None:
    """Take *claim* away where it is still there, the server's own last; another's is left alone."""
    for place in reversed(places_of(claim, database_of(client))):
        with _database(client, place.database), client.pipeline() as pipe:
            pipe.watch(place.key)
            if _present(pipe, place.key) != claim.content:
                continue
            pipe.multi()
            pipe.delete(place.key)
            with contextlib.suppress(valkey.exceptions.WatchError, FencedError):
                try:
                    pipe.execute()
                except valkey.exceptions.OutOfMemoryError:
                    _on_full_server(client, claim, place.key, "DEL")


def guard(pipe: Pipeline, claim: Claim, key: bytes) -> None:
    """
    Watch the claim: what *pipe* executes later happens only if *claim* holds until then.

    Raises:
        ClaimGoneError: there is no claim; fails closed.
        FencedError: it is another's.
    """
    pipe.watch(key)
    present = _present(pipe, key)
    lost = f"the claim of recovery {claim.recovery} on the server was lost"
    if present is None:
        raise ClaimGoneError(f"{lost}: it is gone")
    if present != claim.content:
        raise FencedError(f"{lost}: recovery {holder_of(present)} holds it")


_SMALL_WRITE_ON_FULL_SERVER = """#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""


def guarded_small_write(
    client: valkey.Valkey, claim: Claim, place_key: bytes, key: bytes, value: bytes | None
) -> None:
    """
    Set *key* to a few bytes, or delete it, if *claim* at *place_key* holds; also on a full server.

    Raises:
        ClaimGoneError: there is no claim; nothing was written.
        FencedError: it is another's; nothing was written.
    """
    with client.pipeline() as pipe:
        guard(pipe, claim, place_key)
        pipe.multi()
        if value is None:
            pipe.delete(key)
        else:
            pipe.set(key, value)
        try:
            carry_out(pipe)
        except (valkey.exceptions.OutOfMemoryError, valkey.exceptions.ExecAbortError):
            written = client.execute_command(
                "EVAL", _SMALL_WRITE_ON_FULL_SERVER, 2, place_key, key, claim.content, value or b""
            )
            if not written:
                raise FencedError("the claim on the server changed at the same moment") from None


def introduce(client: valkey.Valkey, claim: Claim) -> None:
    """Give the connection a name by which whoever takes the recovery over finds it."""
    with contextlib.suppress(valkey.exceptions.ResponseError):  # not everybody may
        client.client_setname(f"{RECOVERY}:{claim.recovery}:{claim.fence.number}")


def cut_off(client: valkey.Valkey, claim: Claim) -> tuple[int, ...]:
    """
    Close the connections that earlier owners of the recovery left open.

    What is under way on one is carried out all the same: the fence is what
    guards, and this only keeps an owner that was taken for dead from trying.

    Returns:
        The ids of the connections that were closed; none if the user may not list or close them.
    """
    closed = []
    earlier = f"{RECOVERY}:{claim.recovery}:"
    try:
        for each in cast("list[dict[str, str]]", client.client_list(_type="normal")):
            number = str(each["name"]).removeprefix(earlier)
            if number.isdecimal() and int(number) < claim.fence.number:
                client.client_kill_filter(_id=each["id"])
                closed.append(int(each["id"]))
    except valkey.exceptions.ResponseError:
        pass
    return tuple(closed)


def database_of(client: valkey.Valkey) -> int:
    """The number of the database that *client* works in."""
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


@contextlib.contextmanager
def _database(client: valkey.Valkey, number: int) -> Iterator[None]:
    """Work in database *number* for the body; a client has one connection only."""
    own = database_of(client)
    if number == own:
        yield
        return
    client.execute_command("SELECT", number)
    try:
        yield
    finally:
        client.execute_command("SELECT", own)


def _in_slot(tag: str) -> Place:
    return Place(0, CLAIM_KEY + b":{" + tag.encode("latin-1") + b"}")


def _present(pipe: Pipeline, key: bytes) -> bytes | None:
    return cast("bytes | None", pipe.get(key))


def carry_out(pipe: Pipeline) -> list[object]:
    """
    Execute what *pipe* holds, in one atomic act; the answers.

    Raises:
        FencedError: the claim changed since it was watched; nothing was executed.
    """
    try:
        return list(pipe.execute())
    except valkey.exceptions.WatchError as exc:
        if was_cut_off(exc):
            raise
        raise FencedError("the claim on the server changed at the same moment") from exc


def carry_out_if_full_too(pipe: Pipeline, claim: Claim, key: bytes) -> list[object]:
    """
    `carry_out` for commands that change no key, also on a full server that takes nothing within MULTI.

    There the claim at *key* is compared one round trip before them, and not at the same moment.

    Raises:
        ClaimGoneError: there is no claim; nothing was executed.
        FencedError: it is another's; nothing was executed.
    """
    commands = [arguments for arguments, _ in pipe.command_stack]
    try:
        return carry_out(pipe)
    except valkey.exceptions.OutOfMemoryError:  # so nothing was executed
        guard(pipe, claim, key)
        return [pipe.execute_command(*arguments) for arguments in commands]
