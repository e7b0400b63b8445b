"""Closing a connection: only the one that is meant, only while it does harm, and known afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import valkey

from medic8.errors import ChangedError, FencedError, RefusedError, VerifyError
from medic8.local.scratch import scratch_valkey
from medic8.model.plan import Plan, Step
from medic8.model.recovery import Recovery, RecoveryState, StepState
from medic8.model.report import DiagnosticResult
from medic8.owner import this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.targets.facts import Facts
from medic8.targets.kind import Session
from medic8.targets.valkey.actions import ServerSession, open_session
from medic8.targets.valkey.acts.clients import KILL_CLIENT, KillClient
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.clients import judge_listed
from medic8.targets.valkey.plans.clients import plan_kill_hogs
from tests.raw_clients import RawClient, clients_of, slow_reader, wait_until
from tests.recovery.steps import take_all_steps
from tests.targets.valkey.looking_at import AROUND, NOW, OF_CLIENTS, a_target, report_of, report_on

LIMIT = 8 << 20


def plan_for(url: str, *about: str) -> Plan:
    """The plan for the issue about the first of *about* that a real diagnosis finds."""
    report = report_on(url, only=OF_CLIENTS)
    issue = next(each for each in report.issues if each.about in about)
    return plan_kill_hogs(issue, report, a_target(url))


class Recovering:
    """A recovery of one plan, as far as a test takes it."""

    def __init__(self, url: str, plan: Plan, folder: Path) -> None:
        self.url, self.plan = url, plan
        self.journal = Journal(f"sqlite:///{folder}/journal.sqlite")
        self._folder = folder / "saved"

    def opened(self, session: Session) -> Recovery:
        recovery = contract.open_recovery(self.journal, session, self.plan, this_process(), at=NOW)
        return contract.save_state(self.journal, session, recovery, folder=self._folder, limit_bytes=1 << 20)

    def carry_out(self) -> Recovery:
        """All of it, or undone and the error raised."""
        with open_session(a_target(self.url), AROUND) as session:
            recovery = self.opened(session)
            try:
                reached = take_all_steps(self.journal, session, recovery, clock=lambda: NOW)
            except Exception:
                self.ended = undo.undo(self.journal, session, recovery, clock=lambda: NOW)
                raise
            return contract.close(
                self.journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached
            )


@pytest.fixture
def recovering(valkey_url: str, tmp_path: Path) -> Callable[[Plan], Recovering]:
    return lambda plan: Recovering(valkey_url, plan, tmp_path)


def step_for(client: RawClient, arguments: dict[str, object] | None = None) -> Step:
    ask = {"client": client.id, "address": client.address, "user": "default", **(arguments or {})}
    return Step(
        title="close it",
        action=KILL_CLIENT,
        arguments=KillClient.model_validate(ask).model_dump(),
        touches=f"client {client.id}",
        step_class="one_way",
    )


def test_a_slow_reader_is_closed_and_nobody_else(
    valkey_url: str, recovering: Callable[[Plan], Recovering]
) -> None:
    """Two hogs, one of them; a second client of the same name and user that reads stays."""
    with (
        slow_reader(valkey_url) as hog,
        RawClient(valkey_url, "report") as twin,
        RawClient(valkey_url, "other").watch_everything() as watcher,
    ):
        plan = plan_for(valkey_url, "client output")
        assert [step.arguments["client"] for unit in plan.units for step in unit.steps] == [hog.id]
        assert plan.needs_approval
        closed = recovering(plan).carry_out()
        assert [step.state for step in closed.steps] == [StepState.COMMITTED]
        assert not hog.is_connected
        assert twin.is_connected
        assert watcher.is_connected


def test_a_forgotten_monitor_is_closed(valkey_url: str, recovering: Callable[[Plan], Recovering]) -> None:
    """One that watches everything, and no other client."""
    with (
        RawClient(valkey_url, "debugging").watch_everything() as watcher,
        RawClient(valkey_url, "other") as other,
    ):
        recovering(plan_for(valkey_url, "MONITOR")).carry_out()
        assert not watcher.is_connected
        assert other.is_connected


def test_what_was_agreed_to_is_what_is_done_a_moment_later(valkey_url: str) -> None:
    """The digest of the plan does not hang on numbers that change by themselves, nor on their order."""
    with slow_reader(valkey_url) as one, slow_reader(valkey_url, times=40) as worse:
        before = plan_for(valkey_url, "client output")
        worse.read(3 << 20)
        assert plan_for(valkey_url, "client output").digest == before.digest
    assert [step.arguments["client"] for unit in before.units for step in unit.steps] == [one.id, worse.id]


def refused(url: str, step: Step) -> Exception:
    with open_session(a_target(url), AROUND) as session, pytest.raises((ChangedError, RefusedError)) as told:
        session.prepare(step)
    return told.value


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"address": "192.0.2.1:1"}, "is another one by now"),
        ({"user": "somebody"}, "is another one by now"),
        ({"client": 999_999_999}, "has left by itself"),
        ({"least": {"omem": LIMIT}}, "less than the 8,388,608 it is closed for"),
        ({"flag": "O"}, "has stopped by itself"),
    ],
)
def test_who_is_not_meant_is_not_closed(valkey_url: str, wrong: dict[str, object], says: str) -> None:
    """Another address, user or number; one that reads again; one that does no longer watch."""
    with RawClient(valkey_url, "innocent") as client:
        error = refused(valkey_url, step_for(client, wrong))
        assert isinstance(error, ChangedError)
        assert says in str(error)
        assert client.is_connected


def blocked(client: RawClient) -> None:
    client.send("BLPOP", "nothing", "0")


def subscribed(client: RawClient) -> None:
    client.ask("SUBSCRIBE", "news")


def in_a_transaction(client: RawClient) -> None:
    client.ask("MULTI")


@pytest.mark.parametrize("become", [blocked, subscribed, in_a_transaction])
def test_who_is_in_the_middle_of_something_is_nobodys_to_close(
    valkey_url: str, become: Callable[[RawClient], None]
) -> None:
    """One that waits, is subscribed, or is in a transaction: whatever a plan says."""
    with RawClient(valkey_url, "worker") as client:
        become(client)
        wait_until(lambda: clients_of(valkey_url)[client.id]["flags"] != "N", "the server shows it")
        assert isinstance(refused(valkey_url, step_for(client)), RefusedError)
        assert client.is_connected


def test_a_replica_is_nobodys_to_close(tmp_path: Path) -> None:
    """Neither on its primary, nor the primary's own connection on the replica."""
    with scratch_valkey(make(tmp_path / "one")) as primary:
        follows = {"replicaof": f"127.0.0.1 {primary.port}"}
        with scratch_valkey(make(tmp_path / "two"), config=follows) as replica:
            for url, flag in ((primary.url, "S"), (replica.url, "M")):
                wait_until(lambda url=url, flag=flag: with_flag(url, flag), "the replica is connected")
                (listed,) = with_flag(url, flag)
                step = Step(
                    title="close it",
                    action=KILL_CLIENT,
                    arguments={
                        "client": int(listed["id"]),
                        "address": listed["addr"],
                        "user": listed["user"],
                    },
                    touches="it",
                )
                assert isinstance(refused(url, step), RefusedError)


