"""What was slow for want of a processor is told from what is slow by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic8.targets.facts import Facts
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.looks.stalls import stalls_among, waited_s


@pytest.mark.parametrize(
    ("name", "took_s", "p99_us", "waited", "is_stall"),
    [
        ("SCRIPT", 0.012, 56, 1.0, True),
        ("SCRIPT", 0.012, 56, 0.1, False),  # it has not waited for as long as all of them took
        ("SCRIPT", 0.012, 12_000, 1.0, False),  # one of a hundred is slow
        ("DEL index", 0.45, 56, 9.0, False),  # nobody waits for so long at once
        ("EVAL", 0.012, 56, 1.0, False),  # nothing is known of it
    ],
)
def test_what_is_quick_nearly_each_time_was_slow_for_want_of_a_processor(
    name: str, took_s: float, p99_us: int, waited: float, *, is_stall: bool
) -> None:
    """If the server has waited for one for as long; who deletes much is slow by what it does."""
    slow = [SlowCommand(name, 0.0, took_s, "loader") for _ in range(13)]
    facts = Facts(
        {
            "latency_percentiles_usec_script|load": f"p50=20.0,p99={p99_us}.0,p99.9=12000.0",
            "latency_percentiles_usec_del": f"p50=20.0,p99={p99_us}.0,p99.9=12000.0",
        }
    )
    assert (stalls_among(slow, facts, waited) == slow) is is_stall


def test_how_long_a_server_waited_is_read_of_its_own_process_alone(valkey_url: str) -> None:
    """Another process of that number, of another age, is none."""
    with connection(valkey_url) as client:
        told = client.info("server")
    own = Path(f"/proc/{told['process_id']}/schedstat")
    before = int(own.read_text().split()[1]) / 1e9
    facts = {"process_id": str(told["process_id"]), "uptime_in_seconds": str(told["uptime_in_seconds"])}
    assert before <= waited_s(Facts(facts)) <= int(own.read_text().split()[1]) / 1e9
    assert waited_s(Facts({**facts, "uptime_in_seconds": "100000"})) == 0.0
