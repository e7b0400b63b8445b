"""Looks at real servers: what is refused, what is hostile, what somebody else runs, what leaks."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey
from looking_at import AROUND, a_target, as_user, found, look, report_on, rules_of_the_document

from medic8.analysis import markdown
from medic8.analysis.analyzer import UNREACHABLE
from medic8.cli.render_report import render_report
from medic8.cli.screen import Screen
from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.local.scratch import scratch_valkey
from medic8.model.issue import IssueType, Severity
from medic8.model.plan import Unit
from medic8.model.report import DiagnosticReport, Health
from medic8.model.target import Mode
from medic8.safety.admission import admit
from medic8.targets.treatment import choose_plan
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.controller import MANAGED_BY, Belonging, owner_of
from medic8.targets.valkey.looks.server_log import read_end, warnings_of
from medic8.targets.valkey.plans.planning import plan_of, set_one
from tests.raw_clients import BUSY, busy_for
from tests.replicas import until

#: Control characters, what turns a terminal's writing direction, and bytes that are no UTF-8.
HOSTILE = b"\x1b[2J\x07evil\r\n\xff\xfe\xe2\x80\xae<script>|`"
RULE = {"name": "slowlog-max-len", "minimum": 1000}


@pytest.mark.parametrize(
    ("commands", "missing"),
    [
        (("+@all", "-config"), {"CONFIG GET"}),
        (("+@all", "-client"), {"CLIENT LIST"}),
        (("+@all", "-eval", "-evalsha", "-debug"), set()),
        (("+@all", "-commandlog", "-slowlog"), {"SLOWLOG GET"}),
        (("+@all", "-scan"), {"SCAN"}),
        (("+@all", "-memory", "-type", "-pttl"), {"MEMORY STATS", "MEMORY USAGE", "TYPE", "PTTL"}),
        (("+@all", "-pubsub"), {"PUBSUB NUMSUB"}),
    ],
)
def test_what_is_refused_is_said_and_the_rest_is_seen(
    valkey_url: str, commands: tuple[str, ...], missing: set[str]
) -> None:
    """One command that may not be used costs what it would tell, and comes with the rule that allows it."""
    with connection(valkey_url) as client:
        client.set("key", "value")
    report = report_on(as_user(valkey_url, *commands))
    partial = [each for each in report.analysis.findings if each.code == "diagnostic.partial"]
    assert {fact.what for each in partial for fact in each.evidence} == missing
    assert all(each.advice[0].startswith("ACL SETUSER limited +") for each in partial)
    shown = "\n".join(everything_shown(report))
    assert all(shown.count(each.advice[0]) >= 2 for each in partial)
    assert report.analysis.health is Health.HEALTHY
    assert len(report.results) == len(DIAGNOSTICS)


def test_who_may_not_ask_for_sentinels_does_not_call_the_roles_nobodys(valkey_url: str) -> None:
    """A Sentinel may own them; everything else is nobody's as before, and with leave so are they."""
    whole = report_on(as_user(valkey_url, "+@all"))
    assert [owner_of(each, whole) for each in Belonging] == [""] * len(Belonging)
    target = a_target(
        as_user(valkey_url, "+@all", "-pubsub|numsub"), mode="act", allow=["resync_replica"], setting=[RULE]
    )
    blind = report_on(target.address, setting=[RULE])
    assert owner_of(Belonging.SETTINGS, blind) == ""
    plan = plan_of(
        "resync_replica",
        blind.issues[0],
        blind,
        target,
        [Unit(title="any", steps=(set_one(target, "slowlog-max-len", "1", "2"),))],
        summary="",
        nothing="",
        belongs=Belonging.ROLES,
    )
    assert plan.belongs_to == "nobody knows whom (PUBSUB NUMSUB was refused)"
    admission = admit(plan, target, [plan.digest])
    assert (admission.is_granted, admission.rule) == (False, "managed")


def test_the_user_that_the_document_describes_sees_everything(valkey_url: str) -> None:
    """And may write nothing."""
    with connection(valkey_url) as admin:
        admin.execute_command("ACL", "SETUSER", "medic8", "on", "nopass", *rules_of_the_document())
        admin.xgroup_create("stream", "group", "0", mkstream=True)
    url = valkey_url.replace("valkey://", "valkey://medic8:any@")
    report = report_on(url, setting=(RULE,))
    assert not [each for each in report.analysis.findings if each.code.startswith("diagnostic.")]
    assert [text for text in report.analysis.unseen if "refused" in text] == []
    with pytest.raises(RefusedError), connection(url) as limited:
        limited.set("key", "value")


