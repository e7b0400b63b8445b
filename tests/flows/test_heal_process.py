"""A real process that leaks is healed through the flows, with a person's yes to exactly that plan."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.run import run
from medic8.model.resolution import Outcome
from medic8.model.sample import Sample
from medic8.owner import process_of
from medic8.samples import SampleStore
from medic8.targets.process.looks.sampling import AGE, MEMORY, run_of
from tests.targets.process.supervised import MISSING, Program, supervised

pytestmark = pytest.mark.usefixtures("prefect_api")

SITE = """
[[target]]
name = "worker"
kind = "process"
url = "{url}"
mode = "act"
allow = ["restart_process"]

[target.process]
check = ["true"]

[recovery]
claims = "claims"
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    if MISSING:
        assert not os.environ.get("CI"), MISSING
        pytest.skip(MISSING)
    with supervised(tmp_path / "s") as found:
        (tmp_path / "medic8.toml").write_text(SITE.format(url=found.url))
        monkeypatch.setenv("MEDIC8_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MEDIC8_CONFIG", str(tmp_path / "medic8.toml"))
        yield found


def test_a_leak_of_days_is_healed_after_a_yes_and_the_next_diagnosis_is_well(
    program: Program, tmp_path: Path
) -> None:
    """Samples of earlier diagnoses of this very process show it; afterwards another one runs."""
    pid, now = program.pid, datetime.now(UTC)
    started_at = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    store = SampleStore(tmp_path / "home" / "samples")
    for hours in range(30, 0, -1):
        taken = {MEMORY: float((100 - 2 * hours) << 20), AGE: 1e6 - 3600 * hours}
        sample = Sample(
            at=now - timedelta(hours=hours), run=run_of(process_of(pid, started_at)), values=taken
        )
        store.add("worker", sample)
    # What it takes by now, so that the samples are of one growth.
    program.tell("kept.append(bytearray(b'x') * (100 << 20))")
    waiting = run("heal", target="worker", approved=[])
    (asked,) = waiting.resolutions
    assert (asked.outcome, program.pid) == (Outcome.AWAITING_APPROVAL, pid)
    assert asked.plan is not None
    healed = run("heal", target="worker", approved=[asked.plan.digest])
    (resolution,) = healed.resolutions
    assert resolution.outcome is Outcome.PARTLY_RESOLVED, resolution.reason
    assert resolution.left == ("why it came to this: a restart only begins anew",)
    assert program.pid != pid
    assert healed.after is not None
    assert healed.after.is_healthy
    assert not list((tmp_path / "claims").glob("*.claim"))
