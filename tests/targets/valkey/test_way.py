"""What is measured on the way to a server: round trips, what they stray by, what really gets lost."""

from __future__ import annotations

import sys

from medic8.targets.valkey.looks import kernel, reachability
from tests.targets.valkey.own_network import alone

#: ``struct tcp_info`` of Linux 6.18, of a connection of which every sixth packet was really dropped.
MEASURED = bytes.fromhex(
    "010000000007aa01e01c0300409c00000080000018020000000000000000000000000000000000000000000000000000"
    "000000000000000000000000ffff0000d7ff00000c0100009b010000ffffff7f12000000cbff00000300000000000000"
    "d7ff00000700000000b9b7b902000000ffffffffffffffffa501000000000000d2000000000000002a00000021000000"
    "00000000080000001f00000024000000000024f400000000000b13000000000000000000000000000000000000000000"
    "1f00000000000000f8010000000000005400000000000000000000000000000000000000000000000000000001000000"
)


def test_what_the_kernel_measured_is_read_of_any_kernel() -> None:
    """The round trip, how it strays, what was lost; what was sent again for nothing is no loss."""
    assert kernel.parse_tcp_info(MEASURED) == kernel.Measured(0.000268, 0.000411, 7, 0, 42)
    old = kernel.parse_tcp_info(MEASURED[:104])
    assert old == kernel.Measured(0.000268, 0.000411, 7, 0, None)
    for_nothing = MEASURED[:216] + (7).to_bytes(4, sys.byteorder) + MEASURED[220:]
    assert kernel.parse_tcp_info(for_nothing) == kernel.Measured(0.000268, 0.000411, 0, 0, 42)
    assert kernel.parse_tcp_info(MEASURED[:103]) is None


def test_a_way_that_really_loses_packets_is_found() -> None:
    """One of eight, in a network namespace of its own; the server there is well, and so is the way before."""
    assert alone("tests.targets.valkey.lossy").splitlines() == [
        "before: nothing",
        "one of eight: network.loss",
    ]


def test_percentiles_are_of_the_round_trips() -> None:
    """The nearest rank: a value that was really seen."""
    values = [float(each) for each in range(1, 201)]
    assert [reachability.percentile(values, each) for each in (50, 95, 99, 100)] == [100, 190, 198, 200]
    assert reachability.percentile([7.0], 99) == 7
