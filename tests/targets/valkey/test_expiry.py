"""Keys of a configured prefix without expiry: found, given one with a person's yes, and it is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
import valkey
from pydantic import ValidationError

from medic8.errors import ChangedError, FencedError, RefusedError
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan, Step, StepClass
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.model.target import ExpiryRule, Target
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.acts.expiry import EXPIRE_KEY
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.expiry import MOST_EXPIRED
from medic8.targets.valkey.plans.expiry import plan_expiry
from tests.raw_clients import wait_until
from tests.recovery.steps import take_all_steps
from tests.targets.valkey.looking_at import AROUND, NOW, a_target, look, report_on

RULE = {"prefix": "session:", "after": 86_400}
LOOKS = ("controller", "expiry", "keys")
HOSTILE = b"session:\xff\x1b[2J *?"


def the_plan(url: str, *rules: object) -> Plan:
    expiry = rules or (RULE,)
    report = report_on(url, only=LOOKS, expiry=expiry)
    (issue,) = [each for each in report.issues if each.about.startswith("keys ")]
    return plan_expiry(issue, report, a_target(url, expiry=expiry))


def carry_out(url: str, plan: Plan, folder: Path) -> tuple[Journal, Recovery]:
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    with open_session(a_target(url), AROUND) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(
            journal, session, recovery, folder=folder / "saved", limit_bytes=1 << 20
        )
        journal.reached(recovery, take_all_steps(journal, session, recovery, clock=lambda: NOW))
    return journal, recovery


def taken_back(url: str, journal: Journal, recovery: Recovery) -> Recovery:
    with open_session(a_target(url), AROUND) as session:
        return undo.undo(journal, session, recovery, clock=lambda: NOW)


def test_keys_of_the_prefix_get_an_expiry_and_nobody_else_does(valkey_url: str, tmp_path: Path) -> None:
    """A day, by the server's clock; those that have one keep theirs, and other keys have none."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({"session:1": "a", HOSTILE: "b", "other:1": "c", "sessionless": "d", "m8:x": "e"})
        client.set("session:short", "f", ex=100)
        plan = the_plan(valkey_url)
        assert plan.needs_approval
        assert plan.step_count == 2
        assert {step.step_class for step in plan.units[0].steps} == {StepClass.RESTORABLE}
        carry_out(valkey_url, plan, tmp_path)
        assert 86_390 < client.ttl("session:1") <= 86_400
        assert 86_390 < client.ttl(HOSTILE) <= 86_400
        assert client.ttl("session:short") <= 100
        assert {client.ttl(name) for name in ("other:1", "sessionless", "m8:x")} == {-1}
        left = report_on(valkey_url, only=LOOKS, expiry=(RULE,)).issues
        assert not [each for each in left if "session" in each.about]


def test_undo_takes_the_expiry_back_exactly_where_it_is_still_ours(valkey_url: str, tmp_path: Path) -> None:
    """What somebody else has set since stays, what is gone is not brought back, and both are listed."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({f"session:{number}": "x" for number in range(5)})
        journal, recovery = carry_out(valkey_url, unproven(the_plan(valkey_url)), tmp_path)
        client.expire("session:1", 5000)
        client.delete("session:2")
        client.persist("session:3")
        client.set("session:4", "newer", keepttl=True)
        ended = taken_back(valkey_url, journal, recovery)
        assert ended.state is RecoveryState.RESTORED
        assert [client.ttl(f"session:{number}") for number in (0, 3, 4)] == [-1, -1, -1]
        assert 4990 < client.ttl("session:1") <= 5000
        assert not client.exists("session:2")
        assert client.get("session:4") == b"newer"
    assert len(ended.left) == 2
    states = [step.state for step in journal.read(recovery.id).steps]
    assert states.count(StepState.CONFLICT) == 2


def unproven(plan: Plan) -> Plan:
    """*plan* as an undo on request meets it: what stands by its proof is put back as well."""
    return plan.model_copy(
        update={"units": tuple(unit.model_copy(update={"proves_itself": False}) for unit in plan.units)}
    )


def test_what_was_agreed_to_is_the_same_a_moment_later(valkey_url: str) -> None:
    """Neither order nor time is part of it, nor what others leave meanwhile: the idlest come first."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({f"session:{number}": "x" for number in range(MOST_EXPIRED)})
        wait_until(
            lambda: client.object("idletime", "session:0") >= 2, "the keys have been idle for two seconds"
        )
        before = the_plan(valkey_url).digest
        client.mset({f"session:a{number}": "x" for number in range(50)})
        assert the_plan(valkey_url).digest == before


