"""Clients that are gone without a word: found where the kernel proves it, and nobody else is closed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st
from looking_at import AROUND, OF_CLIENTS, a_target, found, look, report_on

from medic8.errors import ChangedError, VerifyError
from medic8.model.issue import IssueType
from medic8.model.plan import Plan, StepClass
from medic8.model.recovery import Claim, Fence
from medic8.targets.facts import Facts
from medic8.targets.machine import kernel
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.clients import judge_listed
from medic8.targets.valkey.looks.dead_clients import (
    judge_dead,
    judge_keepalive,
    peerless,
    unknown_callers,
)
from medic8.targets.valkey.strategies import STRATEGIES
from tests.raw_clients import RawClient, clients_of, wait_until
from tests.targets.valkey.own_network import alone
from tests.targets.valkey.vanishing import VanishingClient, needs_vanishing

DAY_S = int(timedelta(days=1).total_seconds())


def plan_of(url: str, strategy: str, **fields: object) -> Plan | None:
    report = report_on(url, only=("reachability", *OF_CLIENTS, "settings"), **fields)
    plans = [STRATEGIES[strategy](issue, report, a_target(url, **fields)) for issue in report.issues]
    return next((plan for plan in plans if plan.units), None)


@needs_vanishing
def test_a_client_that_vanished_is_found_and_a_living_one_beside_it_is_not(valkey_url: str) -> None:
    """However long the living one is silent."""
    with VanishingClient(valkey_url, "job").vanish() as dead, RawClient(valkey_url, "job") as living:
        finding = found(look(valkey_url, "clients"), "clients.dead")
        assert [each["client"] for each in finding.objects] == [dead.id]
        assert living.is_connected
        plan = plan_of(valkey_url, "kill_dead_clients")
    assert plan is not None
    assert plan.needs_approval
    (unit,) = plan.units
    assert [step.step_class for step in unit.steps] == [StepClass.ONE_WAY]
    assert (unit.steps[0].arguments["client"], unit.steps[0].arguments["is_dead"]) == (dead.id, True)


@needs_vanishing
def test_who_is_dead_and_waits_or_listens_is_told_and_not_planned_for(valkey_url: str) -> None:
    """No plan closes a blocked client or a subscriber; a person is given the command."""
    with VanishingClient(valkey_url, "job") as blocked, VanishingClient(valkey_url, "job") as subscriber:
        blocked.send("BLPOP", "queue", "0")
        subscriber.ask("SUBSCRIBE", "news")
        wait_until(lambda: "b" in clients_of(valkey_url)[blocked.id]["flags"], "it waits")
        blocked.vanish()
        subscriber.vanish()
        finding = found(look(valkey_url, "clients"), "clients.dead")
        assert finding.objects == ()
        assert finding.text.startswith("2 clients are gone")
        assert [each.seen for each in finding.evidence] == ["2", "1"]
        assert plan_of(valkey_url, "kill_dead_clients") is None


@needs_vanishing
def test_a_client_that_is_alive_after_all_is_not_closed(valkey_url: str) -> None:
    """The plan is for a living client: refused before anything is sent, at the very last moment as well."""
    with VanishingClient(valkey_url, "job").vanish(), RawClient(valkey_url, "job") as living:
        plan = plan_of(valkey_url, "kill_dead_clients")
        assert plan is not None
        step = plan.units[0].steps[0]
        wrong = step.model_copy(
            update={"arguments": {**step.arguments, "client": living.id, "address": living.address}}
        )
        claim = Claim(journal="j", recovery="r", fence=Fence(number=1, nonce="n"))
        with open_session(a_target(valkey_url), AROUND) as session:
            session.take_claim(claim, lasts_s=60)
            with pytest.raises(ChangedError, match="not known to be dead"):
                session.prepare(wrong)
            with pytest.raises(ChangedError, match="not known to be dead"):
                session.swap(wrong, expected=session.capture(wrong), new=None, claim=claim)
            assert living.is_connected
            session.prepare(step)
            with pytest.raises(VerifyError, match="still connected"):
                session.verify(plan.units[0])
            session.swap(step, expected=session.capture(step), new=None, claim=claim)
            session.verify(plan.units[0])
            assert session.took_effect(step, "r") is True
        assert living.is_connected


def test_a_client_of_another_machine_is_never_called_dead() -> None:
    """Its socket is not in this machine's table, and nothing follows from that."""
    far = client_facts(addr="10.1.2.3:40000", laddr="10.1.2.4:6379")
    assert judge_dead(peerless([far], []), ()) == ()


def client_facts(**changed: object) -> Facts:
    usual = {"id": 7, "addr": "127.0.0.1:40000", "laddr": "127.0.0.1:6379", "flags": "N", "idle": 0}
    return Facts({name: str(value) for name, value in (usual | changed).items()})


ENDS = st.tuples(
    st.sampled_from(["127.0.0.1", "::1", "10.0.0.9"]), st.sampled_from([6379, 40000, 40001])
).map(lambda pair: kernel.End(*pair))


STATES = st.sampled_from([kernel.ESTABLISHED, 0x02, 0x04, 0x08, kernel.LISTEN])


@given(st.lists(st.builds(kernel.Socket, ENDS, ENDS, STATES, st.just(0)), max_size=6))
def test_nobody_is_dead_without_proof(table: list[kernel.Socket]) -> None:
    """Dead is whose server end is open and at whose own end is no socket in any state; nothing less."""
    client = client_facts()
    near, far = kernel.End("127.0.0.1", 6379), kernel.End("127.0.0.1", 40000)
    ends = [(each.near, each.far) for each in table]
    opened = [(each.near, each.far) for each in table if each.state == kernel.ESTABLISHED]
    assert bool(peerless([client], table)) == ((near, far) in opened and far not in [one for one, _ in ends])
    assert unknown_callers(table) == {each for each in opened if each[::-1] not in ends}


