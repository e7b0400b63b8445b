"""The guards on a real server: what a noisy healthy one must not set off, and what is noticed."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import valkey

from medic8.analysis.never_worse import FALSE_ALARM, broken, confirmed, judge_soft
from medic8.backups.place import BackupPlace
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading, Verdict
from medic8.model.plan import Plan
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.guards import ServerGuards
from medic8.targets.valkey.soft_guards import CPU, LATENCY, MEMORY

AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=datetime(2026, 1, 2, tzinfo=UTC))
PLAN = Plan(target="server", strategy="set_settings", issue_fingerprint="f", summary="s")
GUARDS = ServerGuards()

#: Clients of an ordinary busy server: reads and writes of all types, at a rate that changes all the time.
NOISE = """
import random, sys, threading, time, valkey

def hammer(seed):
    draw = random.Random(seed)
    client = valkey.Valkey.from_url(sys.argv[1])
    while True:
        until, pause = time.monotonic() + draw.uniform(0.1, 1.5), draw.choice([0, 0, 0.0005, 0.005, 0.05])
        size = draw.choice([10, 100, 5000])
        while time.monotonic() < until:
            name = f"key-{draw.randrange(200)}"
            try:
                draw.choice([
                    lambda: client.set(name, "x" * size),
                    lambda: client.get(name),
                    lambda: client.lpush("list-" + name, "x" * size),
                    lambda: client.lrange("list-" + name, 0, size // 10),
                    lambda: client.ltrim("list-" + name, 0, 500),
                    lambda: client.hset("hash-" + name, str(draw.randrange(50)), "y"),
                    lambda: client.incr("count-" + name),
                    lambda: client.delete(name),
                    lambda: client.lpush(name, "of another type"),
                    lambda: client.set(name, "short", px=draw.randrange(1, 300)),
                ])()
            except valkey.exceptions.ResponseError:
                pass
            time.sleep(pause)

for seed in range(3):
    threading.Thread(target=hammer, args=(seed,), daemon=True).start()
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def child(script: str, url: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def target(valkey_url: str) -> Target:
    """Get the shared server as a target."""
    return Target(name="server", kind="valkey", url=valkey_url)


@pytest.fixture
def client(valkey_url: str) -> Iterator[valkey.Valkey]:
    """Get an ordinary client of the shared server."""
    with valkey.Valkey.from_url(valkey_url) as client:
        yield client


def hard(target: Target, known: Sequence[HardReading] = ()) -> tuple[HardReading, ...]:
    return GUARDS.read_hard(target, AROUND, PLAN, known)


def judged(target: Target, before: Sequence[HardReading]) -> dict[str, GuardVerdict]:
    return {each.guard: each for each in GUARDS.judge_hard(before, hard(target, before))}


def soft(target: Target, guards: Sequence[SoftGuard] = (LATENCY, MEMORY, CPU)) -> tuple[SoftReading, ...]:
    return GUARDS.read_soft(target, guards)


def at_rest(client: valkey.Valkey, name: str, *, idle_s: int = 3600) -> None:
    """A key that nobody has used for *idle_s*: the server takes that along with a value."""
    client.set("made", "value of " + name)
    dumped = client.dump("made")
    client.execute_command("RESTORE", name, 0, dumped, "IDLETIME", idle_s)
    client.delete("made")


def test_a_noisy_healthy_server_raises_a_false_alarm_in_less_than_one_family_of_a_hundred(
    target: Target,
) -> None:
    """
    Other clients write at a rate that changes all the time, and nobody repairs anything.

    40 measurements in a row; any of them may have been the one before, and any later one, with the next
    but one as the second look, the one after: 703 comparisons of the whole family. The hard guards see
    the same server and never alarm.
    """
    with child(NOISE, target.address):
        exact = hard(target)
        measured = []
        for _ in range(40):
            measured.append(soft(target))
            assert not broken(tuple(judged(target, exact).values()))
    judge = {pair: judge_soft(*pair_of(measured, pair)) for pair in itertools.combinations(range(40), 2)}
    compared = [
        confirmed(judge[was, now], judge[was, now + 2]) for was, now in judge if now + 2 < len(measured)
    ]
    alarms = [each for each in compared if broken(each)]
    assert len(compared) == 703
    assert len(alarms) <= FALSE_ALARM * len(compared), alarms
    # A judge that never can tell is no guard.
    told = sum(each.verdict is not Verdict.CANNOT_TELL for family in compared for each in family)
    assert told > len(compared)


def pair_of(
    measured: Sequence[tuple[SoftReading, ...]], places: tuple[int, int]
) -> tuple[tuple[SoftReading, ...], tuple[SoftReading, ...]]:
    return measured[places[0]], measured[places[1]]


#: One client that sorts a long list again and again: everybody else waits for each sort.
SLOW = """
import sys, valkey
client = valkey.Valkey.from_url(sys.argv[1])
client.rpush("long", *(str((n * 7919) % 40000) for n in range(40000)))
print(flush=True)
while True:
    client.sort("long", alpha=True, store="sorted")
"""


def test_latency_and_cpu_that_really_multiply_are_noticed(target: Target) -> None:
    """Not more operations, but slow ones."""
    before = soft(target)
    with child(SLOW, target.address):
        for _ in range(5):  # a server that others keep from the processor takes none
            found = confirmed(judge_soft(before, soft(target)), judge_soft(before, soft(target)))
            verdicts = {each.guard: each for each in found}
            if verdicts["CPU"].verdict is Verdict.WORSE:
                break
    assert verdicts["latency"].verdict is Verdict.WORSE, found
    assert verdicts["CPU"].verdict is Verdict.WORSE, found
    assert "measured twice" in verdicts["latency"].reason
    assert "operations/s" in verdicts["latency"].before


def test_memory_that_grows_beyond_what_clients_sent_is_noticed(target: Target, client: valkey.Valkey) -> None:
    """64 MiB by a command of 40 bytes are; 64 MiB that a client sent are its own business."""
    before = soft(target, (MEMORY,))
    client.setrange("made", 64 << 20, "x")
    assert judge_soft(before, soft(target, (MEMORY,)))[0].verdict is Verdict.WORSE
    client.delete("made")
    before = soft(target, (MEMORY,))
    client.set("sent", b"x" * (64 << 20))
    assert judge_soft(before, soft(target, (MEMORY,)))[0].verdict is Verdict.UNCHANGED


def test_looking_sets_nothing(target: Target, client: valkey.Valkey) -> None:
    """No key, no setting; the sample is not touched."""
    at_rest(client, "quiet")
    before = (
        client.config_get("*"),
        client.dbsize(),
        client.info("persistence")["rdb_changes_since_last_save"],
    )
    known = hard(target)
    soft(target)
    hard(target, known)
    after = (
        client.config_get("*"),
        client.dbsize(),
        client.info("persistence")["rdb_changes_since_last_save"],
    )
    assert after == before


def test_a_quiet_server_is_unchanged_by_every_hard_guard(target: Target, client: valkey.Valkey) -> None:
    """Everything could be read, and nothing of it is another than before."""
    at_rest(client, "quiet")
    found = judged(target, hard(target))
    assert {each.verdict for each in found.values()} == {Verdict.UNCHANGED}, found
    assert found["other keys"].before == "1 key looked at"


def test_a_key_whose_expiry_has_come_is_not_missed(target: Target, client: valkey.Valkey) -> None:
    """It is gone because somebody said so before."""
    client.set("soon", "v", px=300)
    before = hard(target)
    while client.exists("soon"):
        time.sleep(0.01)
    assert judged(target, before)["other keys"].verdict is Verdict.UNCHANGED


def test_a_hash_whose_fields_expire_is_no_violation(target: Target, client: valkey.Valkey) -> None:
    """It changes and goes although nobody writes."""
    client.hset("hash", mapping={"stays": "1", "goes": "1"})
    client.set("beside", "v")
    try:
        client.execute_command("HPEXPIRE", "hash", 300, "FIELDS", 1, "goes")
    except valkey.exceptions.ResponseError:
        pytest.skip("this server has no expiry of fields")
    before = hard(target)
    until(lambda: client.hlen("hash") == 1)
    found = judged(target, before)["other keys"]
    assert (found.verdict, found.before) == (Verdict.UNCHANGED, "1 key looked at")


def test_a_key_at_rest_that_vanishes_is_a_violation(target: Target, client: valkey.Valkey) -> None:
    """Whoever took it: nobody had used it for a minute, and it went while we worked. No name is shown."""
    at_rest(client, "precious")
    before = hard(target)
    client.delete("precious")
    found = judged(target, before)["other keys"]
    assert found.verdict is Verdict.WORSE
    assert "after a minute at rest" in found.reason
    assert "precious" not in found.model_dump_json()


def test_a_key_at_rest_of_another_type_is_a_violation(target: Target, client: valkey.Valkey) -> None:
    """Gone and made anew as something else."""
    at_rest(client, "precious")
    before = hard(target)
    client.delete("precious")
    client.lpush("precious", "x")
    assert judged(target, before)["other keys"].verdict is Verdict.WORSE


@pytest.mark.parametrize("idle_s", [0, 3600])
def test_what_a_client_may_have_changed_cannot_be_told(
    target: Target, client: valkey.Valkey, idle_s: int
) -> None:
    """A new value is what clients are there for, and a key in use may go; neither raises an alarm."""
    at_rest(client, "used", idle_s=idle_s)
    before = hard(target)
    client.set("used", "another")
    found = judged(target, before)["other keys"]
    assert (found.verdict, found.after) == (Verdict.CANNOT_TELL, "1 key changed or gone")
    if not idle_s:
        client.delete("used")
        assert judged(target, before)["other keys"].verdict is Verdict.CANNOT_TELL


def test_a_value_that_changed_although_nobody_wrote_is_a_violation(
    target: Target, client: valkey.Valkey
) -> None:
    """The server's own counters say that nothing was written since, but for our claim, which is renewed."""
    client.set("a", "value")
    client.set(CLAIM_KEY, "claim", px=60_000)
    before = hard(target)
    client.pexpire(CLAIM_KEY, 60_000)
    forged = [
        each.model_copy(update={"value": each.value.replace(each.value.split()[1], "0" * 64)})
        if each.guard == "other keys"
        else each
        for each in before
    ]
    found = judged(target, forged)["other keys"]
    assert (found.verdict, "nobody wrote meanwhile" in found.reason) == (Verdict.WORSE, True)


def test_a_refusal_by_the_server_that_was_never_there_before_is_a_violation(
    target: Target, client: valkey.Valkey
) -> None:
    """Out of memory is of the server; a caller's own mistake is not."""
    before = hard(target)
    client.set("a", 1)
    with pytest.raises(valkey.exceptions.ResponseError):
        client.lpush("a", 1)
    assert judged(target, before)["refusals by the server"].verdict is Verdict.UNCHANGED
    client.config_set("maxmemory", "1mb")
    with pytest.raises(valkey.exceptions.OutOfMemoryError):
        client.set("big", b"x" * (2 << 20))
    found = judged(target, before)["refusals by the server"]
    assert (found.verdict, found.reason) == (Verdict.WORSE, "never before: OOM")
    again = hard(target)
    with pytest.raises(valkey.exceptions.OutOfMemoryError):
        client.set("big", b"x" * (2 << 20))
    assert judged(target, again)["refusals by the server"].verdict is Verdict.CANNOT_TELL


def test_evictions_that_begin_are_a_violation(target: Target, client: valkey.Valkey) -> None:
    """A server that had never dropped a key drops keys now."""
    for number in range(100):
        client.set(f"k{number}", b"x" * 20_000)
    before = hard(target)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", client.info("memory")["used_memory"] - 1_000_000)
    client.set("one more", b"x")
    assert judged(target, before)["evictions"].verdict is Verdict.WORSE


def test_a_snapshot_that_begins_to_fail_is_a_violation(tmp_path: Path) -> None:
    """The last snapshot had worked."""
    with scratch_valkey(tmp_path) as server, valkey.Valkey.from_url(server.url) as client:
        target = Target(name="server", kind="valkey", url=server.url)
        before = hard(target)
        (server.data / "dump.rdb").mkdir()
        (server.data / "dump.rdb" / "in the way").touch()
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        found = judged(target, before)["snapshot"]
    assert (found.verdict, found.before, found.after) == (Verdict.WORSE, "ok", "err")


def until(is_so: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_a_replica_that_is_lost_a_link_that_breaks_and_a_role_that_changes_are_violations(
    valkey_server: ScratchValkey, target: Target, client: valkey.Valkey, tmp_path: Path
) -> None:
    """Exact on both ends."""
    replica = scratch_valkey(tmp_path, config={"replicaof": f"127.0.0.1 {valkey_server.port}"})
    with replica as other, valkey.Valkey.from_url(other.url) as there:
        until(lambda: there.info("replication")["master_link_status"] == "up")
        until(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        end = Target(name="other", kind="valkey", url=other.url)
        above, below = hard(target), hard(end)
        assert not broken(tuple(judged(target, above).values()))
        assert not broken(tuple(judged(end, below).values()))
        there.replicaof("127.0.0.1", "1")
        until(lambda: not client.info("replication")["connected_slaves"])
        assert judged(target, above)["replicas in step"].verdict is Verdict.WORSE
        assert judged(end, below)["link to the primary"].verdict is Verdict.WORSE
        there.replicaof("NO", "ONE")
        assert judged(end, below)["role"].verdict is Verdict.WORSE


def test_what_may_not_be_read_cannot_be_told(target: Target, client: valkey.Valkey, valkey_url: str) -> None:
    """A user without INFO and SCAN: every verdict says what was refused."""
    client.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+ping", "+client"])
    blind = target.model_copy(
        update={"url": type(target.url)(valkey_url.replace("valkey://", "valkey://blind:any@"))}
    )
    found = judged(blind, hard(blind))
    assert {each.verdict for each in found.values()} == {Verdict.CANNOT_TELL}
    assert all("permissions" in each.reason for each in found.values()), found
    assert {each.verdict for each in judge_soft(soft(blind), soft(blind))} == {Verdict.CANNOT_TELL}


def test_a_live_writer_never_violates_a_hard_guard(target: Target, client: valkey.Valkey) -> None:
    """It sets, deletes and changes types of the very keys in the sample, all the while."""
    for number in range(50):
        client.set(f"key-{number}", number)
    is_over = threading.Event()

    def write() -> None:
        with valkey.Valkey.from_url(target.address) as writer:
            for number in itertools.cycle(range(50)):
                if is_over.is_set():
                    return
                writer.delete(f"key-{number}")
                writer.lpush(f"key-{number}", number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        before = hard(target)
        found = [judged(target, before) for _ in range(30)]
    finally:
        is_over.set()
        thread.join()
    assert not [broken(tuple(each.values())) for each in found if broken(tuple(each.values()))]
    assert found[-1]["other keys"].verdict is Verdict.CANNOT_TELL
