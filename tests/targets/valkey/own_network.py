"""Run a program in a network namespace of its own, where addresses and packets are its own as well."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

#: What a program ends with where the kernel does not let it do that.
NOT_HERE = 77


def alone(module: str) -> str:
    """What *module* writes, run in a network of its own; skips the test where there can be none."""
    command = ["unshare", *(["--map-root-user"] if os.geteuid() else []), "--net"]
    if shutil.which(command[0]) is None or subprocess.run([*command, "true"], check=False).returncode:
        pytest.skip("no network namespace can be made")
    answer = subprocess.run(
        [*command, sys.executable, "-m", module],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    if answer.returncode == NOT_HERE:
        pytest.skip(answer.stderr.strip())
    assert not answer.returncode, answer.stderr
    return answer.stdout


def set_up(*commands: str) -> None:
    """Run *commands* as root of this network, or end with `NOT_HERE`."""
    for command in ("ip link set lo up", *commands):
        program, *words = command.split()
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if found is None or subprocess.run([found, *words], check=False).returncode:
            sys.stderr.write(f"not in a network of its own: {command}")
            sys.exit(NOT_HERE)
