"""A slow server, healed end to end; how slow it is comes from clients of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.run import run
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.resolution import Outcome
from tests.flows.slow_site import Site, heal_as_agreed, heal_with_a_yes, plain, resolution_by
from tests.holding_up import ENDLESS, LIBRARY, delete_large, is_busy, wait_until_busy
from tests.raw_clients import RawClient, connected

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def busy_server(tmp_path: Path) -> Iterator[ScratchValkey]:
    """Get a server of the test's own that says so soon when a script keeps it busy."""
    (tmp_path / "server").mkdir()
    with scratch_valkey(tmp_path / "server", config={"busy-reply-threshold": "10"}) as started:
        try:
            yield started
        finally:
            started.kill()  # one that is busy does not stop


def test_a_client_that_holds_everybody_up_is_closed_and_no_other(server: ScratchValkey, site: Site) -> None:
    """By its address, name and last command; one that did so once, and one that does so no more, stay."""
    site.configure(server.url, "kill_slow_client")
    with (
        RawClient(server.url, "report") as runaway,
        RawClient(server.url, "report") as once,
        RawClient(server.url, "report") as reformed,
        plain(server.url) as client,
    ):
        runaway.is_expensive(4)
        once.is_expensive()
        reformed.is_expensive(4).ask(b"PING")
        resolution = heal_as_agreed("kill_slow_client")
        assert resolution.outcome is Outcome.RESOLVED, resolution.reason
        assert "It prevents the next command only" in resolution.reason
        assert {runaway.id, once.id, reformed.id} & connected(client).keys() == {once.id, reformed.id}
        assert runaway.ask(b"PING") == b""
        assert "ACL SETUSER default -eval forbids it" in " ".join(resolution.issue.advice)


def test_a_client_that_stops_after_it_was_agreed_to_is_not_closed(server: ScratchValkey, site: Site) -> None:
    """A yes to closing it for what it does is none once it does something else."""
    site.configure(server.url, "kill_slow_client")
    with RawClient(server.url, "report") as runaway, plain(server.url) as client:
        runaway.is_expensive(4)
        asked = resolution_by(run("heal", target="server", dry_run=True), "kill_slow_client")
        assert asked.plan is not None
        runaway.ask(b"PING")
        run("heal", target="server", approved=[asked.plan.digest])
        assert runaway.id in connected(client)


def test_large_deletions_are_made_in_the_background(server: ScratchValkey, site: Site) -> None:
    """What took a client some tenths of a second takes it next to nothing then."""
    site.configure(server.url, "free_lazily")
    with plain(server.url) as client:
        client.config_set("lazyfree-lazy-user-del", "no")
        before_s = delete_large(client)
        treatment = run("heal", target="server")
        resolution = resolution_by(treatment, "free_lazily")
        assert resolution.outcome is Outcome.RESOLVED, resolution.reason
        assert client.config_get("lazyfree-lazy-user-del")["lazyfree-lazy-user-del"] == "yes"
        codes = [each.code for each in run("diagnose", target="server").analysis.findings]
        assert not {"commands.slow", "commands.slow_delete"} & set(codes)  # it was from before
        # The other process that has the processor meanwhile is not the server's fault.
        assert any(delete_large(client) < before_s / 10 for _ in range(3))
        assert treatment.after is not None
        assert not [each for each in treatment.after.issues if "deletions" in each.about]


@pytest.mark.parametrize("kind", ["script", "function"])
def test_a_script_that_never_ends_is_ended_and_the_server_answers_again(
    busy_server: ScratchValkey, site: Site, kind: str
) -> None:
    """Agreed to by a person; whoever called it gets an error, and nothing is left on the server."""
    site.configure(busy_server.url, "kill_script")
    with plain(busy_server.url) as client, RawClient(busy_server.url) as caller:
        client.set("kept", "value")
        client.function_load(LIBRARY)
        call = (b"EVAL", ENDLESS) if kind == "script" else (b"FCALL", b"endless")
        caller.send(*call, b"1", b"written", b"0")
        wait_until_busy(client)
        resolution = heal_with_a_yes("kill_script", "reachability")
        assert resolution.outcome is Outcome.RESOLVED, resolution.reason
        assert not is_busy(client)
        assert list(client.scan_iter()) == [b"kept"]
        assert ("endless" in resolution.reason) == (kind == "function")


def test_a_script_that_has_written_goes_on_and_a_person_is_told(
    busy_server: ScratchValkey, site: Site
) -> None:
    """The server itself refuses; nothing else is tried."""
    site.configure(busy_server.url, "kill_script")
    with plain(busy_server.url) as client, RawClient(busy_server.url) as caller:
        caller.send(b"EVAL", ENDLESS, b"1", b"written", b"1")
        wait_until_busy(client)
        resolution = heal_with_a_yes("kill_script", "reachability")
        assert resolution.outcome is Outcome.RESTORED
        assert "has written already" in resolution.reason
        assert is_busy(client)
        busy_server.kill()
