"""A server at a limit, healed end to end; whether it is comes from a client of its own."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import valkey.exceptions

from flows.run import run
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.resolution import Outcome
from tests.flows.slow_site import Site, fill, heal_as_agreed, heal_with_a_yes, plain, wait_for
from tests.raw_clients import RawClient, connected

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_a_memory_limit_is_raised_by_one_step_and_writes_succeed_again(
    server: ScratchValkey, site: Site
) -> None:
    """Approved by a person; a client that was refused writes, nothing is lost, and undo lowers it again."""
    site.configure(server.url, "raise_memory_limit")
    fill(server)
    with plain(server.url) as client:
        keys = client.dbsize()
        with pytest.raises(valkey.exceptions.OutOfMemoryError):
            client.set("one", "more")
        resolution = heal_as_agreed("raise_memory_limit")
        assert resolution.outcome is Outcome.RESOLVED, resolution.reason
        assert client.config_get("maxmemory")["maxmemory"] == str(40 << 20)
        assert client.set("one", "more")
        assert client.dbsize() == keys + 1


def test_a_limit_that_does_not_fit_the_machine_stays_and_the_numbers_are_said(
    server: ScratchValkey, site: Site
) -> None:
    """Replicas that may have terabytes waiting leave no room: no plan, and nothing is changed."""
    site.configure(server.url, "raise_memory_limit")
    fill(server)
    (server.data.parent / "replica").mkdir(exist_ok=True)
    with (
        scratch_valkey(
            server.data.parent / "replica", config={"replicaof": f"127.0.0.1 {server.port}"}
        ) as other,
        plain(server.url) as client,
        plain(other.url) as replica,
    ):
        client.config_set("client-output-buffer-limit", "replica 4096gb 1024gb 60")
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up")
        treatment = run("heal", target="server")
        (resolution,) = [each for each in treatment.resolutions if each.issue.about == "memory"]
        assert resolution.outcome is Outcome.UNSUPPORTED
        assert "4.0 TiB for replicas" in " ".join(resolution.left)
        assert client.config_get("maxmemory")["maxmemory"] == str(32 << 20)


def test_the_idlest_ordinary_clients_are_closed_where_connections_run_out(
    server: ScratchValkey, site: Site
) -> None:
    """Not who has sent something, waits for keys, listens, or is in a transaction; and newcomers get in."""
    site.configure(server.url, "kill_idle_clients", "idle_client_age_s = 3")
    with ExitStack() as stack, plain(server.url) as client:
        clients = [stack.enter_context(RawClient(server.url, "pool")) for _ in range(12)]
        idle, (waits, listens, queues, guards, busy) = clients[:7], clients[7:]
        waits.send(b"BLPOP", b"queue", b"0")
        listens.ask(b"SUBSCRIBE", b"channel")
        queues.ask(b"MULTI")
        guards.ask(b"WATCH", b"key")
        wait_for(
            lambda: all(
                int(each["idle"]) >= 3
                for number, each in connected(client).items()
                if number in {one.id for one in clients}
            )
        )
        busy.ask(b"PING")
        client.config_set("maxclients", len(connected(client)) + 2)
        resolution = heal_with_a_yes("kill_idle_clients")
        left = connected(client).keys()
        assert resolution.outcome is Outcome.RESOLVED, (resolution.reason, resolution.left)
        assert {each.id for each in clients} - left == {each.id for each in idle[:5]}
        assert client.config_get("timeout")["timeout"] == "0"
        for _ in range(4):
            stack.enter_context(RawClient(server.url, "newcomer"))


def test_without_idle_clients_nobody_is_closed_and_it_is_said(server: ScratchValkey, site: Site) -> None:
    """All have sent something within the age."""
    site.configure(server.url, "kill_idle_clients")
    with ExitStack() as stack, plain(server.url) as client:
        clients = [stack.enter_context(RawClient(server.url, "pool")) for _ in range(12)]
        client.config_set("maxclients", len(connected(client)) + 2)
        (resolution,) = [
            each for each in run("heal", target="server").resolutions if each.issue.about == "clients"
        ]
        assert resolution.outcome is Outcome.UNSUPPORTED
        assert resolution.left == ("No ordinary client has been idle for 1 h 0 min.",)
        assert {each.id for each in clients} <= connected(client).keys()


RAISE = "import sys, valkey; valkey.Valkey.from_url(sys.argv[1]).config_set('maxmemory', 64 << 20)"


def configure_scaling(server: ScratchValkey, site: Site, command: str, trial: str = "exit 0") -> None:
    words = json.dumps(["sh", "-c", command, sys.executable, server.url])
    site.configure(
        server.url,
        "scale_out",
        f"[target.scale]\ncommand = {words}\ndry_run = {json.dumps(['sh', '-c', trial])}",
    )


def test_what_the_site_has_for_scaling_is_called_once_and_writes_succeed_again(
    server: ScratchValkey, site: Site, tmp_path: Path
) -> None:
    """Agreed to by a person, after a trial; the issue goes, and what may still come is left open."""
    calls = tmp_path / "calls"
    configure_scaling(server, site, f'echo x >> {calls}; "$0" -c "{RAISE}" "$1"', f"echo trial >> {calls}")
    fill(server)
    resolution = heal_with_a_yes("scale_out", "controller", "memory")
    assert resolution.outcome is Outcome.PARTLY_RESOLVED, resolution.reason
    assert calls.read_text().split() == ["trial", "x"]
    with plain(server.url) as client:
        assert client.set("one", "more")
        assert client.get("medic8:scaled") == b"1"


@pytest.mark.parametrize(
    ("command", "trial", "outcome", "reason"),
    [
        ("exit 0", "echo too dear; exit 1", Outcome.RESTORED, "the trial run failed"),
        ("echo no; exit 2", "exit 0", Outcome.RESTORED, "it was refused, and nothing was changed"),
        ("echo half; exit 1", "exit 0", Outcome.NEEDS_PERSON, "exit status 1: half"),
    ],
)
def test_an_answer_that_is_no_yes_is_told_as_what_it_is(
    server: ScratchValkey, site: Site, command: str, trial: str, outcome: Outcome, reason: str
) -> None:
    """Refused: nothing was changed. Anything else: a person has to look."""
    configure_scaling(server, site, command, trial)
    fill(server)
    resolution = heal_with_a_yes("scale_out", "controller", "memory")
    assert (resolution.outcome, reason in resolution.reason) == (outcome, True), resolution.reason
