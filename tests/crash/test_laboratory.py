"""A sample of the crash laboratory, and proof that it notices a broken undo; the whole is ``make crash``."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.breaking import BROKEN
from tests.crash.killing import commands_of, is_read
from tests.crash.laboratory import EXPECTED, Bench, Point, Tally, Wish, experiments
from tests.crash.people import writer
from tests.crash.scenes import registered_strategies, scene_for


def bench_of(strategy: str, folder: Path, stack: ExitStack) -> Bench:
    scene = stack.enter_context(EXPECTED[strategy].scene(folder))
    live = stack.enter_context(writer(scene))
    return Bench(strategy, EXPECTED[strategy], scene, live, folder, seed=1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Get a bench on which a grid is repaired from parity."""
    with ExitStack() as stack:
        yield bench_of("rebuild_from_parity", tmp_path_factory.mktemp("bench"), stack)


def test_every_death_of_the_smallest_recovery_ends_as_promised(tmp_path: Path) -> None:
    """All its writes, before and after and with the answer lost, alone and beside others who write."""
    wish = Wish(depth=1, strategies=("quarantine_lost_pages",))
    ((_, tally),) = experiments(wish, tmp_path)
    assert (tally.wrong, tally.lost) == ([], [])
    assert tally.kills > 50
    assert min(tally.ends["restored"], tally.ends["healthy"], tally.foreign) > 0


@pytest.mark.parametrize("way", BROKEN)
def test_the_laboratory_notices_a_broken_undo(bench: Bench, way: str) -> None:
    """Broken in the child that ends the recovery; an intact one is right at the very point."""
    bench.broken = BROKEN[way]
    tally = Tally()
    # From the last write backwards: undo has most to do there.
    for strike in reversed(bench.strikes()):
        point = Point(bench.strategy, strike, is_busy=True)
        bench.experiment(point, tally)
        if tally.wrong or tally.lost:
            break
    assert tally.wrong or tally.lost
    bench.broken = lambda: None
    intact = Tally()
    bench.experiment(point, intact)
    assert (intact.wrong, intact.lost) == ([], [])


def test_every_write_of_a_recovery_is_seen(bench: Bench) -> None:
    """Each step has one durable commit and one write to the target, beside the claim's renewal."""
    steps = bench.scene.plan.step_count
    seen = collections.Counter(write.what for write in bench.writes)
    assert seen["journal"] == steps + 3  # opened, saved, and closed
    details = collections.Counter(write.detail.split()[0] for write in bench.writes if write.what == "target")
    assert details["PEXPIRE"] == steps + 1  # before the state is saved, and before each step
    assert details["EVALSHA"] + details["EVAL"] >= steps
    assert seen["file"] >= 4  # values, index, and both folders
    assert {write.detail for write in bench.writes if write.what == "file"} >= {"fsync", "open values.bin"}


def test_a_strategy_without_a_scene_fails() -> None:
    """Nobody adds one that was never killed."""
    for _, name in registered_strategies():
        assert scene_for(name, EXPECTED) is EXPECTED[name]
    with pytest.raises(LookupError, match="'new_one' has no scene"):
        scene_for("new_one", EXPECTED)


def test_whatever_is_not_known_to_read_counts_as_a_write() -> None:
    """Commands are told by name; one inside MULTI and EXEC counts as well."""
    packed = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nset\r\n$1\r\na\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n"
    assert commands_of(packed) == [(b"MULTI",), (b"SET",), (b"EXEC",)]
    assert [is_read(name) for name in commands_of(packed)] == [True, False, True]
    packed = b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$2\r\nhz\r\n$2\r\n20\r\n"
    assert not is_read(commands_of(packed)[0])