def test_a_server_that_tells_nothing_is_not_healthy(valkey_url: str) -> None:
    """Nobody may read "healthy" where nothing was seen."""
    report = report_on(as_user(valkey_url, "-@all", "+ping"))
    assert report.analysis.health is Health.DEGRADED
    refused = [each for each in report.analysis.findings if each.code == "diagnostic.refused"]
    assert {each.about for each in refused} == set(DIAGNOSTICS) - {"settings", "certificate", "expiry"}


def test_settings_with_rules_that_may_not_be_read_are_not_healthy(valkey_url: str) -> None:
    """Else a setting out of its range would be taken for one that was set right."""
    result = look(as_user(valkey_url, "+@all", "-config"), "settings", setting=(RULE,))
    assert [(each.code, each.severity) for each in result.findings] == [
        ("diagnostic.refused", Severity.WARNING)
    ]


def everything_shown(report: DiagnosticReport) -> Iterator[str]:
    """A report in each form that people get to see, but for the lines that separate its parts."""
    yield from markdown.report(report).split("\n")
    with Path("/dev/null").open("w") as nowhere:
        screen = Screen(nowhere, nowhere)
        for part in render_report(report):
            with screen._results.capture() as written:
                screen._results.print(part)
            yield from written.get().split("\n")
    yield from report.model_dump_json(indent=2).split("\n")


def test_hostile_names_are_shown_escaped_everywhere(tmp_path: Path) -> None:
    """Keys, groups, users, errors, log: whatever they hold, no terminal obeys it, and JSON stays JSON."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        client.setrange(HOSTILE + b":large", 11 << 20, "x")
        client.set(b"n" * (1 << 20), "x")
        client.set(HOSTILE * 9000, "x")
        for number in range(100):
            client.set(b"session" + HOSTILE + b":%d" % number, "x", ex=None if number < 20 else 60)
        client.xadd(HOSTILE + b"stream", {"a": "1"})
        client.xgroup_create(HOSTILE + b"stream", HOSTILE + b"group", "0")
        client.eval(
            "for i = 1, 11000 do redis.call('XADD', KEYS[1], '*', 'a', '1') end", 1, HOSTILE + b"stream"
        )
        client.xreadgroup(HOSTILE + b"group", HOSTILE, {HOSTILE + b"stream": ">"}, count=20_000)
        client.config_set("slowlog-log-slower-than", 0)
        client.hset(HOSTILE + b"hash", HOSTILE, HOSTILE)
        with pytest.raises(valkey.exceptions.ResponseError):
            client.eval("return redis.error_reply(ARGV[1])", 0, b"\x1b[2J\xffMINE not good")
        with valkey.Valkey.from_url(server.url) as other, pytest.raises(valkey.exceptions.ConnectionError):
            other.execute_command("AUTH", HOSTILE, HOSTILE)
        report = report_on(server.url)
        shown = list(everything_shown(report))
    codes = {finding.code for finding in report.analysis.findings}
    assert {"keys.large", "keys.forgotten_expiry", "keys.pending", "errors.past"} <= codes
    assert not [line for line in shown if not line.isprintable()]
    assert max(map(len, report.model_dump_json().split('"'))) < 1500
    assert DiagnosticReport.model_validate_json(report.model_dump_json()) == report
    assert json.loads(report.model_dump_json().encode())["target"] == "server"
    assert "\\x1b[2J" in report.model_dump_json().replace("\\\\", "\\")


def test_names_of_megabytes_are_not_fetched_without_end(tmp_path: Path) -> None:
    """The server spends milliseconds on each; what is not looked at for that is said."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        for number in range(50):
            client.set(b"%d" % number + b"n" * (1 << 20), "x")
        client.config_set("slowlog-log-slower-than", 0)
        result = look(server.url, "keys")
        ours = [each for each in client.slowlog_get(1000) if each["client_name"].startswith(b"medic8:")]
    assert any("names over 64 KiB" in text for text in result.unseen)
    assert any("sampling ended" in text for text in result.unseen)
    assert len([each for each in ours if each["command"].startswith(b"SCAN")]) <= 15


