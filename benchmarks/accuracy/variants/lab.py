"""The lab's faults and healthy states as variants."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import valkey
import valkey.exceptions

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from medic8.local.lab.actors import Troupe, end_all
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Breakage, make
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.states import STATES
from medic8.model.target import SettingRule
from medic8.targets.valkey.client import connection

_GRID, _LEAK, _SYNC = Answer.GRID_CORRUPTION, Answer.MEMORY_LEAK, Answer.SYNCHRONIZATION
_SLOW, _FULL, _NET = Answer.SLOW_OPERATIONS, Answer.RESOURCE_EXHAUSTION, Answer.NETWORK
_RULES = (("tcp-keepalive", 60, 300), ("slowlog-max-len", 128, None))

#: These write as an application does before they break.
_REWRITTEN = frozenset({"stale_block", "lose_pages"})

Look = Callable[[valkey.Valkey], bool]


def _always(_: valkey.Valkey) -> bool:
    return True


def becomes(is_so: Callable[[], bool], within_s: float = 8.0) -> bool:
    """Whether *is_so* within a time."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _called(name: str, least: int = 1) -> Look:
    return lambda client: sum(each["name"] == name for each in client.client_list()) >= least


def _refuses(error: str, *command: object) -> Look:
    def look(client: valkey.Valkey) -> bool:
        try:
            client.execute_command(*command)
        except valkey.exceptions.ValkeyError as exc:
            return error in f"{type(exc).__name__} {exc}"
        return False

    return look


def _grows(section: str, field: str, least: int = 1) -> Look:
    def look(client: valkey.Valkey) -> bool:
        def now() -> int:
            found = client.info(section).get(field, 0)
            return int(found["usec"] if isinstance(found, dict) else found)

        before = now()
        return becomes(lambda: now() >= before + least)

    return look


def _forgotten(client: valkey.Valkey) -> bool:
    keys = list(client.scan_iter("medic8-lab-session:*", count=1000))
    return any(client.ttl(key) == -1 for key in keys[:200])


def _deletes(client: valkey.Valkey) -> bool:
    return any(each["command"].startswith(b"DEL medic8-lab-basket") for each in client.slowlog_get(64))


def broken(kind: str, name: str, stage: Stage) -> str:
    """Break it on the stage's server, and note what was broken under its name; where it is met."""
    client = stage.cleanup.enter_context(connection(stage.url, name="accuracy-lab"))
    home = stage.folder / f"home-{name}"
    rules = tuple(SettingRule(name=each, minimum=low, maximum=high) for each, low, high in _RULES)
    bench = Bench(client, stage.grid, rules, Troupe(home, stage.url))
    stage.cleanup.callback(end_all, home)
    what = FAULTS[name] if kind == "fault" else STATES[name]
    made: Breakage = make(
        what, bench, target="accuracy", seed=stage.rng.randrange(1 << 30), strength=stage.strength
    )
    stage.notes[name] = made.model_dump_json()
    if name in _REWRITTEN:
        stage.rewritten += made.keys
    stage.notes[f"{name} keys"] = json.dumps(_digests(stage, made.keys))
    return made.url


def _digests(stage: Stage, keys: tuple[str, ...]) -> dict[str, str]:
    client = stage.client()
    return {key: hashlib.sha256(client.dump(key) or b"").hexdigest() for key in keys}


def _still_hurt(name: str, stage: Stage) -> bool:
    """A value that is exactly what the fault left."""
    left = json.loads(stage.notes[f"{name} keys"])
    now = _digests(stage, tuple(left))
    return any(now[key] == digest for key, digest in left.items())


def _seen(name: str, look: Look, stage: Stage) -> bool:
    url = Breakage.model_validate_json(stage.notes[name]).url
    try:
        return look(stage.client(url, timeout_s=5.0))
    except valkey.exceptions.ValkeyError:
        return look is not _always and bool(url)


def _site(_: Stage) -> Site:
    return Site(setting=_RULES, expiry=(("medic8-lab-session:", 3600),), timeout_s=2.0)


def _true(truth: Truth, _: Stage) -> Truth:
    return truth


def _of_blocks(name: str, truth: Truth, stage: Stage) -> Truth:
    """The blocks among what was broken have to be named."""
    made = Breakage.model_validate_json(stage.notes[name])
    numbers = [_block(key) for key in made.keys]
    return Truth(
        truth.answer,
        truth.cause,
        tuple(str(each) for each in numbers if each is not None)[:1],
        truth.also_answer,
        truth.also_cause,
        truth.healable,
    )


def _block(key: str) -> int | None:
    group, _, role = key.rpartition("/")[2].partition("}:")
    return int(group) + 64 * int(role) if role.isdigit() else None


