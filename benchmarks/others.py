"""Programs of other people that ours are measured against, each in a virtual environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

#: What is installed for each, pinned so that numbers can be compared later.
PACKAGES = {
    "ansible-rulebook": ("ansible-rulebook==1.3.2", "ansible-core==2.19.14", "ansible-runner==2.4.3"),
    "dbos": ("dbos==3.4.0",),
}

_PATIENCE_S = 600


class LeftOutError(Exception):
    """It cannot be had here; the reason is for the table."""


def cache_folder() -> Path:
    """Where the environments are kept: ``$MEDIC8_BENCH_CACHE``, else in the user's caches."""
    if chosen := os.environ.get("MEDIC8_BENCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medic8-bench"


def python_of(name: str) -> Path:
    """
    The Python of the environment of *name*, made on first use.

    Raises:
        LeftOutError: it cannot be installed; why.
    """
    room = cache_folder() / f"{name}-{sys.version_info[0]}.{sys.version_info[1]}"
    python, whole = room / "bin" / "python", room / "installed"
    wanted = "\n".join(PACKAGES[name])
    if whole.exists() and whole.read_text() == wanted:
        return python
    print(f"installing {', '.join(PACKAGES[name])} into {room}", file=sys.stderr, flush=True)
    shutil.rmtree(room, ignore_errors=True)
    try:
        venv.create(room, with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]],
            check=True,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
    except (OSError, subprocess.SubprocessError) as exc:
        said = str(getattr(exc, "stderr", "") or exc).strip().splitlines()[-1:]
        raise LeftOutError(f"{name} cannot be installed: {' '.join(said)[:200]}") from exc
    whole.write_text(wanted)
    return python


def java() -> Path:
    """
    The Java that the rules of ansible-rulebook run in.

    Raises:
        LeftOutError: there is none.
    """
    found = shutil.which("java")
    if found is None:
        raise LeftOutError("ansible-rulebook needs Java: apt-get install default-jre-headless")
    return Path(found).resolve()
