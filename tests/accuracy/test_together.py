"""Several runs at once."""

from __future__ import annotations

from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.together import make


def test_runs_at_once_are_all_made_and_those_of_the_host_alone() -> None:
    """Each in a process of its own; what breaks what all share waits until the others have ended."""
    plans = [(Draw((name,), (1,), seed), False) for seed, name in enumerate(("host-1", "a", "b", "host-2"))]
    made = list(
        make(plans, jobs=2, most_s=0, is_shared=lambda draw: draw.variants[0].startswith("host"))
    )  # nobody knows these variants, so that each ends at once, with an error of the side that breaks
    assert all("KeyError" in each.error for each in made)
    assert sorted(each.draw.variants[0] for each in made[:2]) == ["a", "b"]
    assert [each.draw.variants[0] for each in made[2:]] == ["host-1", "host-2"]
