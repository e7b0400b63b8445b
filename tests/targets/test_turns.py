"""In which order a target is looked at."""

from __future__ import annotations

import pytest

from medic8.targets.registry import kind_named, kind_names


@pytest.mark.parametrize("name", [name for name in kind_names() if name != "teapot"])
def test_each_diagnostic_has_its_turn_and_the_first_stands_alone(name: str) -> None:
    """A target that does not answer is asked nothing else; what is made at once is known to its kind."""
    kind = kind_named(name)
    assert sorted(each for turn in kind.turns for each in turn) == sorted(kind.diagnostics)
    assert kind.turns[0] == (next(iter(kind.diagnostics)),)
    assert kind.at_once <= set(kind.diagnostics)


def test_what_waits_on_a_server_waits_together() -> None:
    """Five looks that take two moments each are one turn, where the first of them stood."""
    turns = kind_named("valkey").turns
    (together,) = (turn for turn in turns if len(turn) > 1)
    assert together == ("memory", "clients", "commands", "persistence", "replication")
    assert turns.index(together) == list(kind_named("valkey").diagnostics).index("memory")
