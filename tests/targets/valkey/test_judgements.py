"""Judgements are pure: no alarm on healthy noise, worse is never milder, nonsense is no crash."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from medic8.analysis.analyzer import WEIGHT
from medic8.analysis.interval import interval
from medic8.analysis.threshold import Threshold, set_by
from medic8.model.issue import Finding, IssueType, Severity
from medic8.model.target import ThresholdRule
from medic8.model.wording import as_text, shown
from medic8.targets.facts import Facts
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.looks import (
    beside,
    clients,
    commands,
    controller,
    errors,
    full_copies,
    host,
    key_sample,
    keys,
    memory,
    persistence,
    reachability,
    replication,
    server_log,
)
from medic8.targets.valkey.looks.asking import Refusal, judge_refusals
from medic8.targets.valkey.looks.error_words import ERROR_WORDS, explain
from medic8.targets.valkey.looks.facts import parse_flat, parse_info
from medic8.targets.valkey.looks.key_sample import Keyspace, SampledKey, prefix_of
from medic8.targets.valkey.policy import POLICY
from medic8.targets.valkey.rules import RULES

NONE = Facts({})
DOCUMENT = Path(__file__).parents[3] / "docs" / "diagnosis-of-servers.md"
LOOKS = Path(reachability.__file__).parent

#: A busy and healthy primary with a replica, as INFO tells it, and how far each field strays by itself.
HEALTHY = {
    "role": "master",
    "connected_slaves": 1,
    "slave0": "ip=10.0.0.2,port=6379,state=online,offset=900000000,lag=1",
    "master_repl_offset": 900_100_000,
    "repl_backlog_size": 256 << 20,
    "sync_full": 2,
    "uptime_in_seconds": 864_000,
    "used_memory": 4 << 30,
    "used_memory_rss": 4600 << 20,
    "maxmemory": 6 << 30,
    "maxmemory_policy": "noeviction",
    "total_system_memory": 16 << 30,
    "mem_clients_normal": 4 << 20,
    "mem_clients_slaves": 1 << 20,
    "number_of_cached_scripts": 12,
    "tracking_clients": 40,
    "tracking_total_keys": 700_000,
    "tracking_total_items": 1_400_000,
    "connected_clients": 400,
    "maxclients": 10_000,
    "rejected_connections": 3,
    "rdb_last_bgsave_status": "ok",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "aof_enabled": 1,
    "aof_delayed_fsync": 2,
    "latest_fork_usec": 60_000,
    "rdb_last_cow_size": 200 << 20,
    "errorstat_OOM": "count=0",
    "db0": "keys=1000000,expires=400000,avg_ttl=1",
}
NOISY = (
    "used_memory",
    "used_memory_rss",
    "mem_clients_normal",
    "mem_clients_slaves",
    "connected_clients",
    "number_of_cached_scripts",
    "tracking_total_keys",
    "tracking_total_items",
    "latest_fork_usec",
    "rdb_last_cow_size",
)


def facts_of(**changed: object) -> Facts:
    return Facts({name: str(value) for name, value in (HEALTHY | changed).items()})


def judge_everything(before: Facts, after: Facts, settings: Facts = NONE) -> tuple[Finding, ...]:
    """All judgements that read INFO."""
    return (
        *memory.judge_memory(after),
        *beside.judge_tracking(after, settings),
        *host.judge_host(after),
        *clients.judge_numbers(after, before),
        *errors.judge_errors(before, after, ()),
        *persistence.judge_persistence(after, settings, before),
        *replication.judge_replication(
            after, settings, before, full_copies.written_per_s([(before, 0.0), (after, 0.3)])
        ),
        *commands.judge_processor(
            commands.processor_share(before, after, 0.3), commands.command_times(before, after), 0.3
        ),
        *keys.judge_evictable(key_sample.databases(after), after),
    )


@given(noise=st.fixed_dictionaries({name: st.floats(0.9, 1.1) for name in NOISY}))
def test_a_healthy_server_that_strays_by_a_tenth_has_no_finding(noise: dict[str, float]) -> None:
    """An alarm that rings on noise is switched off."""
    strayed = {name: int(int(HEALTHY[name]) * factor) for name, factor in noise.items()}  # type: ignore[call-overload]
    before, after = facts_of(), facts_of(master_repl_offset=900_400_000, **strayed)
    settings = Facts({"save": "3600 1", "replica-read-only": "yes", "tracking-table-max-keys": "1000000"})
    assert judge_everything(before, after, settings) == ()


LIMITED = [name for name, _ in POLICY.named()]


@given(name=st.sampled_from(LIMITED), values=st.lists(st.floats(-1e15, 1e15), min_size=2, max_size=20))
def test_worse_is_never_milder(name: str, values: list[float]) -> None:
    """Of two values the one further on the bad side is at least as severe."""
    threshold: Threshold = getattr(POLICY, name)
    weights = [
        len(WEIGHT) if (found := threshold.severity(value)) is None else WEIGHT.index(found)
        for value in sorted(values, reverse=threshold.is_floor)
    ]
    assert all(worse <= better for better, worse in pairwise(weights))


@pytest.mark.parametrize("name", LIMITED)
def test_a_threshold_bites_where_it_says(name: str) -> None:
    """At the limit and beyond; not before; and it says on what it rests."""
    threshold: Threshold = getattr(POLICY, name)
    for limit, severity in ((threshold.warning, Severity.WARNING), (threshold.error, Severity.ERROR)):
        if limit is None:
            continue
        beyond, before = limit * 1.0001, limit * 0.9999
        if threshold.is_floor:
            beyond, before = before, beyond
        assert threshold.severity(beyond) is severity
        assert threshold.severity(before) is not severity
        assert threshold.in_words(limit) in threshold.evidence(limit).limit
    assert threshold.severity(None) is None
    assert re.match(r"(Valkey (documentation|source)|valkey\.conf|lower end)", threshold.source)


def test_limits_in_the_wrong_order_are_refused() -> None:
    """A warning that comes after the error would never be given."""
    for warning, error, is_floor in ((2, 1, False), (1, 2, True), (None, None, False)):
        with pytest.raises(ValidationError, match=r"warning must come|needs a limit"):
            Threshold(what="x", warning=warning, error=error, is_floor=is_floor, source="valkey.conf")


@given(
    name=st.sampled_from(LIMITED),
    factors=st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    value=st.floats(0, 1e12),
)
def test_a_limit_that_a_site_has_set_decides_and_is_no_licence(
    name: str, factors: tuple[float, float], value: float
) -> None:
    """It is either refused with its field or judged by; what a strategy may take is the stricter of both."""
    ours: Threshold = getattr(POLICY, name)
    rule = ThresholdRule(
        name=name,
        warning=None if ours.warning is None else ours.warning * factors[0],
        error=None if ours.error is None else ours.error * factors[1],
    )
    if (problem := ours.problem_with(rule)) is not None:
        assert getattr(rule, problem[0]) is not None
        return
    theirs: Threshold = getattr(set_by(POLICY, [rule]), name)
    plain = Threshold(
        what="x", warning=rule.warning, error=rule.error, is_floor=ours.is_floor, source="valkey.conf"
    )
    assert theirs.severity(value) is plain.severity(value)
    both = [each.severity(value) for each in (ours, theirs) if each.severity(value) is not None]
    assert theirs.cautious.severity(value) is (min(both, key=WEIGHT.index) if both else None)
    assert ("(configured)" in theirs.limits) is (theirs.by_name != ours.by_name)


def test_what_a_site_has_set_reaches_every_judgement() -> None:
    """Whatever judges is handed the limits of the target; none looks at the standard ones by itself."""
    trees = {path: ast.parse(path.read_text()) for path in LOOKS.glob("*.py")}
    judging, own = dict[Path, set[str]](), dict[Path, set[str]]()
    for path, tree in trees.items():
        functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
        own[path] = {each.name for each in functions}
        judging[path] = {each.name for each in functions if "policy" in {a.arg for a in each.args.kwonlyargs}}
        for each in functions:
            used = {name.id for line in each.body for name in ast.walk(line) if isinstance(name, ast.Name)}
            assert "POLICY" not in used, f"{path.name}: {each.name} has to take policy: ServerPolicy = POLICY"
    everybodys = set().union(*judging.values())
    assert len(everybodys) > 30
    for path, tree in trees.items():
        takes_it = judging[path] | (everybodys - own[path])
        forgotten = {
            ast.unparse(each)
            for each in ast.walk(tree)
            if isinstance(each, ast.Call)
            and ast.unparse(each.func).rpartition(".")[2] in takes_it
            and "policy" not in {word.arg for word in each.keywords}
        }
        assert not forgotten, f"{path.name}: hand over policy=, of policy_of(target)"


MONOTONE: list[tuple[str, Callable[[int], tuple[Finding, ...]]]] = [
    ("used", lambda n: memory.judge_limit(facts_of(used_memory=n << 22))),
    ("resident", lambda n: memory.judge_fragmentation(facts_of(used_memory_rss=(4 << 30) + (n << 22)))),
    (
        "swapped",
        lambda n: memory.judge_fragmentation(facts_of(used_memory_rss=max(0, (4 << 30) - (n << 21)))),
    ),
    ("clients", lambda n: clients.judge_numbers(facts_of(connected_clients=n * 5), facts_of())),
    ("lag", lambda n: replication.judge_replicas(facts_of(master_repl_offset=900_000_000 + n * 20_000))),
    ("syncs", lambda n: full_copies.judge_syncs(facts_of(sync_full=n * 10), facts_of(), 0)),
    (
        "tracking",
        lambda n: beside.judge_tracking(
            facts_of(tracking_total_keys=n * 1000, tracking_total_items=n * 10_000),
            Facts({"tracking-table-max-keys": "1000000"}),
        ),
    ),
    ("fork", lambda n: persistence.judge_forks(facts_of(latest_fork_usec=n * 2000))),
    ("pending", lambda n: keys.judge_pending([keys.Pending(b"s", b"g", n * 1000)])),
    ("latency", lambda n: reachability.judge_latency(n / 1000)),
    ("forgotten", lambda n: keys.judge_forgotten(sessions(staying=n // 4, expiring=600))),
]


def sessions(*, staying: int, expiring: int) -> list[SampledKey]:
    return [
        SampledKey(b"session:%d" % number, 0, "string", 50, number >= staying)
        for number in range(staying + expiring)
    ]


@pytest.mark.parametrize(("what", "judge"), MONOTONE, ids=[what for what, _ in MONOTONE])
def test_a_growing_evil_is_found_at_some_point_and_never_forgotten(
    what: str, judge: Callable[[int], tuple[Finding, ...]]
) -> None:
    """From nothing upwards the findings only become heavier; at the end there is one."""
    weights = [
        min((WEIGHT.index(finding.severity) for finding in judge(step)), default=len(WEIGHT))
        for step in range(2001 if what != "forgotten" else 1200)
    ]
    assert weights[0] == len(WEIGHT)
    assert weights[-1] < len(WEIGHT)
    assert all(later <= earlier for earlier, later in pairwise(weights))


ANYTHING = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "nan", "inf", "-1", "1e308", "0", "9" * 400, "ok", "err", "calls=1,usec=x", "a=b=c,,="]
    ),
    st.integers().map(str),
)


@given(
    before=st.dictionaries(
        st.sampled_from([*HEALTHY, "cmdstat_\x1b", "errorstat_\x00", "dbx", "slavex"]), ANYTHING
    ),
    after=st.dictionaries(
        st.sampled_from([*HEALTHY, "cmdstat_\x1b", "errorstat_\x00", "db1", "slave1"]), ANYTHING
    ),
    settings=st.dictionaries(
        st.sampled_from(
            [
                "save",
                "replica-read-only",
                "min-replicas-to-write",
                "stop-writes-on-bgsave-error",
                "tracking-table-max-keys",
            ]
        ),
        ANYTHING,
    ),
)
def test_whatever_a_server_tells_is_judged_without_a_crash(
    before: dict[str, str], after: dict[str, str], settings: dict[str, str]
) -> None:
    """Other makers, other versions, and liars: findings at most, and nothing that a terminal obeys."""
    for finding in judge_everything(Facts(before), Facts(after), Facts(settings)):
        assert finding.text.isprintable()
        assert all((fact.what + fact.seen + fact.limit).isprintable() for fact in finding.evidence)
        assert all(line.isprintable() for line in finding.advice)


@given(st.binary(max_size=400))
@example(b"\xed\xa0\x80\x1b[0m")
def test_any_reply_is_read_without_a_crash(raw: bytes) -> None:
    """INFO, CLIENT LIST, ACL LOG and the log are text that others may have written."""
    facts = parse_info(raw)
    judge_everything(facts, facts)
    clients.judge_listed(clients.parse_list(raw), facts, is_whole=True)
    errors.describe_denial(parse_flat([b"username", raw, b"object", raw]))
    warnings = server_log.warnings_of(b"1:M 25 Nov 2026 02:00:00.000 # " + raw, process="1") or []
    assert all(fact.seen.isprintable() for each in server_log.judge_log(warnings) for fact in each.evidence)
    entry = commands.parse_entry([1, 2, 3, [b"GET", raw], b"", raw])
    assert entry is not None
    assert entry.name.isprintable()


@given(st.one_of(st.binary(max_size=500), st.text(max_size=500)))
def test_what_is_shown_is_one_short_printable_line(raw: bytes | str) -> None:
    """Whatever it was: UTF-8, within the limit, and saying what it leaves out."""
    text = shown(raw, 80)
    assert text.isprintable() or text == ""
    assert text.encode().decode() == text
    assert len(text) <= 80 + len("… (2,000 bytes)")
    assert ("… (" in text) or text.startswith(as_text(raw)[:1]) or "\\" in text or not raw


@given(hits=st.integers(0, 2000), more=st.integers(0, 2000))
def test_an_interval_holds_the_share_that_was_seen_and_shrinks(hits: int, more: int) -> None:
    """It narrows with the sample, and stays between nothing and all."""
    low, high = interval(hits, hits + more)
    assert 0.0 <= low <= high <= 1.0
    if hits + more:
        assert low - 1e-9 <= hits / (hits + more) <= high + 1e-9
        wider, narrower = interval(hits, hits + more), interval(hits * 10, (hits + more) * 10)
        assert narrower[1] - narrower[0] < wider[1] - wider[0]


def test_a_key_without_expiry_in_a_small_sample_is_no_leak() -> None:
    """One of fifty may be chance; thirty of six hundred are not; and keys that are to stay are none."""
    assert keys.judge_forgotten(sessions(staying=1, expiring=60)) == ()
    assert keys.judge_forgotten(sessions(staying=0, expiring=600)) == ()
    assert keys.judge_forgotten(sessions(staying=600, expiring=1)) == ()
    assert [each.code for each in keys.judge_forgotten(sessions(staying=30, expiring=570))] == [
        "keys.forgotten_expiry"
    ]


def test_a_cache_that_may_evict_only_what_expires_needs_something_to_evict() -> None:
    """Exact, by the numbers of INFO; a server that may evict anything is well."""
    full = [Keyspace(0, 1000, 50)]
    volatile = facts_of(maxmemory=1 << 30, maxmemory_policy="volatile-lru")
    assert [each.code for each in keys.judge_evictable(full, volatile)] == ["keys.unexpiring"]
    assert keys.judge_evictable(full, facts_of(maxmemory=1 << 30, maxmemory_policy="allkeys-lru")) == ()
    assert keys.judge_evictable([Keyspace(0, 1000, 500)], volatile) == ()
    assert keys.judge_evictable([], volatile) == ()
    # Without a limit nothing is ever evicted, and nothing refused for it.
    assert keys.judge_evictable(full, facts_of(maxmemory=0, maxmemory_policy="volatile-lru")) == ()


def test_small_servers_have_no_fragmentation() -> None:
    """A ratio of 6 is usual where the process itself is most of what is resident."""
    small = facts_of(used_memory=1 << 20, used_memory_rss=6 << 20)
    assert memory.judge_fragmentation(small) == ()


def test_what_deletions_have_left_of_a_small_server_is_fragmentation() -> None:
    """If much more was used before, and data is there that is spread over what is left."""
    shrunk = {"used_memory": 10 << 20, "used_memory_rss": 80 << 20, "used_memory_peak": 90 << 20}
    data = {"used_memory_dataset": 8 << 20}
    (finding,) = memory.judge_fragmentation(facts_of(**shrunk, **data))
    assert finding.code == "memory.fragmented"
    for changed in ({"used_memory_peak": 12 << 20}, {"used_memory_dataset": 1 << 20}):
        assert memory.judge_fragmentation(facts_of(**{**shrunk, **data, **changed})) == ()


def test_a_large_server_has_fragmentation() -> None:
    """Whatever it used before."""
    large = facts_of(used_memory=1 << 30, used_memory_rss=6 << 30)
    assert [each.code for each in memory.judge_fragmentation(large)] == ["memory.fragmented"]


def test_snapshots_that_do_not_come_are_found() -> None:
    """By what the setting asks for, and by the server's clock."""
    late = facts_of(
        aof_enabled=0,
        rdb_changes_since_last_save=5,
        rdb_last_save_time=1_000_000,
        server_time_usec=10**12 + 20_000 * 10**6,
    )
    points = Facts({"save": "3600 1 60 10000"})
    assert [each.code for each in persistence.judge_durability(late, points)] == ["persistence.overdue"]
    assert persistence.judge_durability(late, Facts({"save": "36000 1"})) == ()
    assert persistence.judge_durability(late, Facts({"save": "60 10000"})) == ()
    none = persistence.judge_durability(late, Facts({"save": ""}))
    assert [(each.code, each.severity) for each in none] == [("persistence.none", Severity.INFO)]
    assert persistence.judge_durability(late, NONE) == ()


