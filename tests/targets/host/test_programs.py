"""Programs of a host that run out of descriptors, or that leave children behind: seen on real ones."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medic8.model.issue import Finding
from medic8.targets.host.looks.programs import programs_of
from medic8.targets.machine.files import Machine
from tests.targets.host.looking_at_host import look

_OPENS = """
import resource, sys, time
most, count = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = [open("/dev/null") for _ in range(count)]
print("there", flush=True)
time.sleep(600)
"""

_LEAVES_CHILDREN = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        os._exit(0)
os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
print("there", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def _running(program: str, *words: int) -> Iterator[str]:
    """A process; how it is called in findings."""
    child = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield f"process {child.pid} "
    finally:
        child.kill()
        child.communicate()


def _of(whose: str, code: str) -> list[Finding]:
    """Others may run beside the tests that have as many."""
    return [each for each in look("tables").findings if each.code == code and whose in each.text]


def test_a_program_that_is_nearly_out_of_descriptors_is_named() -> None:
    """By its own limit; half of it is none."""
    if not Path("/proc/self/fd").stat().st_size:
        pytest.skip("this kernel is older than 6.2 and does not tell how many descriptors there are")
    with _running(_OPENS, 200, 190) as full, _running(_OPENS, 400, 190) as half:
        (found,) = _of(full, "programs.descriptors")
        assert not _of(half, "programs.descriptors")
    assert (found.evidence[-1].seen, found.evidence[-1].limit) == ("193", "200")


def test_a_program_that_does_not_wait_for_its_children_is_named() -> None:
    """A few are left by many programs for a while."""
    with _running(_LEAVES_CHILDREN, 60) as many, _running(_LEAVES_CHILDREN, 10) as few:
        (found,) = _of(many, "programs.zombies")
        assert not _of(few, "programs.zombies")
    assert found.text.startswith("60 children of process")


def test_a_machine_that_tells_nothing_has_no_such_programs(tmp_path: Path) -> None:
    """Nor does one whose files are of another kernel."""
    (tmp_path / "proc" / "7").mkdir(parents=True)
    (tmp_path / "proc" / "7" / "stat").write_text("7 (odd")
    assert programs_of(Machine(tmp_path)) == ([], {})
