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


def test_a_server_is_asked_by_one_connection_at_a_time() -> None:
    """The last ones that it has are its clients'."""
    assert all(len(turn) == 1 for turn in kind_named("valkey").turns)


def test_what_watches_a_host_watches_together() -> None:
    """Its activity, file systems, connections and programs, for as long as somebody wants to wait."""
    (together,) = (turn for turn in kind_named("host").turns if len(turn) > 1)
    assert together == ("activity", "filling", "network", "tables")
