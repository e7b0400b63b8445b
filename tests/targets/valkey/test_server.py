"""A real server: claims, settings that are changed and put back, and what its diagnostics see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import (
    ChangedError,
    FencedError,
    RefusedError,
    TransientError,
    UnreachableError,
    VerifyError,
)
from medic8.model.issue import IssueType, Severity
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Fence, Recovery
from medic8.model.report import Analysis, DiagnosticReport, Health
from medic8.model.target import Resource, SettingRule, Target
from medic8.owner import this_process
from medic8.targets.facts import Facts
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey.actions import ServerSession, open_session
from medic8.targets.valkey.acts.settings import SET_SETTING
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connect, connection, info
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.memory import judge_limit
from medic8.targets.valkey.looks.persistence import judge_failures
from medic8.targets.valkey.looks.replication import judge_replica, judge_replicas
from medic8.targets.valkey.looks.settings import nearest_good
from medic8.targets.valkey.plans.settings import plan_settings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)
RULES = (SettingRule(name="slowlog-max-len", minimum=1000), SettingRule(name="hz", minimum=10, maximum=100))


def a_claim(journal: str = "journal-1", recovery: str = "recovery-1", number: int = 1) -> Claim:
    return Claim(journal=journal, recovery=recovery, fence=Fence(number=number, nonce="0" * 32))


def set_step(name: str, value: str, found: str = "10") -> Step:
    return Step(
        title=f"set {name}",
        action=SET_SETTING,
        arguments={"name": name, "found": found, "value": value},
        touches=f"setting {name}",
    )


@pytest.fixture
def target(valkey_url: str) -> Target:
    """Get the shared server as a target with two rules on settings."""
    return Target(name="server", kind="valkey", url=valkey_url, setting=RULES)


@pytest.fixture
def session(target: Target) -> Iterator[ServerSession]:
    """Get a session that holds the claim of recovery-1."""
    with open_session(target, AROUND) as session:
        session.take_claim(a_claim(), lasts_s=60)
        yield session


def test_a_server_claimed_by_another_journal_is_left_alone(session: ServerSession) -> None:
    """Two journals never repair one server."""
    with pytest.raises(RefusedError, match="recovery-1 of another journal"):
        session.take_claim(a_claim("journal-2", "recovery-2"), lasts_s=60)


def test_the_journal_that_granted_the_server_replaces_its_own_older_claim(session: ServerSession) -> None:
    """The older recovery has ended in the journal, whatever it left in the target."""
    session.take_claim(a_claim(recovery="recovery-2", number=2), lasts_s=60)
    with pytest.raises(FencedError, match="recovery-2 holds it"):
        session.swap(set_step("hz", "20"), expected=b"10", new=b"20", claim=a_claim())


def test_a_lapsed_claim_shuts_its_owner_out(session: ServerSession, valkey_url: str) -> None:
    """A missing claim is nobody's permission."""
    with connection(valkey_url) as client:
        client.delete(CLAIM_KEY)
    with pytest.raises(FencedError, match="it is gone"):
        session.swap(set_step("hz", "20"), expected=b"10", new=b"20", claim=a_claim())
    with pytest.raises(FencedError):
        session.renew_claim(a_claim(), lasts_s=60)
    assert session.capture(set_step("hz", "20")) == b"10"


def test_a_claim_is_given_back_by_its_owner_only(session: ServerSession, valkey_url: str) -> None:
    """Releasing is a comparison, too."""
    session.release_claim(a_claim(recovery="recovery-2"))
    with connection(valkey_url) as client:
        assert client.get(CLAIM_KEY) == a_claim().content
        assert 0 < client.pttl(CLAIM_KEY) <= 60_000
        session.release_claim(a_claim())
        assert client.get(CLAIM_KEY) is None


def test_a_setting_is_swapped_only_from_the_value_expected(session: ServerSession) -> None:
    """What somebody else set in the meantime stays."""
    session.swap(set_step("hz", "20"), expected=b"10", new=b"20", claim=a_claim())
    assert session.capture(set_step("hz", "20")) == b"20"
    with pytest.raises(ChangedError, match="expected '10', found '20'"):
        session.swap(set_step("hz", "30"), expected=b"10", new=b"30", claim=a_claim())
    assert session.capture(set_step("hz", "30")) == b"20"