def test_a_backlog_is_held_against_what_is_written() -> None:
    """The same backlog is plenty for a trickle and nothing for a flood."""
    facts = facts_of(repl_backlog_size=1 << 20, uptime_in_seconds=300)
    assert full_copies.judge_syncs(facts, facts, 1000) == ()
    (finding,) = full_copies.judge_syncs(facts, facts, 3_000_000)
    assert (finding.code, finding.severity) == ("replication.backlog", Severity.ERROR)


def test_the_costliest_command_is_named() -> None:
    """By its share of the interval, not by its number of calls."""
    before = facts_of(cmdstat_get="calls=10,usec=10", cmdstat_keys="calls=1,usec=1000")
    after = facts_of(cmdstat_get="calls=5010,usec=5010", cmdstat_keys="calls=4,usec=271000")
    times = commands.command_times(before, after)
    assert [(each.name, each.calls) for each in times] == [("keys", 3), ("get", 5000)]
    (finding,) = commands.judge_processor(0.5, times, 0.3)
    assert (finding.code, finding.severity) == ("commands.costly", Severity.ERROR)
    assert "keys" in finding.text


@pytest.mark.parametrize(
    ("fields", "host_name", "expected"),
    [
        ({"os": "Amazon ElastiCache"}, "10.0.0.1", "Amazon ElastiCache"),
        ({}, "x.abc.0001.use1.cache.amazonaws.com", "Amazon ElastiCache"),
        ({}, "clustercfg.x.abc.memorydb.us-east-1.amazonaws.com", "Amazon MemoryDB"),
        ({"rlec_version": "7.4.2-54"}, "10.0.0.1", "Redis Enterprise or Redis Cloud"),
        ({"upstash_version": "1.10.5"}, "x.upstash.io", "Upstash"),
        ({}, "mine.redis.cache.windows.net", "Azure Cache for Redis"),
        ({}, "valkey-0.valkey.prod.svc.cluster.local", "Kubernetes (an operator or a chart)"),
    ],
)
def test_services_are_recognised_and_own_everything(
    fields: dict[str, str], host_name: str, expected: str
) -> None:
    """By a field that only they have, or by their name."""
    (found,) = controller.recognise(Facts(fields), sentinels=0, has_config=True, host=host_name, label="")
    assert found.name == expected
    assert found.owns == frozenset(controller.Belonging)


