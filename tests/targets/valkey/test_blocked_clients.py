"""For how long clients wait: harm is what waits for replicas, and never who waits for work."""

from __future__ import annotations

import pytest
import valkey
from looking_at import look

from medic8.model.issue import Severity
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.blocked_clients import judge_blocked
from medic8.targets.valkey.looks.clients import parse_list
from tests.raw_clients import RawClient, clients_of, wait_until

DAY_S = 86_400
ALONE = Facts({"connected_slaves": "0"})


def later(client: Facts, seconds: int) -> Facts:
    """The same client after it has waited for so long."""
    return Facts({**client, "idle": str(seconds)})


def test_who_waits_for_replicas_that_are_not_there_is_found_once_it_lasts(valkey_url: str) -> None:
    """WAIT on a server without replicas: nothing in its first seconds, an issue later; nobody is closed."""
    with RawClient(valkey_url, "writer") as writer, RawClient(valkey_url, "worker") as worker:
        writer.ask("SET", "mine", "1")
        writer.send("WAIT", "1", "0")
        worker.send("BLPOP", "queue", "1000")
        wait_until(
            lambda: all("b" in clients_of(valkey_url)[each.id]["flags"] for each in (writer, worker)),
            "both wait",
        )
        result = look(valkey_url, "clients")
        readings = {each.name: each.value for each in result.readings}
        assert (readings["clients.blocked"], readings["clients.blocked_without_time_out"]) == (2, 1)
        assert "clients.blocked_longest" in readings
        assert result.findings == ()
        with valkey.Valkey.from_url(valkey_url) as client:
            listed = parse_list(client.execute_command("CLIENT", "LIST"))
        (finding,) = judge_blocked([later(each, DAY_S) for each in listed], ALONE)
        assert (finding.code, finding.severity, finding.objects) == (
            "clients.unacknowledged", Severity.ERROR, ()
        )  # fmt: skip
        assert finding.evidence[1].what == f"client {writer.id} at {writer.address}"
        assert "1 client in WAIT" in finding.text


@pytest.mark.parametrize(
    ("command", "seconds", "severity"),
    [
        ("wait", 9, None),
        ("wait", 10, Severity.WARNING),
        ("waitaof", 60, Severity.ERROR),
        ("blpop", 30 * DAY_S, None),
        ("xreadgroup", 30 * DAY_S, None),
        ("bzpopmin", 30 * DAY_S, None),
        ("FT.SEARCH", 59, None),
        ("FT.SEARCH", 60, Severity.INFO),
    ],
)
def test_only_who_waits_for_others_is_harmed(command: str, seconds: int, severity: Severity | None) -> None:
    """However many wait for work, and however long; of a module only that they do is told."""
    waiting = Facts({"id": "7", "addr": "10.0.0.1:1", "flags": "b", "cmd": command, "idle": str(seconds)})
    talking = Facts({"id": "8", "addr": "10.0.0.1:2", "flags": "N", "cmd": "wait", "idle": str(DAY_S)})
    findings = judge_blocked([*[waiting] * 500, talking], ALONE)
    assert [each.severity for each in findings] == ([] if severity is None else [severity])
