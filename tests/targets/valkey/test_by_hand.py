"""The commands that a person types are for the right server."""

from __future__ import annotations

import pytest

from medic8.targets.valkey.by_hand import cli, stretch


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://10.0.0.7:6380/0", "valkey-cli -h 10.0.0.7 -p 6380"),
        ("redis://cache/3", "valkey-cli -h cache -p 6379 -n 3"),
        ("unix:///run/valkey.sock?db=2", "valkey-cli -s /run/valkey.sock -n 2"),
        ("valkeys://medic8:secret@cache:1/0", "valkey-cli -h cache -p 1 --tls --user medic8 --askpass"),
        ("valkey://:secret@cache:1/0", "valkey-cli -h cache -p 1 --user default --askpass"),
    ],
)
def test_the_client_is_called_for_the_address_and_never_with_a_password(url: str, expected: str) -> None:
    """It asks for the password itself; a shell keeps what is typed."""
    assert cli(url) == expected


def test_a_file_with_a_blank_in_its_name_is_one_word() -> None:
    """Homes have such names."""
    assert stretch("/a b/values.bin", 3, 4).startswith("dd if='/a b/values.bin' ")
