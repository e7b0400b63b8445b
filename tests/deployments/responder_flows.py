"""Flows that a responder is given by tests; each leaves files that tell what became of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from prefect import flow, get_run_logger, pause_flow_run, task
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

#: What a run leaves to another one in the same process.
LEFT_BEHIND = list[str]()

#: A run that nobody ends ends by itself.
LONGEST_S = 600.0


def _name() -> str:
    return str(flow_run.get_id())


@task
def note(folder: str, what: str) -> None:
    """Add a line to the file of the run."""
    with (Path(folder) / f"{_name()}.{what}").open("a") as file:
        file.write(f"{os.getpid()}\n")


@flow(name="responder-once")
def once(folder: str) -> None:
    """Note that it ran."""
    get_run_logger().info("this is what the run says")
    note(folder, "ran")


@flow(name="responder-brief")
def brief(folder: str, for_s: float = 0.0, until: str = "") -> None:
    """Write into the diary of all runs when it begins and when it ends, each in one piece."""
    write_down(folder, "begins")
    time.sleep(for_s)
    while until and not Path(until).exists():
        time.sleep(0.05)
    write_down(folder, "ends")


def write_down(folder: str, what: str) -> None:
    """Add a line to the diary of all runs, in one piece whoever else writes; in which process, and when."""
    file = os.open(Path(folder) / "diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{what} {_name()} {os.getpid()} {time.time():.3f}\n".encode())
    finally:
        os.close(file)


@flow(name="responder-look")
def look_around(folder: str) -> None:
    """Note what an earlier run has left, and leave something."""
    found = [*LEFT_BEHIND, os.environ.get("LEFT_BEHIND", ""), *(str(each) for each in Path().iterdir())]
    LEFT_BEHIND.append("a list")
    os.environ["LEFT_BEHIND"] = "a variable"
    Path("a file").touch()
    sys.path.append("/left-behind")
    (Path(folder) / f"{_name()}.found").write_text("".join(found))


@flow(name="responder-slow")
def slow(folder: str, until: str = "", undone_with: str = "") -> None:
    """Go on until a file is there, or somebody ends it; then put back what was begun, once one is there."""
    began_s = time.monotonic()
    try:
        note(folder, "begun")  # whoever sees it may end the run before the next line
        while not (until and Path(until).exists()):
            assert time.monotonic() - began_s < LONGEST_S
            time.sleep(0.05)
    except TerminationSignal:
        (Path(folder) / f"{_name()}.undoing").write_text("it does")
        while undone_with and not Path(undone_with).exists():
            time.sleep(0.05)
        (Path(folder) / f"{_name()}.undone").touch()
        raise
    (Path(folder) / f"{_name()}.ended").touch()


@flow(name="responder-steps")
def steps(folder: str, until: str) -> None:
    """Two steps, between which it waits for a file."""
    note(folder, "begun")
    while not Path(until).exists():
        time.sleep(0.05)
    note(folder, "second")


@flow(name="responder-pauses")
def pauses(folder: str) -> None:
    """Wait for somebody, in its process."""
    pause_flow_run(timeout=int(LONGEST_S), poll_interval=1)
    note(folder, "resumed")


@flow(name="responder-deaf")
def deaf(folder: str) -> None:
    """End for nobody."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, "begun")
    time.sleep(LONGEST_S)


@flow(name="responder-dies")
def dies(how: str) -> None:
    """Die without a word, or leave as if all were well."""
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(0)


@flow(name="responder-timeout", timeout_seconds=0.2)
def too_long() -> None:
    """Take too long."""
    time.sleep(LONGEST_S)
