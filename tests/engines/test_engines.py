"""Every engine that this machine has is looked at, healed and put back as the embedded one is."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import valkey

from medic8.backups.place import BackupPlace
from medic8.errors import TransientError
from medic8.local.account import is_reachable, server_account
from medic8.local.scratch import ScratchValkey
from medic8.model.backup import RestoreWish
from medic8.model.plan import Plan, StepClass, Unit
from medic8.model.recovery import RecoveryState, StepState
from medic8.model.report import DiagnosticReport, Health
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import open_session as open_grid
from medic8.targets.grid.compare_and_write import (
    CompareAndWrite,
    Delete,
    HoldsExactly,
    WriteRange,
    WriteValue,
)
from medic8.targets.grid.format import CELL
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lock_key, manifest_keys, role_key, sums_key
from medic8.targets.grid.kind import KIND as GRID_KIND
from medic8.targets.grid.lock_reading import now_ms_of
from medic8.targets.grid.lock_record import Lock, LockState, pack_lock
from medic8.targets.grid.lock_strategies import plan_break_stale
from medic8.targets.grid.strategies import plan_from_parity
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.backups import ValkeyBackups
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.plans.planning import set_one
from tests.damaged_files import flip_a_bit
from tests.engines.programs import VARIABLE, Engine, others
from tests.holding_up import ENDLESS, is_busy, wait_until_busy
from tests.raw_clients import EXPENSIVE, RawClient, connected
from tests.recovery.steps import take_all_steps
from tests.replicas import is_in_step, pair, until, written_to
from tests.targets.valkey.databases import raw, value
from tests.targets.valkey.looking_at import NOW, a_target, look, report_of, report_on, rules_of_the_document
from tests.targets.valkey.recovering import carry_out, planned

RULE = {"name": "slowlog-max-len", "minimum": 1000}
EXPIRY = {"prefix": "session:", "after": 86_400}


def is_before_7(client: valkey.Valkey) -> bool:
    """By what the server itself says; every Valkey says 7.2 there."""
    return int(client.info("server")["redis_version"].split(".")[0]) < 7


def test_every_engine_that_is_named_runs_here() -> None:
    """Who names one wants to know of it; without a name the embedded one is tried alone."""
    if not others():
        pytest.skip(f"no other engine is named in {VARIABLE}: see CONTRIBUTING.md")
    for engine in others():
        assert is_reachable(engine.program, server_account()), f"{engine.name} cannot be run"


def test_a_healthy_server_is_called_healthy_and_no_diagnostic_fails(url: str, client: valkey.Valkey) -> None:
    """With keys, files and a rule for a setting: nothing is found, and nothing is refused."""
    client.mset({f"key:{number}": "value" for number in range(500)})
    client.config_set("slowlog-max-len", "1000")
    report = report_on(url, setting=[RULE], expiry=[EXPIRY])
    assert [each.text for each in report.analysis.findings] == []
    assert report.analysis.health is Health.HEALTHY
    assert set(report.results) == set(DIAGNOSTICS)
    usual = ("the server's log: it goes to standard output", "hot keys: with maxmemory-policy noeviction")
    lacking = {text for text in report.analysis.unseen if not text.startswith(usual)}
    assert lacking <= {"whether commands are held back (CLIENT PAUSE): Valkey tells it from 8.1 on"}
    named = {name: report.results[name].readings for name in report.results}
    assert {name for name, seen in named.items() if not seen} <= {"certificate", "errors", "log", "replicas"}
    files = {each.name: each.value for each in named["files"]}
    assert files == {"files.snapshot": "whole", "files.aof": "whole"}


def test_the_user_of_the_document_sees_everything_on_every_engine(url: str, client: valkey.Valkey) -> None:
    """Without the rules that the document says an engine does not know; any other one must be known."""
    client.xgroup_create("stream", "group", "0", mkstream=True)
    lacking = {"+commandlog|get", "+client|setinfo", "%R~*"}
    client.execute_command("ACL", "SETUSER", "medic8", "on", "nopass")
    for rule in rules_of_the_document():
        try:
            client.execute_command("ACL", "SETUSER", "medic8", rule)
        except valkey.exceptions.ResponseError:
            assert rule in lacking
            if rule == "%R~*":
                client.execute_command("ACL", "SETUSER", "medic8", "~*")
    report = report_on(url.replace("valkey://", "valkey://medic8:any@"), setting=[RULE], expiry=[EXPIRY])
    assert not [each for each in report.analysis.findings if each.code.startswith("diagnostic.")]
    assert [text for text in report.analysis.unseen if "refused" in text] == []


def test_a_slow_command_is_found_in_the_log_that_the_engine_has(url: str, client: valkey.Valkey) -> None:
    """COMMANDLOG or SLOWLOG; asking for the one that is not there is no error of anybody's."""
    raw(client, *EXPENSIVE)
    slow = [each for each in look(url, "commands").findings if each.code == "commands.slow"]
    assert "EVAL" in slow[0].text
    assert look(url, "errors").findings == ()


