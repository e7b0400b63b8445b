"""Two primaries behind one address are found, and neither a restart nor replicas are taken for them."""

from __future__ import annotations

import pytest

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.several import Met, judge_several, met_in

OLD, NEW = Met("a" * 40, "master", 900.0, 0), Met("b" * 40, "master", 60.0, 1)


@pytest.mark.parametrize(
    ("met", "is_found"),
    [
        ([OLD, NEW, OLD], True),
        ([OLD, OLD, OLD], False),
        ([OLD, NEW._replace(role="slave")], False),
        ([OLD, NEW._replace(uptime_s=1.0)], False),
    ],
)
def test_two_primaries_at_one_address_are_two_that_have_both_run_for_a_while(
    met: list[Met], is_found: bool
) -> None:
    """A replica behind the same address may be meant so; who has run for a moment has just started."""
    found = judge_several(met)
    assert bool(found) is is_found
    assert all(each.code == "replication.several_primaries" and len(each.evidence) == 2 for each in found)


def test_who_does_not_say_who_it_is_is_not_counted() -> None:
    """As where INFO is refused."""
    told = {"run_id": "a" * 40, "role": "master", "uptime_in_seconds": "900", "connected_slaves": "0"}
    assert met_in(Facts(told)) == OLD
    assert met_in(Facts({})) is None


def test_nodes_of_a_cluster_are_not_counted() -> None:
    """Its name leads to all of them, and each primary has slots of its own."""
    told = {"run_id": "a" * 40, "role": "master", "uptime_in_seconds": "900", "connected_slaves": "0"}
    for name in ("redis_mode", "server_mode"):
        assert met_in(Facts({**told, name: "cluster"})) is None
        assert met_in(Facts({**told, name: "standalone"})) == OLD