def test_a_setting_that_something_sets_back_does_not_verify(session: ServerSession, valkey_url: str) -> None:
    """A controller that owns the setting wins; better to know and to undo."""
    unit = Unit(title="hz", steps=(set_step("hz", "20"),))
    session.swap(unit.steps[0], expected=b"10", new=b"20", claim=a_claim())
    session.verify(unit)

    def controller() -> None:
        with connection(valkey_url) as client:
            client.config_set("hz", "10")

    later = threading.Timer(0.3, controller)
    later.start()
    with pytest.raises(VerifyError, match="set to '20', found '10'"):
        session.verify(unit)
    later.join()


def test_a_value_that_the_server_takes_for_another_is_taken_back(session: ServerSession) -> None:
    """It makes 500 of hz 1000: neither what was saved nor what was planned may be left behind unexplained."""
    with pytest.raises(RefusedError, match="made '500' of '1000'"):
        session.swap(set_step("hz", "1000"), expected=b"10", new=b"1000", claim=a_claim())
    assert session.capture(set_step("hz", "1000")) == b"10"


def test_a_setting_that_changed_since_it_was_planned_for_is_planned_for_anew(session: ServerSession) -> None:
    """A person has put it right meanwhile, in another way than ours."""
    with pytest.raises(ChangedError, match="was '5' when it was planned for"):
        session.prepare(set_step("hz", "10", found="5"))
    assert session.prepare(set_step("hz", "20")) == b"20"


def test_a_session_knows_what_it_changed(session: ServerSession) -> None:
    """The same process holds it; one restarted since holds nothing of it; any other is something else."""
    recovery = Recovery(
        id="r",
        plan=Plan(target="server", strategy="s", issue_fingerprint="f", summary="s"),
        resources=session.resources(),
        claim=a_claim(),
        owner=this_process(),
        stands_on=session.stands_on(),
        opened_at=NOW - timedelta(days=1),
    )
    assert session.still_holds(recovery) is Holds.YES
    restarted = recovery.model_copy(update={"stands_on": "run_id=another role=master replication=x"})
    assert session.still_holds(restarted) is Holds.NOTHING
    older = restarted.model_copy(update={"opened_at": NOW + timedelta(days=1)})
    assert session.still_holds(older) is Holds.SOMETHING_ELSE
    elsewhere = restarted.model_copy(update={"resources": (Resource(identity="valkey:x", carries="x"),)})
    assert session.still_holds(elsewhere) is Holds.SOMETHING_ELSE


def test_two_rules_for_one_setting_are_refused(target: Target) -> None:
    """They would undo each other."""
    assert KIND.requires(target) == ()
    doubled = target.model_copy(update={"setting": (*RULES, RULES[0])})
    assert KIND.requires(doubled) == ("setting 'slowlog-max-len' has 2 rules; one is enough",)


def test_a_lost_connection_is_not_opened_again(session: ServerSession, valkey_url: str) -> None:
    """The server that answers next may have lost what was just verified."""
    with connection(valkey_url) as client:
        killed = [each["id"] for each in client.client_list() if each["name"].startswith("medic8-recovery:")]
        for number in killed:
            client.client_kill_filter(_id=number)
    with pytest.raises(TransientError):
        session.capture(set_step("hz", "20"))
    with pytest.raises(TransientError, match="was lost"):
        session.capture(set_step("hz", "20"))


def test_settings_out_of_range_are_found_planned_and_nothing_else_is(target: Target) -> None:
    """One issue for the settings, one step for each that is outside, none for those inside."""
    with connection(target.address) as client:
        client.config_set("slowlog-max-len", "10")
    results = {name: look(target, AROUND) for name, look in DIAGNOSTICS.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target=target.name, at=NOW)
    assert analysis.health is Health.DEGRADED
    assert [(issue.issue_type, issue.about) for issue in issues] == [(IssueType.SLOW_OPERATIONS, "settings")]
    report = DiagnosticReport(
        target=target.name, kind="valkey", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )
    plan = plan_settings(issues[0], report, target)
    assert [step.arguments for unit in plan.units for step in unit.steps] == [
        {"name": "slowlog-max-len", "found": "10", "value": "1000"}
    ]


def test_a_healthy_server_has_no_issue(target: Target) -> None:
    """Every diagnostic reads its values and finds nothing; what it cannot see is said."""
    target = target.model_copy(update={"setting": ()})
    results = [look(target, AROUND) for look in DIAGNOSTICS.values()]
    log = "the server's log: it goes to standard output or to syslog, not to a file"
    assert analyze(results) == Analysis(health=Health.HEALTHY, unseen=(log,))
    assert {reading.name for result in results for reading in result.readings} >= {
        "latency",
        "memory.used",
        "persistence.rdb_status",
        "replication.role",
    }