def test_an_ordinary_server_is_nobodys() -> None:
    """And one without CONFIG is somebody's, whoever that is."""
    ordinary = Facts(
        {"os": "Linux 6.1 x86_64", "executable": "/usr/bin/valkey-server", "cluster_enabled": "0"}
    )
    assert controller.recognise(ordinary, sentinels=0, has_config=True, host="db-1", label="") == ()
    (hidden,) = controller.recognise(ordinary, sentinels=0, has_config=False, host="db-1", label="")
    assert controller.Belonging.SETTINGS in hidden.owns


def test_a_snapshot_may_copy_all_memory_where_the_host_has_room_for_it() -> None:
    """Whoever writes everything anew while a snapshot is taken is well; it hurts where it does not fit."""
    roomy = facts_of(rdb_last_cow_size=4 << 30)
    assert persistence.judge_forks(roomy) == ()
    for changed in ({"total_system_memory": 10 << 30}, {"total_system_memory": "unknown"}):
        (finding,) = persistence.judge_forks(facts_of(rdb_last_cow_size=4 << 30, **changed))
        assert (finding.code, finding.severity) == ("persistence.copy_on_write", Severity.ERROR)


def test_every_finding_has_its_issue_or_is_known_to_be_none() -> None:
    """A code that no rule knows would be shown and never treated."""
    source = "\n".join(path.read_text() for path in LOOKS.glob("*.py"))
    codes = set(re.findall(r'(?:over\(|fact\(|code=)\s*"([a-z_]+\.[a-z_]+)"', source))
    ruled = frozenset().union(*(rule.codes for rule in RULES))
    noted = {
        "clients.blocked_by_module",
        "commands.stalled",
        "controller.recognised",
        "diagnostic.refused",
        "keys.busy",
        "persistence.none",
        "replication.copying",
        "replication.full_syncs_past",
        "server.refuses",
        "settings.unsaved",
        "log.known",
        "log.warnings",
    }
    assert len(codes) > 30
    assert codes - ruled == noted


