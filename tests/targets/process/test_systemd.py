"""A service is restarted by systemd itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SYSTEMD = Path("/lib/systemd/systemd")

#: A manager moves every process that it sees at the root of the control groups: it must see none of ours.
_APART = ("/usr/bin/unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")


def _missing() -> str:
    if not _SYSTEMD.exists() or shutil.which("systemctl") is None:
        return "systemd is not installed"
    if os.geteuid() or shutil.which("unshare") is None:
        return "only root may have a /run of its own"
    tried = subprocess.run([*_APART, "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "no namespaces of mounts and processes can be made"


def test_a_service_is_restarted_by_systemd_with_what_it_had() -> None:
    """A manager of its own is started for that; where it cannot be, this is left out, also in CI."""
    if missing := _missing():
        pytest.skip(missing)
    root = Path(__file__).parents[3]
    groups = Path("/proc/self/cgroup").read_text()
    done = subprocess.run(
        [*_APART, sys.executable, "-m", "tests.targets.process.under_systemd"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path("/proc/self/cgroup").read_text() == groups
    assert json.loads(done.stdout) == {
        "state": "healthy",
        "is_another": True,
        "says": "active running success",
        "environment": True,
        "unknown": "UnreachableError: systemd has no unit nobody.service: it is not-found",
    }
