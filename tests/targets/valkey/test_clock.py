"""A clock that jumps between two diagnoses: what expires with it, and what is no jump."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st
from looking_at import AROUND, NOW, a_target, found

from medic8.local.loopback import HOST, free_port
from medic8.local.programs import find_valkey
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticResult
from medic8.model.sample import Sample
from medic8.samples import SampleStore
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.clock import Jump, Moment, clock_values, judge_jump, last_jump
from medic8.targets.valkey.looks.growth import look_at_growth
from tests.raw_clients import wait_until

HOUR_S = 3600.0
START = Moment(theirs_s=1e9, ours_s=1e9, timer_s=500.0, boot=7)


class ServerOfAnotherTime:
    """A server whose clock is set by hand, for it alone."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._ahead = folder / "ahead"
        self._ahead.write_bytes(bytes(8))
        port = free_port(())
        self.url = f"valkey://{HOST}:{port}/0"
        self.process = subprocess.Popen(
            [str(find_valkey(folder, None)), "--port", str(port), "--bind", HOST, "--save", ""],
            cwd=folder, stdout=subprocess.DEVNULL,
            env={**os.environ, "LD_PRELOAD": str(library), "CLOCK_JUMP": str(self._ahead)},
        )  # fmt: skip
        self.client: Any = valkey.Valkey.from_url(self.url)
        wait_until(self.answers, "it answers")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except valkey.exceptions.ConnectionError:
            return False

    def set(self, ahead_s: int) -> None:
        """Have its clock be so far ahead of ours, at once; it looks at it from time to time."""
        with self._ahead.open("r+b") as file:
            file.write(struct.pack("=q", ahead_s))
        wait_until(lambda: abs(self.client.time()[0] - time.time() - ahead_s) < 60, "its clock is set")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerOfAnotherTime]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not on PATH: a clock of a process's own has to be compiled")
    library, source = tmp_path / "clock.so", Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    started = ServerOfAnotherTime(tmp_path, library)
    try:
        yield started
    finally:
        started.client.close()
        started.process.kill()
        started.process.wait(60)


def diagnosed(url: str, store: SampleStore) -> DiagnosticResult:
    return look_at_growth(a_target(url), Surroundings(backups=AROUND.backups, now=NOW, samples=store))


def test_a_clock_that_jumps_ends_keys_or_has_them_outlive_themselves(
    server: ServerOfAnotherTime, tmp_path: Path
) -> None:
    """A real clock, really set: told with what expired, for an hour, and the other way round."""
    store = SampleStore(tmp_path / "samples")
    for number in range(40):
        server.client.set(f"session:{number}", "x", ex=1800)
    assert diagnosed(server.url, store).findings == ()
    server.set(3600)
    wait_until(lambda: server.client.dbsize() == 0, "all has expired")
    for _ in range(2):
        finding = found(diagnosed(server.url, store), "server.clock_jumped")
        assert finding.text.startswith("the server's clock jumped forward by 1 h 0 min")
        assert (finding.severity, finding.evidence[-1].seen) == (Severity.ERROR, "40")
    server.client.set("lease", "x", ex=60)
    server.set(0)
    assert server.client.ttl("lease") > HOUR_S
    finding = found(diagnosed(server.url, store), "server.clock_jumped")
    assert finding.text.startswith("the server's clock jumped back by")


def kept(now: Moment, jump: Jump | None = None, *, run: str = "run", expired: float = 0.0) -> Sample:
    return Sample(at=NOW, run=run, values=dict(clock_values(now, jump, expired)))


def later(passed_s: float, *, theirs_s: float = 0.0, ours_s: float = 0.0, stood_s: float = 0.0) -> Moment:
    """After so long, with clocks set by so much, and our timer having stood still for a while."""
    return Moment(
        START.theirs_s + passed_s + theirs_s,
        START.ours_s + passed_s + ours_s,
        START.timer_s + passed_s - stood_s,
        START.boot,
    )


def jumped(before: Sample, now: Moment, *, is_here: bool, run: str = "run") -> Jump | None:
    return last_jump([before], run, now, is_here=is_here, expired=5.0)


@given(
    passed=st.floats(1, 400 * 86_400),
    slewed=st.floats(-500e-6, 500e-6),
    late=st.floats(-0.9, 0.9),
    ours=st.floats(-1e6, 1e6),
)
def test_a_clock_that_is_set_slowly_has_not_jumped(
    passed: float, slewed: float, late: float, ours: float
) -> None:
    """However long it takes, and whatever becomes of our own."""
    now = later(passed, theirs_s=slewed * passed + late, ours_s=ours)
    for is_here in (True, False):
        assert jumped(kept(START), now, is_here=is_here) is None


@given(seconds=st.one_of(st.floats(200, 1e6), st.floats(-1e6, -200)), passed=st.floats(1, 2 * 86_400))
def test_a_jump_is_seen_with_its_direction(seconds: float, passed: float) -> None:
    """On this machine also where our clock, which is the same one, jumped with it."""
    now = later(passed, theirs_s=seconds)
    for found_one in (
        jumped(kept(START), now, is_here=False),
        jumped(kept(START), later(passed, theirs_s=seconds, ours_s=seconds), is_here=True),
    ):
        assert found_one is not None
        assert found_one.seconds == pytest.approx(seconds)
        assert found_one.expired == 5
        (finding,) = judge_jump(found_one)
        assert ("forward" in finding.text) == (seconds > 0)


def test_what_stood_still_here_did_not_jump_there() -> None:
    """A machine of ours that was paused: its timer is behind, and its clock was set right since."""
    assert jumped(kept(START), later(HOUR_S, stood_s=600), is_here=False) is None
    assert jumped(kept(START), later(HOUR_S, theirs_s=30, ours_s=30), is_here=False) is None


def test_nothing_is_compared_across_starts() -> None:
    """Of the server, which may be another one, and of this machine, whose timer began anew."""
    now = later(60, theirs_s=HOUR_S)
    assert jumped(kept(START), now, is_here=True) is not None
    assert jumped(kept(START), now, is_here=True, run="another") is None
    assert jumped(kept(START._replace(boot=8)), now, is_here=True) is None
    assert last_jump([], "run", now, is_here=True, expired=None) is None


def test_a_jump_is_told_for_an_hour() -> None:
    """Though what is compared is the last sample only."""
    jump = Jump(HOUR_S, START.ours_s, START.timer_s, 3.0)
    assert jumped(kept(START, jump), later(HOUR_S - 1), is_here=True) == jump
    assert jumped(kept(START, jump), later(HOUR_S + 1), is_here=True) is None