def test_ten_thousand_clients_are_sampled(tmp_path: Path) -> None:
    """CLIENT LIST over all of them would stop the server; a look at some says that it is one."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(10_000, most - 1000)  # the server has as many, and both have others
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (allowed, most))
        server = stack.enter_context(scratch_valkey(tmp_path, config={"maxclients": str(wanted + 300)}))
        for _ in range(wanted):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        client = stack.enter_context(connection(server.url))
        until(lambda: client.info("clients")["connected_clients"] > wanted)
        result = look(server.url, "clients")
    listed = result.reading("clients.listed")
    assert listed is not None
    assert 100 <= int(listed.value) <= 500
    assert any("more than 1,000" in text for text in result.unseen)


def test_a_client_that_watches_everything_and_one_that_does_not_read(valkey_url: str) -> None:
    """MONITOR, and a subscriber whose output piles up."""
    with connection(valkey_url) as client, valkey.Valkey.from_url(valkey_url) as watcher:
        client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        with watcher.monitor(), valkey.Valkey.from_url(valkey_url) as lazy:
            subscription = lazy.pubsub()
            subscription.subscribe("news")
            subscription.get_message(timeout=60)
            for _ in range(20):
                client.publish("news", "x" * (1 << 20))
            result = look(valkey_url, "clients")
            subscription.close()
    assert "MONITOR" in found(result, "clients.monitor").text
    output = found(result, "clients.output")
    assert output.severity is Severity.WARNING
    assert output.advice[0].startswith("CLIENT KILL ID ")


def test_a_slow_command_is_named_with_its_key_and_no_value(valkey_url: str) -> None:
    """What it was called with may be a secret."""
    with valkey.Valkey.from_url(valkey_url, socket_timeout=60) as client:
        client.eval(f"{BUSY} for i = 1, 600000 do redis.call('SADD', KEYS[1], i) end", 1, "numbers")
        client.sort("numbers", by="nosort", desc=True, get="secret-*")
        result = look(valkey_url, "commands")
    facts = [fact.seen for each in result.findings if each.code == "commands.slow" for fact in each.evidence]
    assert any("SORT numbers" in seen or "EVAL" in seen for seen in facts)
    assert "secret" not in result.model_dump_json()
    assert "redis.call" not in result.model_dump_json()


@pytest.mark.parametrize("name", ["medic8", "medic8:0"])
def test_whoever_is_called_much_as_our_looks_are_does_not_hide_its_slow_commands(
    valkey_url: str, name: str
) -> None:
    """Ours have a name that nobody can guess."""
    with connection(valkey_url, name=name, timeout_s=60) as client:
        client.eval(busy_for(0.2), 0)
        slow = [each for each in look(valkey_url, "commands").findings if each.code == "commands.slow"]
        assert slow, "whatever it took by the clock, which is more where others want the processor"


def look_for_ever(url: str) -> None:
    for _ in range(1000):
        look(url, "memory")


def test_a_restart_in_the_middle_of_a_look_is_transient(tmp_path: Path) -> None:
    """Half a look is no look; the task takes it again."""
    with scratch_valkey(tmp_path) as server:
        later = threading.Timer(0.1, server.kill)
        later.start()
        with pytest.raises((TransientError, UnreachableError)):
            look_for_ever(server.url)
        later.join()


def test_a_change_of_role_in_the_middle_of_a_look_is_said(tmp_path: Path) -> None:
    """What was read belongs to two different servers, in a way."""
    with scratch_valkey(tmp_path) as server, connection(server.url) as client:
        later = threading.Timer(0.15, lambda: client.replicaof("127.0.0.1", "1"))
        later.start()
        result = look(server.url, "replication")
        later.join()
    assert found(result, "replication.role_changed").severity is Severity.WARNING


def test_the_servers_own_log_is_read_where_it_lies_here(tmp_path: Path) -> None:
    """Warnings of this very process, and of no other."""
    with scratch_valkey(tmp_path, config={"logfile": "server.log"}) as server:
        log = server.data / "server.log"
        entry = "25 Nov 2026 02:00:00.000 # Asynchronous AOF fsync is taking too long \x1b[2J"
        with log.open("a") as file:
            file.write(f"{server.pid}:M {entry}\n1:M {entry.replace('AOF', 'OTHER')}\n")
        result = look(server.url, "log")
    disk = [each for each in result.findings if "too slow for the append-only file" in each.text]
    assert len(disk) == 1
    assert disk[0].evidence[0].seen.endswith("\\x1b[2J")
    assert "OTHER" not in result.model_dump_json()


@pytest.mark.parametrize("name", ["/dev/zero", "/nonexistent/log", "/etc/hostname"])
def test_a_file_that_is_not_its_log_is_not_read_as_one(name: str) -> None:
    """A server may name anything as its log: what is no file is not read, and another's lines are not its."""
    if name == "/etc/hostname":
        assert warnings_of(read_end(Path(name)), process="1") is None
    else:
        with pytest.raises(OSError, match=r"regular file|No such file"):
            read_end(Path(name))