def test_who_calls_under_another_address_is_told_by_the_kernels_own_table(tmp_path: Path) -> None:
    """Of each connection that is followed both ways; where they are not told, nobody knows who is dead."""
    counter, table = tmp_path / "count", tmp_path / "table"
    assert kernel.translated(counter, table) == frozenset()
    counter.write_text("0\n")
    assert kernel.translated(counter, table) == frozenset()
    counter.write_text("2\n")
    assert kernel.translated(counter, table) is None
    table.write_text(FOLLOWED)
    assert kernel.translated(counter, table) == {kernel.End("127.0.0.1", 50003)}


#: As Linux 6.18 writes them: one as it is, one whose caller got another port, and one that is not of TCP.
FOLLOWED = """\
ipv4     2 tcp      6 86400 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=40000 dport=6379 \
src=127.0.0.1 dst=127.0.0.1 sport=6379 dport=40000 [ASSURED] mark=0 zone=0 use=2
ipv4     2 tcp      6 432000 ESTABLISHED src=127.0.0.1 dst=127.0.0.1 sport=53880 dport=17393 \
src=127.0.0.1 dst=127.0.0.1 sport=17393 dport=50003 [ASSURED] mark=0 zone=0 use=2
ipv4     2 udp      17 27 src=127.0.0.1 dst=127.0.0.1 sport=1 dport=2 [UNREPLIED] \
src=127.0.0.1 dst=127.0.0.1 sport=2 dport=3 mark=0 zone=0 use=2
"""


def test_a_living_client_behind_a_translated_address_is_not_dead() -> None:
    """
    Its own socket has another far end than the server's socket has as its near one, or the other way round.

    In a network namespace of its own, where the kernel redirects a port to the server's, and has callers come
    from others.
    """
    ways = ("called as it is", "called translated", "calling translated", "both translated")
    assert alone("tests.targets.valkey.translated").splitlines() == [f"{way}: 0 dead" for way in ways]


@pytest.mark.parametrize("address", ["", "/run/valkey.sock:0", "nonsense", "1.2.3:x", "[::1:6379", "?:0"])
def test_an_address_that_is_none_is_nobodys_death(address: str) -> None:
    """Unix sockets, and whatever else a server writes there."""
    assert peerless([client_facts(addr=address)], []) == []
    assert peerless([client_facts(laddr=address)], []) == []


@pytest.mark.parametrize(
    ("keepalive", "idle", "flags", "codes"),
    [
        (0, DAY_S, "N", ["clients.no_keepalive"]),
        (0, DAY_S - 1, "N", []),
        (300, DAY_S * 30, "N", []),
        (None, DAY_S * 30, "N", []),
        (0, DAY_S * 30, "P", []),
        (0, DAY_S * 30, "b", []),
        (0, DAY_S * 30, "S", []),
    ],
)
def test_silence_is_a_finding_only_if_nobody_asks(
    keepalive: int | None, idle: int, flags: str, codes: list[str]
) -> None:
    """Subscribers, replicas and who waits in a command are silent by trade."""
    listed = [client_facts(idle=idle, flags=flags)]
    assert [each.code for each in judge_keepalive(listed, [], keepalive)] == codes
    assert judge_listed(listed, Facts({}), is_whole=True) == ()


def test_a_time_limit_shorter_than_pools_look_at_their_connections_is_found(valkey_url: str) -> None:
    """A minute is anybody's to choose, and 0 is never."""

    def codes(seconds: int) -> list[str]:
        with valkey.Valkey.from_url(valkey_url) as client:
            client.config_set("timeout", seconds)
        return [each.code for each in look(valkey_url, "clients").findings]

    try:
        assert [codes(each) for each in (0, 60, 30, 5)] == [[], [], [], ["clients.timeout"]]
    finally:
        codes(0)


@needs_vanishing
def test_keepalive_is_planned_within_the_sites_rule(valkey_url: str) -> None:
    """300 s, or the nearest that the site allows; and nothing where it is on."""
    rule = {"name": "tcp-keepalive", "minimum": 60, "maximum": 120}
    with VanishingClient(valkey_url, "job").vanish(), connection(valkey_url) as client:
        assert plan_of(valkey_url, "keep_connections_alive") is None
        client.config_set("tcp-keepalive", 0)
        usual = plan_of(valkey_url, "keep_connections_alive")
        ruled = plan_of(valkey_url, "keep_connections_alive", setting=(rule,))
        assert usual is not None
        assert ruled is not None
        assert [each.units[0].steps[0].arguments["value"] for each in (usual, ruled)] == ["300", "120"]
        assert not usual.needs_approval
        report = report_on(valkey_url, only=("reachability", *OF_CLIENTS, "settings"))
        assert {issue.issue_type for issue in report.issues} == {IssueType.NETWORK}


def test_idle_clients_of_a_pool_are_no_finding(valkey_url: str) -> None:
    """With keep-alive off as well, as long as they have not been silent for a day."""
    with connection(valkey_url) as client:
        client.config_set("tcp-keepalive", 0)
        pool = [valkey.Valkey.from_url(valkey_url) for _ in range(30)]
        for each in pool:
            each.ping()
        assert look(valkey_url, "clients").findings == ()
        for each in pool:
            each.close()
