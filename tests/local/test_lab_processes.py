"""What the lab says of a process is there, is found for what it is, and goes with a reset."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import UnreachableError
from medic8.local.lab.acting.program_names import latest_address
from medic8.local.lab.actors import FOLDER, recorded
from medic8.local.lab.breakage import Breakage
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.states import STATES
from medic8.local.scratch import scratch_valkey
from medic8.model.issue import Issue, Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import ProcessCare, Target
from medic8.targets.kind import Surroundings
from medic8.targets.machine.cgroup import groups_of
from medic8.targets.process.found import process_of_target
from medic8.targets.registry import kind_named
from tests.local.broken_lab import Lab
from tests.targets.process.supervised import until

KIND = kind_named("process")

#: What is found of each fault: the finding's code.
EXPECTED = {
    "leaking_process": "growth.memory",
    "descriptor_leak": "growth.descriptors",
    "thread_leak": "growth.threads",
    "zombies": "activity.zombies",
    "restart_loop": "presence.restarts",
}

#: Long enough for a saw-tooth to have shown two teeth, and for twelve looks.
WATCH_S = 4.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not importlib.util.find_spec("supervisor"):
        assert not os.environ.get("CI")
        pytest.skip("supervisor is not installed")
    home = tmp_path_factory.mktemp("l")
    with scratch_valkey(tmp_path_factory.mktemp("server")) as server:
        found = Lab(server, home)
        try:
            yield found
        finally:
            found.reset()


def issues_of(url: str, folder: Path) -> list[Issue]:
    """The issues of the program at *url*, watched; the looks at once, since each takes its time."""
    target = Target(name="lab", kind="process", url=url, process=ProcessCare(warm_up_s=0))
    around = Surroundings(
        backups=BackupPlace.of(folder), now=datetime.now(UTC), watch_s=WATCH_S, claims=folder / "claims"
    )

    def take(name: str) -> DiagnosticResult | None:
        try:
            return KIND.diagnostics[name](target, around)
        except UnreachableError:  # one that ends again and again is not there at most moments
            return None

    with ThreadPoolExecutor(len(KIND.diagnostics)) as pool:
        results = [result for result in pool.map(take, KIND.diagnostics) if result is not None]
    found = detect_issues(analyze(results), KIND.rules, target="lab", at=around.now)
    return [issue for issue in found if issue.severity is not Severity.INFO]


def test_faults_of_a_process_are_found_and_what_only_looks_like_one_is_not(lab: Lab, tmp_path: Path) -> None:
    """All at the same time, each a program of its own: a leak is a leak also beside others."""
    names = [*EXPECTED, *(name for name, state in STATES.items() if state.part == "process")]
    with ThreadPoolExecutor(len(names)) as pool:
        breakages: list[Breakage] = list(pool.map(lab.make, names))
        found = list(pool.map(lambda each: issues_of(each.url, tmp_path), breakages))
    signs = {
        name: {sign for issue in issues for sign in issue.signs}
        for name, issues in zip(names, found, strict=True)
    }
    assert signs == {name: {EXPECTED[name]} if name in EXPECTED else set() for name in names}
    assert {name for name, fault in FAULTS.items() if fault.part == "process"} == {*EXPECTED, "cpu_hog"}
    alive = [actor for actor in recorded(lab.home) if actor.is_alive]
    assert len(alive) == len(names)
    lab.reset()
    assert not any(member.is_alive() for actor in alive for member in (actor.identity, *actor.family))


def test_a_hog_computes_in_a_group_of_its_own_and_the_target_leads_to_it(lab: Lab) -> None:
    """Whether it leaves nothing to others depends on what others do here."""
    breakage = lab.make("cpu_hog", 2)
    latest = Target(name="lab", kind="process", url=latest_address(lab.home / FOLDER))
    result = KIND.diagnostics["activity"](latest, Surroundings(BackupPlace.of(lab.home), datetime.now(UTC)))
    cores, threads = (result.reading(f"activity.{name}") for name in ("cores", "threads"))
    assert cores is not None
    assert threads is not None
    assert isinstance(cores.value, float)
    assert cores.value > 0
    assert threads.value == 3
    assert breakage.url != latest.address
    lab.reset()
    with pytest.raises(UnreachableError):
        KIND.diagnostics["presence"](latest, Surroundings(BackupPlace.of(lab.home), datetime.now(UTC)))


def test_page_cache_up_to_the_limit_of_a_group_is_no_want_of_memory(lab: Lab) -> None:
    """The group is full of files, and nothing is near its limit; left out where no group can be made."""
    breakage = lab.make("page_cache")
    target = Target(name="lab", kind="process", url=breakage.url, process=ProcessCare(warm_up_s=0))
    with process_of_target(target) as (process, _):
        group = next(groups_of(process.pid, "memory"), None)
    if group is None or not group.folder.name.startswith("medic8-lab-"):
        pytest.skip("no control group with a limit of memory can be made here")
    limit, used = ("memory.max", "memory.current") if group.is_second else _FIRST
    most = int((group.folder / limit).read_text())
    until(lambda: int((group.folder / used).read_text()) > 0.9 * most, "files fill the group", 60)
    result = KIND.diagnostics["memory"](target, Surroundings(BackupPlace.of(lab.home), datetime.now(UTC)))
    assert result.findings == ()
    lab.reset()
    assert not group.folder.exists()


_FIRST = ("memory.limit_in_bytes", "memory.usage_in_bytes")
