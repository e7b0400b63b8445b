"""A lab of the tests' own: a server, a home for the actors, and a diagnosis of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from medic8.analysis.analyzer import UNREACHABLE, analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import TransientError, UnreachableError
from medic8.local.lab.actors import Troupe, end_all
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Breakage, make
from medic8.local.lab.clearing import clear, rouse
from medic8.local.lab.faults import FAULTS
from medic8.local.lab.states import STATES
from medic8.local.scratch import ScratchValkey
from medic8.model.issue import Finding, Issue, Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from medic8.targets.valkey.client import connection

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)


def until(is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so."""
    deadline = time.monotonic() + 60
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@dataclass
class Lab:
    """A server that can be broken."""

    server: ScratchValkey
    home: Path

    def make(self, name: str, strength: int | None = None) -> Breakage:
        """Bring a fault or a state about."""
        with connection(self.server.url, name="medic8-lab") as client:
            bench = Bench(client, "lab", (), Troupe(self.home, self.server.url))
            return make(FAULTS.get(name) or STATES[name], bench, target="lab", seed=1, strength=strength)

    def reset(self) -> tuple[str, ...]:
        """What ``medic8 lab reset`` does to the server."""
        lines = (*end_all(self.home), *rouse(self.server.url))
        with connection(self.server.url, name="medic8-lab") as client:
            return (*lines, *clear(client))

    def issues(
        self,
        url: str = "",
        *,
        kind: str = "valkey",
        one_by_one: bool = False,
        timeout_s: float = 5.0,
        watch_s: float = 0.0,
        now: datetime = NOW,
    ) -> list[Issue]:
        """The issues that a diagnosis finds, but for what is only worth knowing."""
        looked_at = kind_named(kind)
        around = replace(AROUND, watch_s=watch_s, now=now)
        target = Target(name="lab", kind=kind, url=url or self.server.url, timeout_s=timeout_s)

        def take(name: str) -> DiagnosticResult:
            try:
                return looked_at.diagnostics[name](target, around)
            except UnreachableError as exc:
                gone = Finding(code=UNREACHABLE, severity=Severity.CRITICAL, text=str(exc))
                return DiagnosticResult(diagnostic=name, findings=(gone,), taken_at=NOW)
            except TransientError:  # tried again in life; here it has seen nothing
                return DiagnosticResult(diagnostic=name, taken_at=NOW)

        with ThreadPoolExecutor(1 if one_by_one else len(looked_at.diagnostics)) as pool:
            results = list(pool.map(take, looked_at.diagnostics))
        found = detect_issues(analyze(results), looked_at.rules, target="lab", at=NOW)
        return [issue for issue in found if issue.severity is not Severity.INFO]