def test_a_plan_is_bounded_and_says_what_it_leaves(valkey_url: str) -> None:
    """More keys than one plan takes: the rest is left open and told."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.mset({f"session:{number}": "x" for number in range(MOST_EXPIRED + 20)})
    plan = the_plan(valkey_url)
    assert plan.step_count == MOST_EXPIRED
    assert plan.left_open == ("20 more keys session:… have no expiry: heal again",)


def step_for(name: bytes) -> Step:
    return Step(
        title="expire",
        action=EXPIRE_KEY,
        arguments={"key": name.hex(), "after_s": 3600},
        touches="key",
    )


def test_grids_and_clusters_are_refused_whatever_a_plan_says(valkey_url: str, tmp_path: Path) -> None:
    """Blocks of a grid must not expire; a cluster is only read."""
    with valkey.Valkey.from_url(valkey_url) as client, open_session(a_target(valkey_url), AROUND) as session:
        client.mset({"m8:{lab}:0": "x", "medic8:claim2": "x"})
        for name in (b"m8:{lab}:0", b"medic8:claim2"):
            with pytest.raises(RefusedError, match="must not expire"):
                session.prepare(step_for(name))
    with (
        scratch_valkey(tmp_path, config={"cluster-enabled": "yes"}) as server,
        open_session(a_target(server.url), AROUND) as session,
        pytest.raises(RefusedError, match="cluster"),
    ):
        session.prepare(step_for(b"session:1"))


def test_a_key_that_changed_meanwhile_is_not_touched(valkey_url: str, tmp_path: Path) -> None:
    """Gone, with an expiry of its own, or somebody else's turn."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with valkey.Valkey.from_url(valkey_url) as client:
        client.set("session:1", "x")
        plan = the_plan(valkey_url)
        step = plan.units[0].steps[0]
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
            saved, new = session.capture(step), session.prepare(step)
            claim = client.get("medic8:claim")
            client.set("medic8:claim", "another's")
            with pytest.raises(FencedError):
                session.swap(step, expected=saved, new=new, claim=recovery.claim)
            client.set("medic8:claim", claim or b"")
            client.expire("session:1", 5000)
            with pytest.raises(ChangedError, match="by somebody else"):
                session.swap(step, expected=saved, new=new, claim=recovery.claim)
            with pytest.raises(ChangedError, match="has an expiry"):
                session.prepare(step)
            client.delete("session:1")
            with pytest.raises(ChangedError, match="is gone"):
                session.prepare(step)


@pytest.mark.parametrize(
    "rule",
    [
        {"prefix": "", "after": 86_400},
        {"prefix": "session:", "after": 0},
        {"prefix": "m8:", "after": 86_400},
        {"prefix": "m", "after": 86_400},
        {"prefix": "medic8:claim", "after": 86_400},
    ],
)
def test_rules_that_would_harm_are_no_rules(rule: dict[str, object]) -> None:
    """No prefix, no time at all, and what is a grid's or ours."""
    with pytest.raises(ValidationError):
        ExpiryRule.model_validate(rule)


def test_keys_that_may_live_minutes_are_found_and_given_an_hour(valkey_url: str) -> None:
    """A person has the hour to take it back, however short the rule is."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.set("session:1", "a")
    plan = the_plan(valkey_url, {"prefix": "session:", "after": 60})
    assert [step.arguments["after_s"] for unit in plan.units for step in unit.steps] == [3600]


def test_two_rules_for_one_key_are_a_mistake_of_the_configuration() -> None:
    """Which of them holds would be chance."""

    def wrong(*prefixes: str) -> tuple[str, ...]:
        rules = [{"prefix": each, "after": 86_400} for each in prefixes]
        target: Target = a_target("valkey://nowhere", expiry=rules)
        return KIND.requires(target)

    assert wrong("session:", "page:") == ()
    assert len(wrong("session:", "session:admin:")) == 1
    assert len(wrong("session:", "session:")) == 1


def test_without_rules_no_key_is_scanned(valkey_url: str) -> None:
    """The diagnosis is as it was."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.set("session:1", "x")
        client.config_resetstat()
        assert look(valkey_url, "expiry").readings == ()
        assert "cmdstat_scan" not in client.info("commandstats")