def test_a_cluster_and_a_sentinel_are_recognised(tmp_path: Path) -> None:
    """Roles are a Sentinel's, settings are not; a cluster is only read."""
    (tmp_path / "cluster").mkdir()
    with scratch_valkey(tmp_path) as server, valkey.Valkey.from_url(server.url) as client:
        assert look(server.url, "controller").findings == ()
        subscription = client.pubsub()
        subscription.subscribe("__sentinel__:hello")
        subscription.get_message(timeout=60)
        watched = look(server.url, "controller")
        subscription.close()
    with scratch_valkey(tmp_path / "cluster", config={"cluster-enabled": "yes"}) as server:
        clustered = look(server.url, "controller")
    assert [each.about for each in watched.findings] == ["Sentinel"]
    assert [each.about for each in clustered.findings] == ["Valkey Cluster"]
    for result, is_all in ((watched, False), (clustered, True)):
        assert result.reading("controller.owns.roles") is not None
        assert (result.reading("controller.owns.settings") is not None) is is_all


def test_what_a_controller_owns_is_refused_and_advised(valkey_url: str) -> None:
    """Whatever the configuration allows: it would be put back behind our back."""
    with connection(valkey_url) as client:
        client.config_set("slowlog-max-len", "10")
    wishes = {"setting": (RULE,), "mode": Mode.ACT, "allow": ("set_settings",)}
    for labels, rule in (({}, ""), ({MANAGED_BY: "our operator"}, "managed")):
        target = a_target(valkey_url, labels=labels, **wishes)
        report = report_on(valkey_url, labels=labels, **wishes)
        (issue,) = report.issues
        plan = choose_plan(KIND, issue, report, target)
        assert plan is not None
        assert plan.step_count == 1
        admission = admit(plan, target)
        assert admission.rule == rule
        assert admission.is_granted is not bool(rule)
    assert "our operator" in admission.reason
    assert "change it there" in admission.reason


def test_who_owns_settings_must_be_known_before_they_are_changed(valkey_url: str) -> None:
    """A report without that look does not say that nobody does."""
    with connection(valkey_url) as client:
        client.config_set("slowlog-max-len", "10")
    wishes = {"setting": (RULE,), "mode": Mode.ACT, "allow": ("set_settings",)}
    target, report = a_target(valkey_url, **wishes), report_on(valkey_url, without=("controller",), **wishes)
    plan = choose_plan(KIND, report.issues[0], report, target)
    assert plan is not None
    assert admit(plan, target).rule == "managed"


def test_every_look_at_a_server_that_is_gone_says_so() -> None:
    """None of them crashes."""
    assert found(look("valkey://127.0.0.1:1/0", "reachability"), UNREACHABLE).severity is Severity.CRITICAL
    for take in [each for name, each in DIAGNOSTICS.items() if name not in {"reachability", "certificate"}]:
        with pytest.raises(UnreachableError):
            take(a_target("valkey://127.0.0.1:1/0"), AROUND)


def test_forgotten_expiry_pending_entries_and_large_keys_are_issues(valkey_url: str) -> None:
    """Leaks that a person can act upon, with what to do."""
    with connection(valkey_url) as client:
        pipe = client.pipeline(transaction=False)
        for number in range(400):
            pipe.set(f"session:{number}", "x", ex=None if number % 10 == 0 else 60)
        pipe.xgroup_create("jobs", "workers", "0", mkstream=True)
        pipe.execute()
        client.eval("for i = 1, 10001 do redis.call('XADD', 'jobs', '*', 'a', '1') end", 0)
        client.xreadgroup("workers", "dead", {"jobs": ">"}, count=10_001)
        client.setrange("large", 11 << 20, "x")
        report = report_on(valkey_url)
    issues = {issue.about: issue for issue in report.issues}
    assert issues["keys session…"].issue_type is IssueType.MEMORY_LEAK
    assert issues["stream jobs"].issue_type is IssueType.MEMORY_LEAK
    assert "group workers" in issues["stream jobs"].evidence[0].what
    assert issues["large keys"].issue_type is IssueType.SLOW_OPERATIONS
    assert all(issue.advice for issue in report.issues)
