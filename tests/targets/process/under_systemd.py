"""
Diagnose and restart a service of a real systemd, and print what came of it.

Run in a mount namespace of its own, where /run says that systemd has booted the system: a user's manager
starts nowhere else. Beside that nothing of the machine is touched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from medic8.backups.place import BackupPlace
from medic8.model.target import ProcessCare, Target
from medic8.recovery.journal import Journal
from medic8.targets.kind import Surroundings
from medic8.targets.process.keepers.keeper import KeptState
from medic8.targets.process.keepers.systemd import Systemd
from medic8.targets.process.naming import Unit
from tests.recovery.memory import AT
from tests.targets.process.diagnosed import carried_out, leaking, plan_of, report_on
from tests.targets.process.supervised import until

NAME = "medic8-test.service"

_UNIT = """
[Service]
ExecStart=/bin/sleep 4711
Environment=SECRET=hush
LimitNOFILE=512
Restart=always
"""


def main() -> None:
    """Prepare /run, start the manager and the service, restart it as a strategy does."""
    subprocess.run(["/bin/mount", "-t", "tmpfs", "none", "/run"], check=True)
    for folder in ("systemd/system", "xdg"):
        (Path("/run") / folder).mkdir(parents=True)
    Path("/run/xdg").chmod(0o700)
    with tempfile.TemporaryDirectory() as home:
        units = Path(home) / ".config/systemd/user"
        units.mkdir(parents=True)
        (units / NAME).write_text(_UNIT)
        os.environ |= {"HOME": home, "XDG_RUNTIME_DIR": "/run/xdg"}
        manager = subprocess.Popen(
            ["/lib/systemd/systemd", "--user"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until(Path("/run/xdg/systemd/private").exists, "systemd is there")
            print(json.dumps(_restarted(Path(home))))  # noqa: T201 - it is read by a test
        finally:
            manager.terminate()
            manager.wait(timeout=60)


def _restarted(folder: Path) -> dict[str, object]:
    keeper = Systemd(Unit(NAME, is_users=True), timeout_s=5)
    keeper.start({})
    until(lambda: keeper.look().state is KeptState.RUNS, "the service runs")
    before = keeper.look()
    target = Target(
        name="web", kind="process", url=f"systemd+user:{NAME}", process=ProcessCare(timeout_s=10, warm_up_s=0)
    )
    around = Surroundings(backups=BackupPlace.of(folder), now=AT, claims=folder / "claims")
    time.sleep(0.05)  # a process is told by the clock tick of its start
    report = report_on(target, around, leaking(), looks=("presence", "data"))
    plan = plan_of("restart_process", target, report, "growth.memory")
    journal = Journal(f"sqlite:///{folder}/journal.sqlite")
    ended = carried_out(journal, target, around, plan, folder / "saved")
    after = keeper.look()
    return {
        "state": ended.state.value,
        "is_another": before.pid != after.pid,
        "says": after.says,
        "environment": "SECRET=hush" in Path(f"/proc/{after.pid}/environ").read_text().split("\0"),
        "unknown": _unknown(),
    }


def _unknown() -> str:
    try:
        Systemd(Unit("nobody.service", is_users=True), timeout_s=5).look()
    except Exception as exc:  # noqa: BLE001 - the test says which it must be
        return f"{type(exc).__name__}: {exc}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
