"""A few deaths of every strategy; `make crash` makes many more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.crash.laboratory import EXPECTED
from tests.crash.scenes import registered_strategies, scene_for, scenes_of


@pytest.mark.parametrize("strategy", [name for _, name in registered_strategies()])
def test_a_sample_of_every_strategy_ends_as_promised(strategy: str) -> None:
    """Both depths, alone and beside others who write: nothing is wrong, and no foreign write is lost."""
    if missing := scene_for(strategy, EXPECTED).missing:
        pytest.skip(missing)
    command = [sys.executable, "-m", "tests.crash", "--strategy", strategy, "--sample", "8", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, (done.stdout, done.stderr)
    rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[1:-1] == [name for name, scene in scenes_of(strategy, EXPECTED).items() if not scene.missing]
