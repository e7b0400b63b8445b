"""The commands that a person types are for the right server."""

from __future__ import annotations

import pytest

from medic8.targets.valkey.by_hand import cli, stretch

SIGN_IN = 'REDISCLI_AUTH="${M8PASS:?}" VALKEYCLI_AUTH="${M8PASS:?}"'


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://10.0.0.7:6380/0", "valkey-cli -h 10.0.0.7 -p 6380"),
        ("redis://cache/3", "valkey-cli -h cache -p 6379 -n 3"),
        ("unix:///run/valkey.sock?db=2", "valkey-cli -s /run/valkey.sock -n 2"),
        ("valkey://cache:7?db=3", "valkey-cli -h cache -p 7 -n 3"),
        ("unix:///run/my%20sock?db=0", "valkey-cli -s '/run/my sock'"),
        ("valkeys://us%40er:secret@cache:1/0", f"{SIGN_IN} valkey-cli -h cache -p 1 --tls --user us@er"),
        ("valkey://:secret@cache:1/0", f"{SIGN_IN} valkey-cli -h cache -p 1"),
    ],
)
def test_the_client_is_called_for_the_address_and_never_with_a_password(url: str, expected: str) -> None:
    """It is in a variable; what is piped into the client is not taken for one."""
    assert cli(url) == expected


def test_a_file_with_a_blank_in_its_name_is_one_word() -> None:
    """Homes have such names."""
    assert stretch("/a b/values.bin", 3, 4).startswith("dd if='/a b/values.bin' ")