def with_flag(url: str, flag: str) -> list[dict[str, str]]:
    return [dict(each) for each in clients_of(url).values() if flag in each["flags"]]


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_subscriber_that_does_not_read_is_found_and_left(valkey_url: str) -> None:
    """It is a finding with advice; no plan closes it."""
    with (
        valkey.Valkey.from_url(valkey_url) as client,
        RawClient(valkey_url, "dashboard") as subscriber,
    ):
        client.config_set("client-output-buffer-limit", "pubsub 0 0 0")
        subscribed(subscriber)
        client.publish("news", "x" * (24 << 20))
        wait_until(lambda: subscriber.waiting_bytes > LIMIT, "output waits")
        assert plan_for(valkey_url, "client output").units == ()


def test_one_that_has_left_or_reads_again_makes_the_plan_outdated(
    valkey_url: str, recovering: Callable[[Plan], Recovering]
) -> None:
    """Nothing is closed, and it is said why; the recovery is restored."""
    with slow_reader(valkey_url) as hog, RawClient(valkey_url, "other") as other:
        plan = plan_for(valkey_url, "client output")
        hog.read(24 << 20)
        wait_until(lambda: hog.waiting_bytes < LIMIT, "it has read")
        attempt = recovering(plan)
        with pytest.raises(ChangedError, match="less than the 8,388,608 it is closed for"):
            attempt.carry_out()
        assert attempt.ended.state is RecoveryState.RESTORED
        assert hog.is_connected
        hog.leave()
        wait_until(lambda: not hog.is_connected, "it has left")
        with pytest.raises(ChangedError, match="has left by itself"):
            attempt.carry_out()
        assert other.is_connected


def test_without_the_claim_nobody_is_closed(
    valkey_url: str, recovering: Callable[[Plan], Recovering]
) -> None:
    """The claim is watched from before the look at the client to the kill."""
    with slow_reader(valkey_url) as hog:
        attempt = recovering(plan_for(valkey_url, "client output"))
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = attempt.opened(session)
            step = contract.step_at(recovery.plan, 0)
            present = session.capture(step)
            with valkey.Valkey.from_url(valkey_url) as other:
                other.set("medic8:claim", "another's")
            with pytest.raises(FencedError):
                session.swap(step, expected=present, new=None, claim=recovery.claim)
        assert hog.is_connected


