"""A few deaths of every strategy; `make crash` makes many more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.crash.laboratory import EXPECTED
from tests.crash.scenes import registered_strategies, scene_for, scenes_of

KINDS = list(dict.fromkeys(kind for kind, _ in registered_strategies()))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_every_strategy_ends_as_promised(kind: str) -> None:
    """Both depths, alone and beside others who write: nothing is wrong, and no foreign write is lost."""
    strategies = [name for of, name in registered_strategies() if of == kind]
    missing = {name: why for name in strategies if (why := scene_for(name, EXPECTED).missing)}
    tried = [name for name in strategies if name not in missing]
    if tried:  # all in one laboratory: to import what it needs takes as long as three deaths
        command = [sys.executable, "-m", "tests.crash", "--sample", "6", "--seed", "7"]
        command += [word for name in tried for word in ("--strategy", name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=850)
        assert done.returncode == 0, (done.stdout, done.stderr)
        rows = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| ")]
        scenes = [pair for name in tried for pair in scenes_of(name, EXPECTED).items()]
        assert rows[1:-1] == [name for name, scene in scenes if not scene.missing]
    if missing:
        pytest.skip("; ".join(f"{name}: {why}" for name, why in missing.items()))
