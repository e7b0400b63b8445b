"""What the lab does to the host is there, is found for what it is, and goes with a reset."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from medic8.backups.place import BackupPlace
from medic8.cli.lab_configuration import write_lab_configuration
from medic8.errors import RefusedError
from medic8.local.lab.actors import recorded
from medic8.local.lab.faults import FAULTS
from medic8.local.scratch import scratch_valkey
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.settings import load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from tests.local.broken_lab import Lab

KIND = kind_named("host")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    (tmp_path / "server").mkdir()
    with scratch_valkey(tmp_path / "server") as server:
        found = Lab(server, tmp_path / "home")
        try:
            yield found
        finally:
            found.reset()


def test_faults_of_the_host_are_found_and_batch_work_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    """All at once, seen by the target that the lab's own configuration has."""
    lab.home.mkdir(exist_ok=True)
    written = write_lab_configuration(lab.home, "valkey://127.0.0.1:1/0")
    target: Target = load_settings(written, environ={"MEDIC8_HOME": str(lab.home)}).target("lab-host")
    around = Surroundings(BackupPlace.of(tmp_path / "none"), datetime.now(UTC))

    def take(name: str) -> DiagnosticResult:
        return KIND.diagnostics[name](target, around)

    lab.make("full_queue")
    lab.make("batch_load")
    activity = take("activity")
    codes = {each.code for each in activity.findings}
    assert "network.accept_queue" in codes
    nice = activity.reading("processor.nice")
    assert nice is not None
    assert float(nice.value) > 0
    batch = next(actor for actor in recorded(lab.home) if actor.act == "batch")
    assert not any(str(each.pid) in str(activity.findings) for each in batch.family)
    disk = lab.home / "lab-actors" / "disk"
    if os.geteuid() == 0:
        breakage = lab.make("full_disk")
        assert str(disk) in breakage.what[0]
        (old,) = [each for each in take("files").findings if each.code == "files.old"]
        assert old.extent == 16
    else:
        with pytest.raises(RefusedError, match="only root may mount"):
            lab.make("full_disk")
    assert {name for name, fault in FAULTS.items() if fault.part == "host"} == {
        "full_queue",
        "full_disk",
        "connection_storm",
    }
    lab.reset()
    assert not os.path.ismount(disk)
    assert not any(each.is_alive() for each in batch.family)


def test_a_connection_storm_is_found_by_whom_it_turns_away(lab: Lab, tmp_path: Path) -> None:
    """Also where the program accepts: a plain client gets in between two waves, or a moment later."""
    broken = lab.make("connection_storm")
    target = Target(name="lab-host", kind="host", url="host:local")
    deadline_s, codes = time.monotonic() + 60, set[str]()
    while "network.accept_queue" not in codes and time.monotonic() < deadline_s:
        around = Surroundings(BackupPlace.of(tmp_path / "none"), datetime.now(UTC))
        codes = {each.code for each in KIND.diagnostics["activity"](target, around).findings}
    assert "network.accept_queue" in codes
    port = int(broken.what[0].split(" ")[1])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        assert client.recv(1) == b""  # it was accepted, and let go
    lab.reset()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
