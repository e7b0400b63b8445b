"""Diagnose as the product does, task by task, without a Prefect server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from benchmarks.accuracy.answers import without
from medic8.analysis.analyzer import UNREACHABLE, analyze
from medic8.errors import TransientError
from medic8.model.issue import Issue, Severity
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.safety.admission import admit
from medic8.settings import Settings, load_settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan
from tasks.detect import detect
from tasks.diagnose import failed_diagnostic, run_diagnostic

#: After a look one watches for so long, in every run of a kind alike. What grows in a process is told from a
#: saw-tooth only by who has seen some of its teeth.
_WATCH_S = {"process": 20.0}
_USUAL_WATCH_S = 4.0
_ATTEMPTS = 3


def configure(folder: Path, told: dict[str, Any], name: str) -> Settings:
    """
    A site with this one target, everything allowed on it; also for flows of this process.

    Args:
        folder: Of the measurement.
        told: What the side that breaks says of the target: kind, url, grid and site.
        name: How the target is called.
    """
    kind, site = told["kind"], told["site"]
    values = {
        "name": name,
        "kind": kind,
        "url": told["url"],
        "mode": "act",
        "allow": list(kind_named(kind).strategies),
        "timeout_s": site["timeout_s"],
        "grid": told["grid"],
    }
    lines = _table("[[target]]", values)
    limits = ({"name": limit, "warning": low, "error": high} for limit, low, high in site["threshold"])
    for each in limits:
        lines += _table("[[target.threshold]]", each)
    for header, table in _TABLES[kind](site):
        lines += _table(header, table)
    file = folder / "medic8.toml"
    file.write_text("\n".join(lines) + "\n")
    os.environ["MEDIC8_HOME"] = str(folder / "home")
    os.environ["MEDIC8_CONFIG"] = str(file)
    (folder / "home").mkdir(mode=0o700, exist_ok=True)
    return load_settings(file)


def _table(header: str, values: dict[str, Any]) -> list[str]:
    """A table in TOML, without what is not said: None, or empty."""
    told = ((name, value) for name, value in values.items() if value not in (None, "", [], ()))
    return ["", header, *(f"{name} = {json.dumps(value)}" for name, value in told)]


def _of_a_server(site: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, low, high in site["setting"]:
        yield "[[target.setting]]", {"name": name, "minimum": low, "maximum": high}
    for prefix, after in site["expiry"]:
        yield "[[target.expiry]]", {"prefix": prefix, "after": after}


def _of_an_endpoint(site: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "[target.request]", site["request"]
    if site["fail_over"]:
        yield "[target.fail_over]", site["fail_over"]


_TABLES: dict[str, Callable[[dict[str, Any]], Iterable[tuple[str, dict[str, Any]]]]] = {
    "grid": lambda _: (),
    "valkey": _of_a_server,
    "process": lambda site: [("[target.process]", site["process"])],
    "host": lambda site: [("[[target.prune]]", rule) for rule in site["prune"]],
    "endpoint": _of_an_endpoint,
}


def back_up(target: Target, site: Settings) -> None:
    """Write a verified backup, as the flow `back_up` does; nothing for kinds that are not backed up."""
    backups = kind_named(target.kind).backups
    if backups is not None:
        around = Surroundings(backups=site.backups, now=datetime.now(UTC))
        backups.create(target, around, is_full=False, prefix="", names=())


def diagnose(target: Target, site: Settings, watch_s: float = 0.0) -> DiagnosticReport:
    """What `flows.diagnose` does."""
    results: dict[str, DiagnosticResult] = {}
    at, began_s, diagnosis = datetime.now(UTC), time.monotonic(), uuid4().hex
    for names in kind_named(target.kind).turns:
        with ThreadPoolExecutor(len(names)) as pool:
            looks = [pool.submit(_looked, target, name, site, watch_s, diagnosis) for name in names]
        results |= {name: look.result() for name, look in zip(names, looks, strict=True)}
        if any(finding.code == UNREACHABLE for name in names for finding in results[name].findings):
            break
    analysis = analyze(results.values())
    issues = detect.fn(target, analysis, results, at, watch_s)
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=at,
        duration_s=time.monotonic() - began_s,
    )


class Found(NamedTuple):
    """
    What one sees who looks, and then watches.

    Attributes:
        look: The first report.
        watch: The second, which looks at all that a look looks at.
        seen_s: After how many seconds anything had been found; None = nothing was.
    """

    look: DiagnosticReport
    watch: DiagnosticReport
    seen_s: float | None

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Those of the watch, and after them what only the look found: nobody forgets it within seconds."""
        known = {each.fingerprint for each in self.watch.issues}
        return (*self.watch.issues, *(each for each in self.look.issues if each.fingerprint not in known))


def found(
    target: Target, site: Settings, before: Collection[str] = (), *, watch_s: float | None = None
) -> Found:
    """
    A look, and then a watch whatever it found, since what shows at once hides what shows in a watch alone.

    Args:
        target: What to look at.
        site: Its configuration.
        before: Codes of findings that are left out.
        watch_s: For how long to watch; None = as all of the kind are watched.
    """
    watch_s = watch_of(target.kind) if watch_s is None else watch_s
    began_s = time.monotonic()
    look = without(diagnose(target, site), before)
    seen_s = time.monotonic() - began_s
    watch = without(diagnose(target, site, watch_s), before)
    if not has_found(look):
        seen_s = time.monotonic() - began_s
    return Found(look, watch, seen_s if has_found(look) or has_found(watch) else None)


def watch_of(kind: str) -> float:
    """For so many seconds a target of *kind* is watched."""
    return _WATCH_S.get(kind, _USUAL_WATCH_S)


def has_found(report: DiagnosticReport) -> bool:
    """Whether anything is more than worth knowing."""
    return any(each.severity is not Severity.INFO for each in report.analysis.findings)


def would_treat(seen: Found, target: Target) -> list[str]:
    """The strategies that would be carried out by either report without anybody being asked."""
    kind, named = kind_named(target.kind), dict[str, None]()
    for report in (seen.look, seen.watch):
        for issue in report.issues:
            plan = choose_plan(kind, issue, report, target)
            if plan is not None and plan.units and admit(plan, target).is_granted:
                named[plan.strategy] = None
    return list(named)


def _looked(target: Target, name: str, site: Settings, watch_s: float, diagnosis: str) -> DiagnosticResult:
    for _ in range(_ATTEMPTS - 1):
        with suppress(TransientError):
            return run_diagnostic.fn(target, name, site, watch_s, diagnosis)
    try:
        return run_diagnostic.fn(target, name, site, watch_s, diagnosis)
    except Exception as exc:  # noqa: BLE001 - as the flow has it: a finding, not the end
        return failed_diagnostic(name, exc)
