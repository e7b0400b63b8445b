from __future__ import annotations

import hashlib

import pytest
import valkey
import valkey.exceptions

from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.compare_and_write import (
    Answer,
    Check,
    CompareAndWrite,
    Delete,
    HasBytes,
    HasSha1,
    HasType,
    HoldsExactly,
    IsAbsent,
    Road,
    Write,
    WriteRange,
    WriteValue,
)
from medic8.targets.valkey.client import connection

ROADS = pytest.mark.parametrize("road", list(Road))

HOLDS: list[Check] = [
    HasBytes("text", 2, b"cde"),
    IsAbsent("none"),
    HasSha1("text", hashlib.sha1(b"abcdefgh").hexdigest()),  # noqa: S324  # the server's digest
    HoldsExactly("text", b"abcdefgh"),
    HasType("list", "list"),
]
FAILS: list[Check] = [
    HasBytes("text", 2, b"cdX"),
    HasBytes("text", 6, b"ghi"),
    HasBytes("none", 0, b"a"),
    HasBytes("list", 0, b"a"),
    IsAbsent("text"),
    IsAbsent("list"),
    HasSha1("text", "0" * 40),
    HasSha1("none", "0" * 40),
    HasSha1("list", "0" * 40),
    HoldsExactly("text", b"abc"),
    HoldsExactly("none", b""),
    HoldsExactly("list", b""),
    HasType("text", "list"),
]
WRITES: list[Write] = [WriteRange("text", 1, b"BC"), WriteValue("new", b"n"), Delete("old")]


@pytest.fixture
def filled(client: valkey.Valkey) -> valkey.Valkey:
    """Get a server with a string, a list and one more string."""
    client.set("text", b"abcdefgh")
    client.rpush("list", "a")
    client.set("old", b"o")
    return client


def contents(client: valkey.Valkey) -> tuple[object, ...]:
    """What the keys of these tests hold."""
    return (client.get("text"), client.get("new"), client.get("old"), client.lrange("list", 0, -1))


UNTOUCHED = (b"abcdefgh", None, b"o", [b"a"])
WRITTEN = (b"aBCdefgh", b"n", None, [b"a"])


@ROADS
def test_everything_is_written_if_every_check_holds(filled: valkey.Valkey, road: Road) -> None:
    """Both roads know every check and every write."""
    outcome = CompareAndWrite(filled, road=road)(HOLDS, WRITES)
    assert outcome.answer is Answer.WRITTEN
    assert contents(filled) == WRITTEN


@ROADS
@pytest.mark.parametrize("failing", FAILS, ids=repr)
def test_nothing_is_written_if_one_check_fails(filled: valkey.Valkey, road: Road, failing: Check) -> None:
    """The answer names the check; a key of another type fails a comparison rather than the script."""
    outcome = CompareAndWrite(filled, road=road)([*HOLDS, failing], WRITES)
    assert (outcome.answer, outcome.failed) == (Answer.CHANGED, failing)
    assert contents(filled) == UNTOUCHED


@ROADS
def test_a_failed_fence_is_told_apart(filled: valkey.Valkey, road: Road) -> None:
    """The fence is asked first, and a missing fence is a failed one."""
    write = CompareAndWrite(filled, road=road)
    fence = [HoldsExactly("claim", b"7 nonce")]
    assert write(FAILS, WRITES, fence=fence).answer is Answer.FENCED
    filled.set("claim", b"7 nonce")
    assert write(FAILS[:1], WRITES, fence=fence).answer is Answer.CHANGED
    assert write(HOLDS, WRITES, fence=fence).answer is Answer.WRITTEN


@ROADS
def test_a_range_of_an_absent_key_is_padded_with_zeros(filled: valkey.Valkey, road: Road) -> None:
    """That is how a new block begins."""
    outcome = CompareAndWrite(filled, road=road)([IsAbsent("new")], [WriteRange("new", 3, b"x")])
    assert outcome.is_written
    assert filled.get("new") == b"\0\0\0x"