def test_damage_on_disk_is_found_and_written_anew(
    server: ScratchValkey, url: str, client: valkey.Valkey, tmp_path: Path
) -> None:
    """The engine's own program reads a copy of its snapshot, and of its append-only file, one or several."""
    client.mset({f"key:{number}": "value" * 20 for number in range(500)})
    with contextlib.suppress(valkey.exceptions.ResponseError):  # a value of a module that is part of Redis 8
        client.execute_command("VADD", "vectors", "VALUES", 3, 1, 2, 3, "a")
    client.save()
    assert look(url, "files").findings == ()
    flip_a_bit(server.data / "dump.rdb")
    last = max(server.data.rglob("*.aof"), key=lambda file: file.stat().st_mtime)
    content = last.read_bytes()
    with last.open("r+b") as file:
        file.seek(content.rindex(b"$100\r"))
        file.write(b"#")
    codes = [each.code for each in look(url, "files").findings]
    assert codes == ["persistence.snapshot_damaged", "persistence.aof_damaged"]
    for code in codes:  # an issue each
        plan = planned("rewrite_files", a_target(url), "files", "persistence", "host")
        assert carry_out(url, plan, tmp_path / code).state is RecoveryState.HEALTHY
    assert look(url, "files").findings == ()


# Grids


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid with two whole groups."""
    rng = np.random.default_rng(1)
    made = Grid.create(client, "lab", 32)
    made.fill(lambda _: rng.integers(0, 256, 65_536, dtype=np.uint8).view(CELL), groups=(0, 1))
    return made


def diagnosed(target: Target, around: Surroundings) -> DiagnosticReport:
    return report_of(*(take(target, around) for take in GRID_KIND.diagnostics.values()), kind=GRID_KIND)


def healed(plan: Callable[..., Plan], target: Target, around: Surroundings, folder: Path) -> RecoveryState:
    """Diagnose the grid, and carry out what *plan* makes of its first issue."""
    report = diagnosed(target, around)
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    with open_grid(target, around) as session:
        recovery = contract.open_recovery(
            journal, session, plan(report.issues[0], report, target), this_process(), at=NOW
        )
        recovery = contract.save_state(
            journal, session, recovery, folder=folder / "saved", limit_bytes=64 << 20
        )
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        ended = contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)
    journal.dispose()
    return ended.state


def test_a_damaged_grid_is_found_and_healed_bit_for_bit(
    url: str, client: valkey.Valkey, grid: Grid, tmp_path: Path
) -> None:
    """A page, a footer, a lost block, the record of checksums and a copy of the manifest."""
    around = Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=NOW)
    target = Target(name="lab", kind="grid", url=url, grid="lab")
    keys = [role_key("lab", group, role) for group in (0, 1) for role in range(18)]
    keys += [sums_key("lab", 0), sums_key("lab", 1), *manifest_keys("lab")]
    good = client.mget(keys)
    assert diagnosed(target, around).is_healthy
    client.setrange(role_key("lab", 0, 3), 5000, b"damage")
    client.setrange(role_key("lab", 0, 8), 65_536 + 40, b"\xff\xfe\xfd")
    client.delete(role_key("lab", 1, 7))
    client.setrange(sums_key("lab", 1), 100, b"\xff\xfe")
    client.delete(manifest_keys("lab")[1])
    assert healed(plan_from_parity, target, around, tmp_path) is RecoveryState.HEALTHY
    assert client.mget(keys) == good
    assert diagnosed(target, around).is_healthy
    assert grid.read_cells([0]).tobytes() == good[0][:32]


def test_a_user_who_may_not_delete_writes_no_half_of_it(url: str, client: valkey.Valkey) -> None:
    """Redis 6.2 asks for no permission before a script runs: there the other road is taken."""
    client.mset({"kept": "value", "changed": "value"})
    client.execute_command("ACL", "SETUSER", "half", "on", "nopass", "~*", "&*", "+@all", "-del")
    with connection(url.replace("valkey://", "valkey://half:any@")) as half:
        write = CompareAndWrite(half)
        checks = [HoldsExactly("changed", b"value"), HoldsExactly("kept", b"value")]
        with pytest.raises(valkey.exceptions.ResponseError):
            write(checks, [WriteRange("changed", 0, b"other"), Delete("kept")])
        assert client.mget("changed", "kept") == [b"value", b"value"]
        assert write(checks, [WriteRange("changed", 0, b"other"), WriteValue("kept", b"it too")]).is_written
    assert client.mget("changed", "kept") == [b"other", b"it too"]


def lapsed(client: valkey.Valkey, grid: Grid) -> bytes:
    """The lock of the first group as an owner left it that died long ago."""
    now_ms = now_ms_of(client)
    return pack_lock(
        Lock(
            grid=grid.manifest.uuid,
            group=0,
            state=LockState.HELD,
            number=9,
            nonce=b"n" * 16,
            owner=uuid.uuid4(),
            since_ms=now_ms - 7_200_000,
            deadline_ms=now_ms - 3_600_000,
            broken_by=None,
            name=b"dead",
        )
    )


def test_locks_are_held_renewed_and_broken(
    url: str, client: valkey.Valkey, grid: Grid, tmp_path: Path
) -> None:
    """A lease is renewed while its owner lives; one that lapsed is broken, and others are let in."""
    around = Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=NOW)
    target = Target(name="lab", kind="grid", url=url, grid="lab")
    with grid.lock([0], lease_s=1.0) as lock:
        first = client.get(lock_key("lab", 0))
        until(lambda: client.get(lock_key("lab", 0)) != first)
        lock.check()
        grid.write_cells([0], grid.read_cells([0]))
    given_back = client.get(lock_key("lab", 0))
    stale = lapsed(client, grid)
    client.set(lock_key("lab", 0), stale)
    assert healed(plan_break_stale, target, around, tmp_path) is RecoveryState.HEALTHY
    assert client.get(lock_key("lab", 0)) not in {stale, given_back}
    with grid.lock([0]):
        pass


# Keys


_OF_ALL_TYPES = (
    ("SET", b"string\xff", b"value\x00"),
    ("RPUSH", "list", "b", "a"),
    ("SADD", "set", *range(20)),
    ("SADD", "words", "one", "two"),
    ("ZADD", "zset", "1.5", "a", "-inf", "b"),
    ("HSET", "hash", "field", "value"),
    ("XADD", "stream", "1-1", "field", "value"),
    ("XADD", "stream", "2-1", "field", "value"),
    ("XGROUP", "CREATE", "stream", "group", "0"),
    ("XREADGROUP", "GROUP", "group", "somebody", "COUNT", "1", "STREAMS", "stream", ">"),
    ("PEXPIREAT", "hash", "4000000000000"),
)


def test_keys_are_backed_up_and_come_back(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """Of every type, with expiry, a group of consumers and what is pending in it."""
    for command in _OF_ALL_TYPES:
        raw(client, *command)
    names = sorted(client.keys())

    def everything() -> list[object]:
        return [(value_of(client, name), abs(client.pttl(name) // 10_000)) for name in names]

    before = everything()
    backups, around = ValkeyBackups(), Surroundings(backups=BackupPlace(url=str(tmp_path)), now=NOW)
    target = a_target(url)
    backup = backups.create(target, around, prefix="", names=())
    assert backups.verify(target, around, backup).is_sound
    client.flushall()
    report = backups.restore(target, around, backup, RestoreWish())
    assert (report.written, report.left_count) == (len(names), 0)
    assert everything() == before
    again = backups.restore(target, around, backup, RestoreWish())
    assert (again.same, again.written) == (len(names), 0)


def value_of(client: valkey.Valkey, name: bytes) -> object:
    """The value as plain commands tell it; of a stream what servers before Redis 7 tell as well."""
    if name == b"stream":
        pending = client.xpending_range(name, "group", "-", "+", 10)
        told = [(each["message_id"], each["consumer"], each["times_delivered"]) for each in pending]
        return client.xrange(name), client.xinfo_groups(name)[0]["last-delivered-id"], told
    return value(client, name)


# Strategies


_SETTINGS = {
    "repl-backlog-size": "2097152",
    "maxmemory": "1073741824",
    "tcp-keepalive": "120",
    "lazyfree-lazy-user-del": "yes",
    "lazyfree-lazy-expire": "yes",
    "client-output-buffer-limit": "normal 268435456 67108864 60",
}


def test_settings_are_set_and_put_back(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """Those that strategies change, and one by a rule of the site's."""

    def settings() -> dict[str, str]:
        names = ("slowlog-max-len", *_SETTINGS)
        with valkey.Valkey.from_url(url, decode_responses=True) as plain:
            return {name: plain.config_get(name)[name] for name in names}

    client.config_set("slowlog-max-len", "10")
    client.config_set("lazyfree-lazy-user-del", "no")
    client.config_set("lazyfree-lazy-expire", "no")
    before = settings()
    target = a_target(url, setting=[RULE])
    plan = planned("set_settings", target, "settings")
    wanted = {**_SETTINGS, "client-output-buffer-limit": _with_normal(before["client-output-buffer-limit"])}
    steps = tuple(set_one(target, name, before[name], value) for name, value in wanted.items())
    unit = Unit(title="settings", steps=(*plan.units[0].steps, *steps))
    ended = carry_out(url, plan.model_copy(update={"units": (unit,)}), tmp_path, taken_back=True)
    assert ended.state is RecoveryState.RESTORED
    assert {step.state for step in ended.steps} == {StepState.UNDONE}
    assert settings() == before


