"""
Break every fault of the lab and heal it, by the command line alone, and see whether the table says the truth.

    python -m tests.every_fault [FAULT ...]        (make every-fault)

It takes some twenty minutes for all of them, on a local stack of its own, and prints a line for each as it
goes. What is healed must be healed by what docs/lab.md names, with a yes to its plans alone; what is for a
person must show as some issue with advice, and the tests of the lab (tests/local) hold that its type is the
right one. Exit status 0 only if all of it is so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from medic8.local.lab.breakage import Fault
from medic8.local.lab.faults import FAULTS

_TARGETS = {"grid": "lab", "server": "lab-server", "process": "lab-process", "host": "lab-host"}

_AT_AN_ADDRESS = """
[[target]]
name = "{name}"
kind = "{kind}"
url = "{url}"
timeout_s = 3
{more}
"""

#: Shown only while one watches, or across diagnoses.
_WATCHED = {"growing_stream": "10", "leaking_process": "10", "descriptor_leak": "10", "thread_leak": "10"}

#: Connections are closed once they have been idle for as long as the lab's configuration says.
_PATIENCE_S = {"idle_clients": 62, "too_many_clients": 62}

_GOOD = {"resolved", "partly_resolved"}


class Site:
    """A local stack in a home of its own, and the command line on it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDIC8_"))
        } | {"MEDIC8_HOME": str(home)}

    def medic8(self, *words: str) -> tuple[int, str]:
        """The exit status of a command, and what it said."""
        command = [str(Path(sys.executable).with_name("medic8")), *words]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False, timeout=300
        )
        return done.returncode, done.stdout or done.stderr

    def asked(self, *words: str) -> dict[str, Any]:
        """What a command answers with ``--json``."""
        code, said = self.medic8(*words, "--json")
        try:
            return dict(json.loads(said))
        except json.JSONDecodeError:
            raise AssertionError(f"medic8 {' '.join(words)} ended with {code}: {said[-300:]}") from None

    def name_target(self, fault: Fault, broken: dict[str, Any]) -> str:
        """The target that meets *fault*; one at an address of its own is added to the configuration."""
        if not broken["url"] or fault.part in {"process", "host"}:
            return _TARGETS[fault.part if fault.part in _TARGETS else "server"]
        name = f"at-{len(self._file.read_text())}"
        issuers = [line.split()[4].rstrip(":") for line in broken["what"] if line.startswith("its issuer")]
        more = f'[target.request]\nca_file = "{issuers[0]}"' if issuers else ""
        kind, url = "endpoint" if fault.part == "endpoint" else "valkey", broken["url"]
        if fault.name == "diverged_replica":  # met where the primary names it
            more = f'replicas = ["{url}"]\nmode = "act"\nallow = ["{fault.healed_by}"]'
            url = self.asked("up", "--no-worker")["valkey_url"]
        with self._file.open("a") as file:
            file.write(_AT_AN_ADDRESS.format(name=name, kind=kind, url=url, more=more))
        return name

    @property
    def _file(self) -> Path:
        return self.home / "medic8.toml"


def tried(site: Site, fault: Fault) -> str:
    """
    What became of *fault*, in a few words.

    Raises:
        AssertionError: something else than the table says.
    """
    code, said = site.medic8("lab", "reset")
    assert code == 0, f"the lab cannot be reset: {said[-300:]}"
    if fault.healed_by == "restore_from_backup":
        site.medic8("backup", "create", "lab")
    broken = site.asked("lab", "break", fault.name, "--seed", "7")
    assert "fault" in broken, broken
    target = site.name_target(fault, broken)
    time.sleep(_PATIENCE_S.get(fault.name, 1))
    watch = ("--watch", _WATCHED[fault.name]) if fault.name in _WATCHED else ()
    report = site.asked("diagnose", target, *watch)
    if fault.name == "background_load":
        assert not report["issues"], report["issues"]
        return "nothing is wrong"
    assert report["issues"], f"{target} is {report['analysis']['health']}, and nothing was found"
    if fault.healed_by:
        return healed(site, fault, target)
    advice = [line for issue in report["issues"] for line in issue["advice"]]
    assert advice, "nothing is advised"
    return f"found: {report['issues'][0]['title']}; a person acts"


def healed(site: Site, fault: Fault, target: str) -> str:
    """How *fault* was healed, with a yes to plans of its strategy alone."""
    agreed: list[str] = []
    found: list[dict[str, Any]] = []
    for _ in range(3):
        treatment = site.asked("heal", target, *(word for each in agreed for word in ("--approve", each)))
        found = [each for each in treatment["resolutions"] if each["plan"]]
        ours = [each for each in found if each["plan"]["strategy"] == fault.healed_by]
        if any(each["outcome"] in _GOOD for each in ours):
            return f"{fault.healed_by}: {ours[-1]['outcome']}"
        asked = [each["reason"].rpartition("--approve ")[2].split()[0] for each in ours]
        agreed = [each for each in asked if len(each) >= 12]
    ends = [(each["plan"]["strategy"], each["outcome"], each["reason"][:120]) for each in found]
    raise AssertionError(f"not by {fault.healed_by}: {ends}")


def main(names: list[str]) -> int:
    """Try the faults called *names*, or all."""
    home = Path(tempfile.mkdtemp(prefix="every-fault-")) / "home"
    site, wrong = Site(home), 0
    try:
        code, said = site.medic8("up", "--no-worker")
        if code:
            sys.exit(said)
        for name in names or list(FAULTS):
            began_s = time.monotonic()
            try:
                said, mark = tried(site, FAULTS[name]), "as said"
            except (AssertionError, subprocess.TimeoutExpired, KeyError) as exc:
                said, mark, wrong = f"{type(exc).__name__}: {exc}", "WRONG", wrong + 1
            sys.stdout.write(f"{mark:8} {name:28} {time.monotonic() - began_s:5.0f} s  {said[:240]}\n")
            sys.stdout.flush()
        site.medic8("lab", "reset")
    finally:
        site.medic8("down")
        shutil.rmtree(home.parent, ignore_errors=True)
    sys.stdout.write(f"{len(names or FAULTS)} faults, {wrong} not as the table says\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