def test_no_code_is_a_sign_of_two_issues_and_errors_have_the_issue_that_their_words_say() -> None:
    """One finding, one issue; each with symptoms of the guide."""
    codes = [code for rule in RULES for code in rule.codes]
    assert len(codes) == len(set(codes))
    for name, words in ERROR_WORDS.items():
        rules = [rule for rule in RULES if f"errors.{name.lower()}" in rule.codes]
        assert [rule.issue_type for rule in rules] == ([words.issue] if words.issue else [])
    assert {rule.issue_type for rule in RULES} == set(IssueType)


@pytest.mark.parametrize("name", [name for name, words in ERROR_WORDS.items() if words.issue])
def test_errors_answered_now_are_worse_than_those_of_the_past(name: str) -> None:
    """And each comes with something that a person can do."""
    field = f"errorstat_{name}"
    past = errors.judge_errors(facts_of(**{field: "count=7"}), facts_of(**{field: "count=7"}), ())
    now = errors.judge_errors(facts_of(**{field: "count=7"}), facts_of(**{field: "count=9"}), ())
    assert [(each.code, each.severity) for each in past] == [("errors.past", Severity.INFO)]
    assert [each.code for each in now] == [f"errors.{name.lower()}"]
    assert WEIGHT.index(now[0].severity) < WEIGHT.index(past[0].severity)
    assert now[0].advice
    assert explain(f"{name} whatever").endswith(f"({ERROR_WORDS[name].means})")