def _with_normal(limits: str) -> str:
    return limits.replace("normal 0 0 0", _SETTINGS["client-output-buffer-limit"])


def test_a_memory_limit_is_raised_and_lowered_again(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """By a quarter, where writes fail; Redis 6.2 lets nobody claim it then, so that nothing is changed."""
    client.setrange("key", 2_000_000, "x")
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", used)
    try:
        plan = planned("raise_memory_limit", a_target(url), "memory", "host", "replication", "persistence")
        assert plan.step_count == 1
        if is_before_7(client):
            with pytest.raises(TransientError, match=r"before Redis 7\.0"):
                carry_out(url, plan, tmp_path)
            return
        assert carry_out(url, plan, tmp_path).state is RecoveryState.HEALTHY
        assert int(client.config_get("maxmemory")["maxmemory"]) > used
    finally:
        client.config_set("maxmemory", 0)


def test_a_client_that_watches_everything_is_closed(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """And who takes nothing stays."""
    with RawClient(url, "watcher") as watcher, RawClient(url, "other") as other:
        watcher.ask("MONITOR")
        plan = planned("kill_hogging_client", a_target(url), "clients")
        assert {step.step_class for step in plan.units[0].steps} == {StepClass.ONE_WAY}
        assert carry_out(url, plan, tmp_path).state is RecoveryState.HEALTHY
        assert other.id in connected(client)
        assert watcher.id not in connected(client)


def test_too_many_scripts_are_dropped(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """Those that are used come again."""
    pipe = client.pipeline(transaction=False)
    for number in range(1100):
        pipe.script_load(f"return {number}")
    pipe.execute()
    plan = planned("flush_scripts", a_target(url), "memory")
    assert carry_out(url, plan, tmp_path).state is RecoveryState.HEALTHY
    assert client.info("memory")["number_of_cached_scripts"] == 0


def test_a_script_that_never_ends_is_ended(url: str, client: valkey.Valkey, tmp_path: Path) -> None:
    """On a server that answers nothing else."""
    with RawClient(url) as caller:
        caller.send(b"EVAL", ENDLESS, b"1", b"key", b"0")
        wait_until_busy(client)
        plan = planned("kill_script", a_target(url), "reachability")
        assert carry_out(url, plan, tmp_path).state is RecoveryState.HEALTHY
    assert not is_busy(client)


def test_forgotten_keys_expire_where_the_engine_can_say_when(
    url: str, client: valkey.Valkey, tmp_path: Path
) -> None:
    """Redis 6.2 does not, so that nobody could take it back for sure: it is advised there, and said why."""
    client.set("session:1", "value")
    plan = planned("expire_forgotten_keys", a_target(url, expiry=[EXPIRY]), "expiry", "reachability")
    if is_before_7(client):
        assert plan.units == ()
        assert "older than Redis 7.0" in plan.summary
        return
    units = tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)
    by_person = plan.model_copy(update={"units": units})
    assert carry_out(url, by_person, tmp_path, taken_back=True).state is RecoveryState.RESTORED
    assert client.pttl("session:1") == -1
    assert carry_out(url, plan, tmp_path / "again").state is RecoveryState.HEALTHY
    assert client.pttl("session:1") > 0


# Replicas


def test_a_replica_with_other_data_is_found_and_copied_to(engine: Engine, tmp_path: Path) -> None:
    """In step, and with another value; after a full copy it is the primary's."""
    with pair(tmp_path, engine=engine.program) as (primary, replica):
        with valkey.Valkey.from_url(primary.url) as client:
            client.mset({f"key:{number}": number for number in range(100)})
            client.hset("hash", mapping={"a": "1"})
            client.set("later", "1", px=10_000_000)
        until(lambda: is_in_step(primary.url, replica.url))
        named = {"replicas": (replica.url,)}
        assert look(primary.url, "replicas", **named).findings == ()
        assert look(primary.url, "replication").findings == ()
        assert look(replica.url, "replication").findings == ()
        with written_to(replica.url) as client:
            client.set("key:1", "theirs")
        plan = planned("resync_replica", a_target(primary.url, **named), "replicas", "replication", "host")
        assert carry_out(primary.url, plan, tmp_path, **named).state is RecoveryState.HEALTHY
        assert look(primary.url, "replicas", **named).findings == ()
        with valkey.Valkey.from_url(replica.url) as client:
            assert client.get("key:1") == b"1"
