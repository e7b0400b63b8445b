"""Numbers as a person says them."""

from __future__ import annotations

import pytest

from medic8.model.wording import measured


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.000042, "seconds", "42 µs"),
        (0.0421, "seconds", "42 ms"),
        (1352, "seconds", "22 min 32 s"),
        (1166680, "bytes", "1.1 MiB"),
        (12, "bytes", "12 bytes"),
        (1024, "count", "1,024"),
        (1.31, "ratio", "1.31 ratio"),
        (True, "", "yes"),
        ("master", "", "master"),
        (311.4, "MiB/s", "311.4 MiB/s"),
    ],
)
def test_a_reading_in_words(value: float | str | bool, unit: str, words: str) -> None:
    """Few digits, and the unit that a person would choose."""
    assert measured(value, unit) == words