def _grid(name: str, strength: tuple[int, int], cause: Cause, answer: Answer = _GRID) -> Variant:
    truth = Truth(answer, cause, healable=name != "lose_pages")
    told = _of_blocks if answer is _GRID else lambda _name, known, _stage: known
    return Variant(
        f"lab.{name}",
        "grid",
        strength,
        partial(told, name, truth),
        partial(broken, "fault", name),
        partial(_still_hurt, name),
        _site,
    )


def _fault(
    name: str,
    strength: tuple[int, int],
    answer: Answer,
    cause: Cause,
    look: Look,
    *objects: str,
    alone: bool = False,
    also: tuple[tuple[Answer, ...], tuple[Cause, ...]] = ((), ()),
) -> Variant:
    healable = bool(FAULTS[name].healed_by)
    truth = Truth(answer, cause, objects, *also, healable=healable)
    return Variant(
        f"lab.{name}",
        "valkey",
        strength,
        partial(_true, truth),
        partial(broken, "fault", name),
        partial(_seen, name, look),
        _site,
        alone=alone,
        config=(("save", "3600 1 300 100 60 10000"),),
    )


def _state(name: str, strength: tuple[int, int], look: Look = _always) -> Variant:
    return Variant(
        f"lab.{name}",
        "valkey",
        strength,
        partial(_true, Truth(Answer.NONE, Cause.NONE)),
        partial(broken, "state", name),
        partial(_seen, name, look),
        _site,
        is_healthy=True,
        alone=True,
        config=(("save", "3600 1 300 100 60 10000"),),
    )


def _late(client: valkey.Valkey) -> bool:
    client.ping()
    began_s = time.monotonic()
    client.ping()
    return time.monotonic() - began_s >= 0.08


def _silent(client: valkey.Valkey) -> bool:
    try:
        client.ping()
    except valkey.exceptions.ValkeyError:
        return True
    return False


def _comes_and_goes(client: valkey.Valkey) -> bool:
    place = client.connection_pool.connection_kwargs
    url = f"valkey://{place['host']}:{place['port']}/0"
    assert urlsplit(url).port

    def is_up() -> bool:
        with valkey.Valkey.from_url(url, socket_timeout=1, retry=None) as each:
            return not _silent(each)

    return becomes(is_up) and becomes(lambda: not is_up())


#: What the lab has and is no variant; docs/accuracy.md says why. A new one is to be added here or below.
LEFT_OUT = frozenset(
    [
        "background_load",
        "half_open_clients",
        "diverged_replica",
        "planned_failover",
        "clients_without_limit",
        "damaged_aof",
        "damaged_snapshot",
        "hot_key",
        "lost_updates",
        "one_by_one",
        "growing_grid",
        "slow_lock_owner",
        "sparse_grid",
        "writers_during_scrub",
        "cpu_hog",
        "connection_storm",
        "endpoint_half_open",
    ]
)