def test_a_range_needs_a_check_that_knows_its_type(filled: valkey.Valkey) -> None:
    """Else a key of another type would stop the script half way."""
    write = CompareAndWrite(filled)
    for checks in ([], [HasType("list", "list")]):
        with pytest.raises(ValueError, match="no check names"):
            write(checks, [WriteRange("list", 0, b"x")])
    with pytest.raises(ValueError, match="compares nothing"):
        HasBytes("text", 0, b"")


def test_a_large_write_takes_the_other_road_with_the_same_result(filled: valkey.Valkey) -> None:
    """Beyond 128 KiB no script is sent."""
    large = bytes(200_000)
    filled.config_resetstat()
    assert CompareAndWrite(filled)(HOLDS, [WriteValue("new", large)]).is_written
    commands = filled.info("commandstats")
    assert "cmdstat_exec" in commands
    assert "cmdstat_evalsha" not in commands
    assert filled.get("new") == large


def test_a_flushed_script_is_sent_again(filled: valkey.Valkey) -> None:
    """A restart or SCRIPT FLUSH between two writes is not noticed by the caller."""
    write = CompareAndWrite(filled)
    assert write(HOLDS, []).is_written
    filled.script_flush()
    assert write(HOLDS, WRITES).is_written


def test_without_the_right_to_run_scripts_the_other_road_is_taken(
    filled: valkey.Valkey, valkey_server: ScratchValkey
) -> None:
    """A user without EVAL writes all the same."""
    filled.execute_command("ACL", "SETUSER", "plain", "on", ">p", "~*", "+@all", "-@scripting", "-script")
    url = valkey_server.url.replace("://", "://plain:p@")
    with connection(url) as plain:
        write = CompareAndWrite(plain)
        assert write([*HOLDS, FAILS[0]], WRITES).answer is Answer.CHANGED
        assert write(HOLDS, WRITES).is_written
    assert contents(filled) == WRITTEN


@ROADS
@pytest.mark.parametrize("refused", ["-del", "-set", "-setrange"])
def test_a_right_missing_for_one_of_the_writes_stops_all_of_them(
    filled: valkey.Valkey, valkey_server: ScratchValkey, road: Road, refused: str
) -> None:
    """The permission of every write is asked before the first one."""
    filled.execute_command("ACL", "SETUSER", "half", "on", ">p", "~*", "+@all", refused)
    with connection(valkey_server.url.replace("://", "://half:p@")) as half:
        try:
            CompareAndWrite(half, road=road)(HOLDS, WRITES)
        except valkey.exceptions.ResponseError:
            assert contents(filled) == UNTOUCHED
        else:
            pytest.fail("a write without permission was not refused")
        assert contents(filled) == UNTOUCHED


@ROADS
def test_a_server_out_of_memory_refuses_before_the_first_write(filled: valkey.Valkey, road: Road) -> None:
    """Neither road leaves a half behind; afterwards the same write is done."""
    write = CompareAndWrite(filled, road=road)
    filled.config_set("maxmemory", "1mb")
    with pytest.raises(valkey.exceptions.ResponseError, match=r"OOM|used memory"):
        write(HOLDS, WRITES)
    assert contents(filled) == UNTOUCHED
    filled.config_set("maxmemory", "0")
    assert write(HOLDS, WRITES).is_written


@ROADS
def test_a_write_that_began_is_not_stopped_by_its_own_memory(client: valkey.Valkey, road: Road) -> None:
    """Memory is judged once, before the first write: one that crosses the limit half way is completed."""
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", used + 1_000_000)
    keys = ["k0", "k1", "k2"]
    writes = [WriteRange(key, 5_000_000, b"x") for key in keys]
    outcome = CompareAndWrite(client, road=road)([IsAbsent(key) for key in keys], writes)
    is_over = int(client.info("memory")["used_memory"]) > used + 1_000_000
    client.config_set("maxmemory", "0")
    assert outcome.is_written
    assert is_over
    assert client.exists(*keys) == 3


@ROADS
def test_a_failed_comparison_leaves_nothing_watched(filled: valkey.Valkey, road: Road) -> None:
    """The same connection can be used for another transaction at once."""
    CompareAndWrite(filled, road=road)(FAILS[:1], WRITES)
    filled.set("text", b"changed")
    with filled.pipeline(transaction=True) as pipe:
        pipe.get("text")
        assert pipe.execute() == [b"changed"]