def test_diagnostics_set_nothing(target: Target) -> None:
    """Not a threshold, not a key."""
    with connection(target.address) as client:
        before = (client.config_get("*"), client.dbsize())
        for look in DIAGNOSTICS.values():
            look(target, AROUND)
        assert (client.config_get("*"), client.dbsize()) == before


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("valkey://127.0.0.1:1/0", "does not answer"),
        ("unix:///nonexistent/valkey.sock", "does not answer"),
    ],
)
def test_a_server_that_does_not_answer_is_unreachable(url: str, message: str) -> None:
    """The error names the address without its password."""
    with pytest.raises(UnreachableError, match=message):
        connect(url)


def test_a_server_that_does_not_let_us_in_is_unreachable_and_the_password_is_not_shown(
    valkey_url: str,
) -> None:
    """A wrong password is not printed for the next person to read."""
    url = valkey_url.replace("valkey://", "valkey://somebody:hunter2@")
    with pytest.raises(UnreachableError, match="does not let us in") as caught:
        connect(url)
    assert "hunter2" not in str(caught.value)
    assert redact(url) == valkey_url.replace("valkey://", "valkey://somebody@")


def test_what_a_user_may_not_do_is_a_refusal(valkey_url: str) -> None:
    """The error says what the server answered."""
    with connection(valkey_url) as admin:
        admin.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@read", "+ping"])
    url = valkey_url.replace("valkey://", "valkey://reader:any@")
    with (
        pytest.raises(RefusedError, match="permissions"),
        connection(url) as client,
    ):
        info(client, "server")


def limit_facts(used: int, limit: int, policy: str) -> Facts:
    return Facts({"used_memory": str(used), "maxmemory": str(limit), "maxmemory_policy": policy})


def test_memory_near_its_limit_is_an_issue_only_where_nothing_is_evicted() -> None:
    """A cache at its limit is how caches live."""
    assert judge_limit(limit_facts(95, 100, "allkeys-lru")) == ()
    assert judge_limit(limit_facts(95, 0, "noeviction")) == ()
    assert judge_limit(limit_facts(89, 100, "noeviction")) == ()
    assert judge_limit(limit_facts(95, 100, "noeviction"))[0].severity is Severity.WARNING
    assert judge_limit(limit_facts(100, 100, "noeviction"))[0].severity is Severity.ERROR


def test_failed_persistence_is_found_by_each_of_its_signs() -> None:
    """The snapshot, the append-only file and its rewrite fail each by itself."""
    good = {
        "rdb_last_bgsave_status": "ok",
        "aof_last_write_status": "ok",
        "aof_last_bgrewrite_status": "ok",
    }
    assert judge_failures(Facts(good), Facts({})) == ()
    for sign in good:
        found = judge_failures(Facts(good | {sign: "err"}), Facts({}))
        assert [finding.evidence[0].what for finding in found] == [sign]


def test_a_broken_link_and_a_lagging_replica_are_found() -> None:
    """The replica's own view, and the primary's."""
    replica = {"role": "slave", "master_link_status": "down", "master_host": "h", "master_port": "1"}
    assert [each.code for each in judge_replica(Facts(replica), Facts({}))] == ["replication.link_down"]
    primary = {"role": "master", "connected_slaves": "1", "master_repl_offset": str(50 << 20)}
    near = primary | {"slave0": f"ip=h,port=1,state=online,offset={(50 << 20) - 1},lag=0"}
    far = primary | {"slave0": "ip=h,port=1,state=online,offset=1,lag=0"}
    silent = primary | {"slave0": f"ip=h,port=1,state=online,offset={50 << 20},lag=60"}
    assert judge_replicas(Facts(near)) == ()
    assert [each.code for each in judge_replicas(Facts(far))] == ["replication.lag"]
    assert [each.code for each in judge_replicas(Facts(silent))] == ["replication.lag"]


@pytest.mark.parametrize(
    ("rule", "value", "good"),
    [
        (SettingRule(name="hz", minimum=10, maximum=100), "1", "10"),
        (SettingRule(name="hz", minimum=10, maximum=100), "500", "100"),
        (SettingRule(name="hz", minimum=10, maximum=100), "50", "50"),
        (SettingRule(name="hz", maximum=100), "no number", "100"),
        (SettingRule(name="lazyfree-lazy-expire", one_of=("yes",)), "no", "yes"),
        (SettingRule(name="lazyfree-lazy-expire", one_of=("yes", "no")), "no", "no"),
    ],
)
def test_the_nearest_good_value(rule: SettingRule, value: str, good: str) -> None:
    """The least change that brings a setting back into its range."""
    assert nearest_good(rule, value) == good