VARIANTS = (
    _grid("flip_bits", (1, 32), Cause.DAMAGED_VALUES),
    _grid("delete_blocks", (1, 12), Cause.DAMAGED_VALUES),
    _grid("delete_two_of_a_group", (1, 4), Cause.DAMAGED_VALUES),
    _grid("damage_three_of_a_group", (1, 3), Cause.DAMAGED_VALUES),
    _grid("damage_primary_alone", (1, 2), Cause.DAMAGED_VALUES),
    _grid("lose_pages", (1, 2), Cause.DAMAGED_VALUES),
    _grid("misplace_block", (1, 6), Cause.DAMAGED_VALUES),
    _grid("stale_block", (1, 6), Cause.DAMAGED_VALUES),
    _grid("damage_record", (1, 6), Cause.DAMAGED_VALUES),
    _grid("damage_manifest_copy", (1, 1), Cause.DAMAGED_VALUES),
    _grid("stale_lock", (1, 6), Cause.STALE_LOCK, _SYNC),
    _grid("deadlock", (1, 2), Cause.DEADLOCK, _SYNC),
    _fault(
        "setting_out_of_range",
        (1, 2),
        _SLOW,
        Cause.SETTING,
        _always,
        "setting",
        # One of them says whether clients are asked if they live.
        also=((_NET,), ()),
    ),
    _fault("slow_reader", (16, 64), _LEAK, Cause.UNREAD_OUTPUT, _called("lab-slow-reader")),
    _fault("forgotten_monitor", (1, 4), _SLOW, Cause.MONITOR, _called("lab-monitor")),
    _fault(
        "too_many_clients",
        (60, 300),
        _FULL,
        Cause.MANY_CLIENTS,
        _called("lab-idle", 20),
        alone=True,
        also=((_NET,), (Cause.IDLE_CLIENTS,)),
    ),
    _fault(
        "idle_clients",
        (40, 200),
        _FULL,
        Cause.MANY_CLIENTS,
        _called("lab-idle", 20),
        alone=True,
        also=((_NET,), (Cause.IDLE_CLIENTS,)),
    ),
    _fault("leaking_prefix", (30, 200), _LEAK, Cause.KEYS_WITHOUT_EXPIRY, _forgotten, "medic8-lab-session"),
    _fault(
        "script_cache",
        (1200, 4000),
        _LEAK,
        Cause.SCRIPTS,
        lambda client: client.info("memory")["number_of_cached_scripts"] >= 1000,
    ),
    _fault(
        "pending_entries",
        (11_000, 40_000),
        _LEAK,
        Cause.PENDING_ENTRIES,
        lambda client: client.xpending("medic8-lab-jobs:all", "lab-workers")["pending"] > 10_000,
        "medic8-lab-jobs",
    ),
    _fault(
        "growing_stream",
        (100, 600),
        _LEAK,
        Cause.GROWING_STREAM,
        lambda client: client.xlen("medic8-lab-events:all") > 0,
        "medic8-lab-events",
    ),
    _fault(
        "memory_full",
        (8, 48),
        _FULL,
        Cause.MEMORY_LIMIT,
        _refuses("OutOfMemory", "SET", "medic8-lab-probe:1", "x" * 65_536),
        alone=True,
    ),
    _fault(
        "runaway_command",
        (50, 90),
        _SLOW,
        Cause.COSTLY_COMMAND,
        _grows("commandstats", "cmdstat_keys", 50_000),
        "lab-report",
    ),
    _fault("big_deletes", (60, 250), _SLOW, Cause.SLOW_DELETE, _deletes),
    _fault(
        "expiry_storm",
        (60, 200),
        _SLOW,
        Cause.EXPIRY_STORM,
        _grows("stats", "expired_time_cap_reached_count", 3),
    ),
    _fault(
        "big_key",
        (16, 64),
        _SLOW,
        Cause.LARGE_KEY,
        lambda client: (client.memory_usage("medic8-lab-catalogue:all", samples=0) or 0) >= 16 << 20,
    ),
    _fault("busy_script", (1, 1), _SLOW, Cause.SCRIPT_RUNS, _refuses("BUSY", "GET", "a"), alone=True),
    _fault(
        "failed_save",
        (1, 1),
        _FULL,
        Cause.SAVE_FAILS,
        _refuses("MISCONF", "SET", "medic8-lab-p:1", "1"),
        alone=True,
    ),
    _fault(
        "writable_replica_changed",
        (5, 60),
        _SYNC,
        Cause.REPLICA_WRITABLE,
        lambda c: c.dbsize() > 0,
        alone=True,
        also=((), (Cause.REPLICA_DIFFERS,)),
    ),
    _fault(
        "small_backlog",
        (300, 800),
        _SYNC,
        Cause.BACKLOG_SMALL,
        lambda c: c.config_get("repl-backlog-size")["repl-backlog-size"] == "16384",
        alone=True,
    ),
    _fault("lagging_replica", (16, 40), _SYNC, Cause.REPLICA_LAGS, _always, alone=True),
    _fault(
        "broken_replication",
        (1, 1),
        _SYNC,
        Cause.REPLICATION_BROKEN,
        lambda c: c.info("replication").get("master_link_status") == "down",
        alone=True,
    ),
    _fault("proxy_delays", (100, 300), _NET, Cause.WAY_SLOW, _late, alone=True, also=((_SLOW,), ())),
    _fault("proxy_drops", (100, 100), _NET, Cause.WAY_CUT, _silent, alone=True),
    _fault("proxy_resets", (100, 100), _NET, Cause.WAY_CUT, _silent, alone=True),
    _fault("expiring_certificate", (1, 6), _NET, Cause.CERTIFICATE, _always, alone=True),
    _fault(
        "flapping",
        (150, 600),
        _NET,
        Cause.WAY_FLAPS,
        _comes_and_goes,
        alone=True,
        also=((), (Cause.WAY_CUT,)),
    ),
    _state("cache_at_its_limit", (16, 64), _grows("stats", "evicted_keys", 2)),
    _state("copy_on_write_peak", (8, 48)),
    _state("warm_up", (500, 2500), _grows("stats", "keyspace_misses", 50)),
    _state("bulk_import", (20, 100), _grows("stats", "total_commands_processed", 50)),
    _state("business_growth", (30, 500), _grows("stats", "total_commands_processed", 50)),
    _state("capped_stream", (100, 600), lambda client: client.xlen("medic8-lab-events:all") > 0),
    _state("rolling_deploy", (20, 120), _called("lab-rolling", 5)),
    _state("waiting_clients", (10, 100), lambda c: c.info("clients")["blocked_clients"] > 0),
    _state("new_replica_joins", (1, 2), lambda c: c.info("replication")["connected_slaves"] > 0),
    _state("one_second_blip", (1, 1)),
    _state("doubled_traffic", (2, 6)),
)
