"""A process that ends is told from one that ends again and again, whoever starts it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from medic8.errors import UnreachableError
from medic8.model.issue import Severity
from medic8.model.target import ProcessCare, Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.keepers.supervisord import ended_in
from medic8.targets.process.keepers.systemd import kept_of
from medic8.targets.process.looks.growth import look_at_growth
from medic8.targets.process.looks.presence import look_at_presence
from tests.targets.process.supervised import until

#: Starts a child that ends soon, says its number, waits for it and for a moment, and so on.
_LOOP = """
import os, subprocess, sys, time
while True:
    child = subprocess.Popen(["sleep", sys.argv[2]])
    with open(sys.argv[1] + ".new", "w") as file: file.write(str(child.pid))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    child.wait()
    time.sleep(float(sys.argv[3]))
"""


@contextlib.contextmanager
def _kept_going(file: Path, lives_s: float, pauses_s: float) -> Iterator[Target]:
    words = [sys.executable, "-c", _LOOP, str(file), str(lives_s), str(pauses_s)]
    loop = subprocess.Popen(words)
    try:
        until(file.exists, "it was started")
        yield _of_file(file)
    finally:
        loop.kill()
        loop.wait()


def _of_file(file: Path) -> Target:
    return Target(
        name="looping", kind="process", url=SecretStr(f"pidfile:{file}"), process=ProcessCare(warm_up_s=0)
    )


def test_who_is_started_again_and_again_is_told_while_it_is_watched(
    tmp_path: Path, around: Surroundings
) -> None:
    """Nobody keeps count of what a shell loop starts, and whoever watches it has seen three."""
    with _kept_going(tmp_path / "pid", 0.4, 0.3) as target:
        (found,) = look_at_growth(target, replace(around, watch_s=8.0)).findings
    assert (found.code, found.severity) == ("presence.restarts", Severity.WARNING)
    assert "was started 3 times within 10 minutes" in found.text


def test_who_comes_back_at_once_was_only_started_again(tmp_path: Path, around: Surroundings) -> None:
    """Between an end and a start nobody is there, which is no outage yet."""
    with _kept_going(tmp_path / "pid", 0.1, 0.8) as target:
        until(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists(), "it has ended")
        assert look_at_presence(target, around).reading("presence.pid") is not None


def test_who_ends_in_the_watch_and_does_not_come_back_is_told(tmp_path: Path, around: Surroundings) -> None:
    """Whoever only counts what grows would say that nothing is wrong."""
    file = tmp_path / "pid"
    with subprocess.Popen(["/bin/sleep", "0.5"]) as child:
        file.write_text(str(child.pid))
        child.wait()
    (found,) = look_at_growth(_of_file(file), replace(around, watch_s=0.5)).findings
    assert (found.code, found.severity) == ("presence.ended", Severity.CRITICAL)
    assert "nobody started it again" in found.text
    with pytest.raises(UnreachableError, match="does not run"):
        look_at_presence(_of_file(file), around)


def test_how_it_ended_is_told_by_who_keeps_it() -> None:
    """An exit status says where to look, and a signal who else to ask."""
    log = (
        "2026-01-02 03:04:05,006 WARN exited: web (exit status 3; not expected)",
        "2026-01-02 03:04:06,006 WARN exited: other (exit status 9; not expected)",
    )
    assert ended_in(log, "web") == "exit status 3"
    killed = (*log, "2026-01-02 03:04:07,006 WARN exited: web (terminated by SIGKILL; not expected)")
    assert ended_in(killed, "web") == "terminated by SIGKILL"
    assert ended_in(log, "db") == ""
    told = "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nMainPID=0\n"
    assert kept_of("web", f"{told}ExecMainCode=2\nExecMainStatus=11", 1.0).ended == "killed by signal 11"
