"""Limits for clients' buffers, and cached scripts: planned where they help, and undone or said not to be."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import valkey

from medic8.errors import ChangedError, FencedError
from medic8.model.plan import Plan, StepClass, Unit
from medic8.model.recovery import StepState
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.facts import Facts
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.client import RECOVERY, connection, info
from medic8.targets.valkey.looks.clients import others_take, parse_list
from medic8.targets.valkey.plans.buffers import output_limits, plan_limits
from medic8.targets.valkey.plans.memory import plan_flush
from medic8.targets.valkey.plans.planning import set_one
from tests.raw_clients import RawClient, slow_reader, wait_until
from tests.recovery.steps import take_all_steps
from tests.targets.valkey.looking_at import AROUND, NOW, OF_CLIENTS, a_target, hogged, report_on
from tests.targets.valkey.recovering import carry_out


def plans(url: str, about: str) -> tuple[Plan, Plan]:
    """The plan to limit clients, and the one to drop scripts, for what a real diagnosis finds."""
    report = report_on(url, only=OF_CLIENTS)
    (issue,) = [each for each in report.issues if each.about == about]
    return tuple(make(issue, report, a_target(url)) for make in (plan_limits, plan_flush))  # type: ignore[return-value]


def settings(url: str) -> tuple[str, str]:
    with valkey.Valkey.from_url(url, decode_responses=True) as client:
        return (
            client.config_get("maxmemory-clients")["maxmemory-clients"],
            client.config_get("client-output-buffer-limit")["client-output-buffer-limit"],
        )


def test_clients_that_take_too_much_together_are_limited_and_the_limit_can_be_taken_back(
    valkey_url: str, tmp_path: Path
) -> None:
    """5 % of maxmemory; the hog is closed by the server, another client stays, and undo sets 0 again."""
    found = settings(valkey_url)
    with (
        slow_reader(valkey_url) as hog,
        RawClient(valkey_url, "report") as other,
        valkey.Valkey.from_url(valkey_url) as client,
    ):
        client.config_set("maxmemory", 200 << 20)
        plan, _ = plans(valkey_url, "client buffers")
        assert plan.needs_approval
        assert {step.step_class for step in plan.units[0].steps} == {StepClass.RESTORABLE}
        carry_out(valkey_url, plan, tmp_path)
        assert settings(valkey_url) == ("5%", found[1])
        wait_until(lambda: not hog.is_connected, "the server closes it")
        assert other.is_connected
        client.config_set("maxmemory-clients", "0")
    with slow_reader(valkey_url), valkey.Valkey.from_url(valkey_url) as client:
        again, _ = plans(valkey_url, "client buffers")
        carry_out(valkey_url, again, tmp_path / "again", taken_back=True)
        assert settings(valkey_url) == found


def test_one_client_beyond_every_limit_gets_its_class_one_and_replicas_keep_theirs(
    valkey_url: str, tmp_path: Path
) -> None:
    """Only the class without a limit; what stands there for replicas stands there afterwards."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("client-output-buffer-limit", "pubsub 67108864 0 0")
    before = output_limits(settings(valkey_url)[1])
    with slow_reader(valkey_url, times=270) as hog:
        plan, _ = plans(valkey_url, "client output")
        carry_out(valkey_url, plan, tmp_path)
        wait_until(lambda: not hog.is_connected, "the server closes it")
    after = output_limits(settings(valkey_url)[1])
    assert after == {**before, "normal": ("268435456", "67108864", "60")}


def test_a_limit_that_somebody_has_set_stays(valkey_url: str) -> None:
    """It may be wrong, and it is theirs."""
    with slow_reader(valkey_url), valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("maxmemory", 200 << 20)
        client.config_set("maxmemory-clients", "100mb")
        plan, _ = plans(valkey_url, "client buffers")
        assert plan.units == ()
        client.config_set("maxmemory-clients", "0")
        client.config_set("maxmemory", 0)  # of nothing there is no share
        plan, _ = plans(valkey_url, "client buffers")
        assert plan.units == ()


