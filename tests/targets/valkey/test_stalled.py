"""Who does not read is found where the server counts what waits for it nowhere."""

from __future__ import annotations

import pytest

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.keys import Pending, acknowledges_nothing, judge_pending
from medic8.targets.valkey.looks.stalled import judge_stalled

_MIB = 1 << 20


def client(**fields: object) -> Facts:
    known = {"id": 7, "addr": "10.0.0.1:7", "name": "feed", "flags": "P", "oll": 5, "tot-net-out": 100}
    return Facts({name.replace("_", "-"): str(value) for name, value in (known | fields).items()})


@pytest.mark.parametrize(
    ("before", "after", "left", "is_found"),
    [
        (client(), client(), 30 * _MIB, True),
        (client(), client(), 5 * _MIB, False),
        (client(), client(**{"tot-net-out": 200}), 30 * _MIB, False),
        (client(oll=0), client(), 30 * _MIB, False),
        (client(flags="S"), client(flags="S"), 30 * _MIB, False),
        (client(id=8), client(), 30 * _MIB, False),
    ],
)
def test_who_is_sent_nothing_while_memory_belongs_to_no_key_does_not_read(
    before: Facts, after: Facts, left: int, is_found: bool
) -> None:
    """Not who is sent some, has nothing waiting, is a replica, or has come just now."""
    found = judge_stalled([before], [after], left)
    assert [each.code for each in found] == ["clients.output"] * is_found
    assert all("feed at 10.0.0.1:7" in each.evidence[0].what for each in found)


@pytest.mark.parametrize(
    ("pending", "is_found"),
    [
        (Pending(b"jobs", b"pods", 1500, 2000, 9), True),
        (Pending(b"jobs", b"pods", 900, 1000, 9), False),
        (Pending(b"jobs", b"pods", 1500, 9000, 9), False),
        (Pending(b"jobs", b"pods", 1500, 2000, 2), False),
        (Pending(b"jobs", b"pods", 1500, None, 9), False),
        (Pending(b"jobs", b"pods", 1500, 2000, 1, is_one_way=True), True),
    ],
)
def test_a_group_never_acknowledges_that_has_most_of_what_it_was_ever_given(
    pending: Pending, is_found: bool
) -> None:
    """Not a small one, one with a past, nor one batch of a consumer or two, unless nothing ever was."""
    found = judge_pending([pending])
    assert [(each.code, each.about) for each in found] == [("keys.pending", "stream jobs")] * is_found


def test_whether_anything_was_ever_acknowledged_is_told_by_the_servers_own_count() -> None:
    """A few reads without one may be the first batch."""
    assert acknowledges_nothing(Facts({"cmdstat_xreadgroup": "calls=30"}))
    assert not acknowledges_nothing(Facts({"cmdstat_xreadgroup": "calls=3"}))
    assert not acknowledges_nothing(Facts({"cmdstat_xreadgroup": "calls=30", "cmdstat_xack": "calls=1"}))
    assert not acknowledges_nothing(Facts({}))