@pytest.mark.parametrize("was_carried_out", [False, True])
def test_a_death_between_begun_and_done_is_settled_by_who_is_connected(
    valkey_url: str, recovering: Callable[[Plan], Recovering], was_carried_out: bool
) -> None:
    """The executor is gone; whoever ends its recovery sees whether the connection is closed."""
    with slow_reader(valkey_url) as hog:
        attempt = recovering(plan_for(valkey_url, "client output"))
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = attempt.opened(session)
            step = contract.step_at(recovery.plan, 0)
            present = session.capture(step)
            attempt.journal.begun(recovery, 0, written_digest="absent", at=NOW)
            if was_carried_out:
                session.swap(step, expected=present, new=None, claim=recovery.claim)
        with open_session(a_target(valkey_url), AROUND) as session:
            ended = undo.end_interrupted(
                attempt.journal, session, recovery, this_process(), clock=lambda: NOW
            )
        assert ended.state is RecoveryState.RESTORED
        (left,) = attempt.journal.read(recovery.id).steps
        assert hog.is_connected is not was_carried_out
        assert left.state is (StepState.COMMITTED if was_carried_out else StepState.UNDONE)
        assert ("cannot be taken back" in left.note) is was_carried_out


def test_who_is_still_connected_is_not_verified(valkey_url: str) -> None:
    """A unit stands only if its client is gone."""
    with slow_reader(valkey_url) as hog:
        plan = plan_for(valkey_url, "client output")
        with open_session(a_target(valkey_url), AROUND) as session:
            with pytest.raises(VerifyError, match="still connected"):
                session.verify(plan.units[0])
            hog.leave()
            wait_until(lambda: not hog.is_connected, "it has left")
            session.verify(plan.units[0])


def test_the_plan_is_the_same_whoever_of_many_hogs_is_the_worst() -> None:
    """Else no yes would hold from one moment to the next where there are more than one plan may close."""

    def digests(waiting_mib: list[int]) -> list[str]:
        listed = [
            Facts({"id": str(number), "addr": f"10.0.0.1:{number}", "flags": "N", "omem": str(each << 20)})
            for number, each in enumerate(waiting_mib, 1)
        ]
        found = judge_listed(listed, Facts({}), is_whole=True)
        report = report_of(DiagnosticResult(diagnostic="clients", taken_at=NOW, findings=found))
        return [plan_kill_hogs(each, report, a_target("valkey://x")).digest for each in report.issues]

    assert len(digests([20, 21, 22, 23, 24, 19])) == 1
    assert digests([20, 21, 22, 23, 24, 19]) == digests([20, 21, 22, 23, 24, 25])


def test_who_calls_itself_a_recovery_is_in_no_plan_and_stops_no_other_kill(
    valkey_url: str, recovering: Callable[[Plan], Recovering]
) -> None:
    """It is named as left alone; the other one is closed."""
    with slow_reader(valkey_url, "medic8-recovery-of-mine") as posing, slow_reader(valkey_url, "job") as hog:
        report = report_on(valkey_url, only=OF_CLIENTS)
        (finding,) = [each for each in report.analysis.findings if each.code == "clients.output"]
        assert [each["client"] for each in finding.objects] == [hog.id]
        (left,) = [each for each in finding.evidence if each.what == "closed by no plan"]
        assert "medic8-recovery-of-mine" in left.seen
        assert recovering(plan_for(valkey_url, "client output")).carry_out().state is RecoveryState.HEALTHY
        assert posing.is_connected
        assert not hog.is_connected


def test_who_becomes_a_recovery_by_name_stops_nothing(
    valkey_url: str, recovering: Callable[[Plan], Recovering]
) -> None:
    """Anybody may call himself so, before a recovery saves who he is and after that."""

    def rename(client: RawClient) -> None:
        client.send("CLIENT", "SETNAME", "medic8-recovery:1:1")
        wait_until(lambda: clients_of(valkey_url)[client.id]["name"].startswith("medic8-"), "it is renamed")

    with (
        RawClient(valkey_url, "one").watch_everything() as early,
        RawClient(valkey_url, "other").watch_everything() as late,
    ):
        attempt = recovering(plan_for(valkey_url, "MONITOR"))
        rename(early)
        with open_session(a_target(valkey_url), AROUND) as session:
            recovery = attempt.opened(session)
            rename(late)
            take_all_steps(attempt.journal, session, recovery, clock=lambda: NOW)
        assert not early.is_connected
        assert not late.is_connected


def test_a_recovery_does_not_close_its_own_connection(valkey_url: str) -> None:
    """Whatever it calls itself, by its number."""
    with connection(valkey_url, name="anybody") as client:
        own = clients_of(valkey_url)[int(client.client_id())]
        step = Step(
            title="close it",
            action=KILL_CLIENT,
            arguments=KillClient(
                client=own.whole("id") or 0, address=own["addr"], user="default"
            ).model_dump(),
            touches="it",
            step_class="one_way",
        )
        session = ServerSession(a_target(valkey_url), client, NOW)
        with pytest.raises(RefusedError, match="the recovery's own connection"):
            session.prepare(step)