def test_no_limit_is_set_that_everybody_would_be_beyond_for_ever(valkey_url: str) -> None:
    """Only the one reader is too much; all others together take more than half of 5 %: nothing is set."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(slow_reader(valkey_url))
        client = stack.enter_context(valkey.Valkey.from_url(valkey_url))
        client.config_set("maxmemory", 200 << 20)
        plan, _ = plans(valkey_url, "client buffers")
        assert [step.touches for step in plan.units[0].steps] == ["setting maxmemory-clients"]
        half_sent = b"*2\r\n$4\r\nECHO\r\n$1048576\r\n" + b"x" * 600_000
        for _ in range(10):  # each takes about one MiB, which is not too much for one
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", urlsplit(valkey_url).port or 0))
            )
            sock.sendall(half_sent)
        wait_until(
            lambda: others_take(parse_list(client.execute_command("CLIENT", "LIST"))) > 6 << 20,
            "they take it",
        )
        plan, _ = plans(valkey_url, "client buffers")
        assert plan.units == ()


def test_without_every_client_known_none_is_limited() -> None:
    """Replicas do not count; of more than the worst few, each counts as one of the others."""
    hog, other = {"flags": "N", "tot-mem": str(20 << 20)}, {"flags": "N", "tot-mem": "1000"}
    replica = {"flags": "S", "tot-mem": str(1 << 30)}
    assert others_take([Facts(each) for each in (hog, other, other, replica)]) == 2000
    assert others_take([Facts(each) for each in (*[hog] * 7, other)]) == (40 << 20) + 1000
    assert others_take([Facts(each) for each in (hog, {"flags": "N"})]) is None
    assert others_take([]) is None
    settings = {"maxmemory-clients": "0", "client-output-buffer-limit": "normal 1 0 0"}
    for others, touched in ((1 << 20, ["setting maxmemory-clients"]), (None, []), (26 << 20, [])):
        report = hogged(settings, others=others)
        plan = plan_limits(report.issues[0], report, a_target("valkey://h"))
        assert [step.touches for unit in plan.units for step in unit.steps] == touched


def test_the_server_closes_anybody_but_who_recovers_it(valkey_url: str) -> None:
    """With a limit that every connection is beyond, ours goes on; and one that is no recovery's does not."""
    much = "x" * (4 << 20)
    with connection(valkey_url, name=RECOVERY) as ours, connection(valkey_url) as other:
        ours.config_set("maxmemory", 200 << 20)
        ours.config_set("maxmemory-clients", "200000")
        with pytest.raises(valkey.exceptions.ConnectionError):
            other.echo(much)
        assert ours.echo(much) == much.encode()
        assert info(ours, "stats")["evicted_clients"] == 1
        ours.config_set("maxmemory-clients", "0")


@pytest.mark.parametrize(
    ("policy", "used", "state"),
    [
        ("allkeys-lru", 36 << 20, StepState.CONFLICT),
        ("allkeys-lru", 10 << 20, StepState.UNDONE),
        ("noeviction", 36 << 20, StepState.UNDONE),
    ],
)
def test_undoing_a_higher_memory_limit_evicts_nothing(
    valkey_url: str, tmp_path: Path, policy: str, used: int, state: StepState
) -> None:
    """Somebody has let the server evict since: its limit stays and a person is told why; every key stays."""
    low, high = 32 << 20, 40 << 20
    step = set_one(a_target(valkey_url), "maxmemory", str(low), str(high))
    plan = Plan(
        target="server",
        strategy="raise_memory_limit",
        issue_fingerprint="f",
        summary="Raise maxmemory.",
        units=(Unit(title="setting maxmemory", steps=(step,)),),
    )
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set("maxmemory", low)
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
            recovery = contract.save_state(
                journal, session, recovery, folder=tmp_path / "saved", limit_bytes=1 << 20
            )
            reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
            number = 0
            while info(client, "memory")["used_memory"] < used:
                number += 1
                client.set(f"key:{number}", b"x" * 100_000)
            client.config_set("maxmemory-policy", policy)
            keys = client.dbsize()
            ended = undo.undo(journal, session, recovery, clock=lambda: NOW, reached=reached)
        assert [each.state for each in ended.steps] == [state]
        assert client.config_get("maxmemory")["maxmemory"] == str(
            high if state is StepState.CONFLICT else low
        )
        client.exists("key:1")  # the server evicts before it answers
        assert info(client, "stats")["evicted_keys"] == 0
        assert client.dbsize() >= keys - 1  # the claim goes
        assert state is StepState.UNDONE or "would evict keys" in ended.steps[0].note


def cache_scripts(client: valkey.Valkey, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(count):
        pipe.script_load(f"return {number}")
    pipe.execute()


def cached(client: valkey.Valkey) -> int:
    return int(client.info("memory")["number_of_cached_scripts"])


def test_too_many_scripts_are_dropped_with_a_persons_yes(valkey_url: str, tmp_path: Path) -> None:
    """One-way; who calls one by its digest is told NOSCRIPT once."""
    with valkey.Valkey.from_url(valkey_url) as client:
        cache_scripts(client, 1500)
        digest = client.script_load("return 'used'")
        _, plan = plans(valkey_url, "scripts")
        assert plan.needs_approval
        assert "NOSCRIPT" in plan.summary
        ended = carry_out(valkey_url, plan, tmp_path)
        assert [step.state for step in ended.steps] == [StepState.COMMITTED]
        assert cached(client) < 10
        with pytest.raises(valkey.exceptions.NoScriptError):
            client.evalsha(digest, 0)
        assert client.eval("return 'used'", 0) == b"used"
        assert client.evalsha(digest, 0) == b"used"


def test_scripts_that_are_gone_already_are_not_dropped_again(valkey_url: str, tmp_path: Path) -> None:
    """The plan is outdated then; and without the claim nothing is dropped."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    with valkey.Valkey.from_url(valkey_url) as client:
        cache_scripts(client, 1500)
        _, plan = plans(valkey_url, "scripts")
        step = plan.units[0].steps[0]
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
            saved = session.capture(step)
            claim = client.get("medic8:claim")
            client.set("medic8:claim", "another's")
            with pytest.raises(FencedError):
                session.swap(step, expected=saved, new=None, claim=recovery.claim)
            assert cached(client) >= 1500
            client.set("medic8:claim", claim)
            client.script_flush()
            with pytest.raises(ChangedError, match="fewer than 1,000"):
                session.prepare(step)
            with pytest.raises(ChangedError, match="by somebody else"):
                session.swap(step, expected=saved, new=None, claim=recovery.claim)
