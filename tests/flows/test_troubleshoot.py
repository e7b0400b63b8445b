"""What holds a target up and what runs short, found end to end on real servers; nothing is changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flows.run import run
from medic8.local.scratch import ScratchValkey, scratch_valkey
from medic8.model.performance import PerformanceReport
from medic8.model.resources import ResourceReport
from tests.flows.slow_site import Site, fill, plain, wait_for
from tests.targets.endpoint.services import answers, service

pytestmark = pytest.mark.usefixtures("prefect_api")

BENEATH = """
[[target]]
name = "api"
kind = "endpoint"
url = "http://127.0.0.1:{port}/"
depends_on = ["server"]

[target.request]
count = 2

[[target.threshold]]
name = "answer"
warning = 0.1
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchValkey]:
    """Get a server that nobody but us asks."""
    with scratch_valkey(tmp_path_factory.mktemp("quiet")) as started:
        yield started


def test_a_client_that_runs_keys_over_and_over_is_named_with_what_would_be_left_without_it(
    server: ScratchValkey, site: Site
) -> None:
    """Command and client, how much of the time they take, and the strategy that closes it."""
    site.configure(server.url, "kill_slow_client")
    with plain(server.url) as client:
        client.eval("for i = 1, 300000 do server.call('SET', 'k:' .. i, '') end", 0)
        client.execute_command("CONFIG", "RESETSTAT")
        client.slowlog_reset()
        over, is_habit = threading.Event(), threading.Event()

        def run_keys() -> None:
            with plain(server.url) as runaway:
                while not over.is_set():
                    runaway.keys("none:*")
                    over.wait(0.08 if is_habit.is_set() else 0)

        asking = threading.Thread(target=run_keys)
        asking.start()
        try:
            wait_for(lambda: sum(each["duration"] for each in client.slowlog_get(128)) > 1_100_000)
            is_habit.set()
            report = run("troubleshoot_performance", target="server", seconds=1.0)
        finally:
            over.set()
            asking.join()
    assert isinstance(report, PerformanceReport)
    by_code = {each.code: each for each in report.bottlenecks}
    runaway = by_code["commands.runaway"]
    assert runaway.resource.startswith("client 127.0.0.1:")
    assert runaway.explains is not None
    assert runaway.explains > 0.05
    assert "without KEYS" in runaway.effect
    shares = [share for result in report.analysis.results for share in result.shares]
    assert shares[0].what == "KEYS"
    advised = {each.strategy: each for each in report.recommendations}
    assert advised["kill_slow_client"].is_allowed
    assert advised["kill_slow_client"].expected_effect == runaway.effect
    assert all(each.evidence for each in report.recommendations)


def test_a_server_that_nothing_holds_up_gets_no_recommendation(quiet: ScratchValkey, site: Site) -> None:
    """Latency and usage are told all the same, and nothing was changed or slow."""
    site.configure(quiet.url, "set_settings")
    performance = run("troubleshoot_performance", target="server", seconds=1.0)
    resources = run("troubleshoot_resources", target="server")
    assert performance.bottlenecks == ()
    assert performance.recommendations == ()
    (pings, reads) = [each for result in performance.analysis.results for each in result.latencies]
    assert (pings.what, reads.what) == ("PING", "a read (SCAN)")
    assert pings.count + reads.count == 25
    assert not [share for result in performance.analysis.results for share in result.shares]  # ours are none
    assert resources.analysis.shortages == ()
    assert resources.optimizations == ()
    rows = {each.resource: each for each in resources.usage.metrics}
    connections = rows["connections (maxclients)"].utilisation
    assert (connections.value, connections.limit) == (1, 10_000)
    assert all(
        (measure.value is None) == bool(measure.unseen)
        for row in resources.usage.metrics
        for measure in (row.utilisation, row.saturation, row.errors)
    )


def test_the_slow_part_of_an_endpoint_is_named_and_what_it_stands_on_is_looked_at(
    quiet: ScratchValkey, site: Site
) -> None:
    """It waits for the answer, and the server beneath is measured and cleared."""
    with service(answers(after_s=0.2)) as port:
        site.configure(quiet.url, "set_settings", BENEATH.format(port=port))
        report = run("troubleshoot_performance", target="api", seconds=0.5)
    (found,) = report.bottlenecks
    assert (found.target, found.resource) == ("api", "waiting for the answer")
    assert found.explains is not None
    assert found.explains > 0.5
    assert found.effect.startswith("takes a request from ")
    assert {result.target for result in report.analysis.results} == {"api", "server"}
    (advised,) = report.recommendations
    assert advised.expected_effect == found.effect
    assert advised.strategy == ""


def test_a_server_at_its_limit_is_short_of_memory_and_the_strategy_that_helps_is_named(
    server: ScratchValkey, site: Site
) -> None:
    """It has a plan for it and may not carry it out: the report says both."""
    fill(server)
    site.configure(server.url, "kill_slow_client")
    report = run("troubleshoot_resources", target="server")
    assert isinstance(report, ResourceReport)
    (short,) = [each for each in report.analysis.shortages if each.code == "memory.near_limit"]
    (advised,) = [each for each in report.optimizations if each.reason == short.resource]
    assert advised.strategy == "raise_memory_limit"
    assert not advised.is_allowed
    memory = next(each for each in report.usage.metrics if each.resource == "memory (maxmemory)")
    assert memory.utilisation.limit == 32 << 20
    assert memory.utilisation.share is not None
    assert memory.utilisation.share > 0.95


def test_of_a_server_that_does_not_answer_nothing_is_measured_and_the_reason_is_told(site: Site) -> None:
    """Nobody takes silence for health."""
    site.configure("valkey://127.0.0.1:1/0", "set_settings")
    report = run("troubleshoot_performance", target="server")
    assert report.is_unreachable
    assert [each.analyzer for each in report.analysis.results] == ["diagnosis"]
    assert any("cannot be reached" in each for each in report.unseen)