@given(prefix=st.text(max_size=20), message=st.text(max_size=50), essential=st.booleans())
def test_a_refusal_is_a_finding_that_says_what_to_allow(prefix: str, message: str, essential: bool) -> None:
    """A warning where nothing was seen without it."""
    refused = {"CONFIG GET": (Refusal(prefix, shown(message)), essential)}
    (finding,) = judge_refusals("memory", refused, "limited")
    assert finding.severity is (Severity.WARNING if essential else Severity.INFO)
    assert finding.advice == (("ACL SETUSER limited +config|get",) if prefix == "NOPERM" else ())


@pytest.mark.parametrize(
    ("name", "prefix"),
    [(b"user:1:name", "user"), (b"a/b", "a"), (b"plain", ""), (b":x", ""), (b"\xff\xfe:1", "\\xff\\xfe")],
)
def test_prefixes(name: bytes, prefix: str) -> None:
    """Up to the first separator, whatever it holds."""
    assert prefix_of(name) == prefix


def test_the_document_lists_the_thresholds_and_errors_of_the_code() -> None:
    """All of them, word by word, in their order."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    thresholds = [
        f"| `{name}` | {each.what} | {each.limits} | {each.source} |" for name, each in POLICY.named()
    ]
    explained = [
        f"| `{name}` | {words.means} | {words.issue.value.replace('_', ' ')} |"
        for name, words in ERROR_WORDS.items()
        if words.issue
    ]
    assert [row for row in rows if row in thresholds] == thresholds
    assert [row for row in rows if row in explained] == explained
    looks = [f"| `{name}` |" for name in DIAGNOSTICS]
    assert [row for row in looks if any(line.startswith(row) for line in rows)] == looks
