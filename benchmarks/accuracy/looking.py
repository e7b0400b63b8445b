"""Diagnose as the product does, task by task, without a Prefect server."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medic8.analysis.analyzer import UNREACHABLE, analyze
from medic8.errors import TransientError
from medic8.model.issue import Severity
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.target import Target
from medic8.safety.admission import admit
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from medic8.targets.treatment import choose_plan
from medic8.targets.valkey.policy import SETTABLE
from tasks.detect import detect
from tasks.diagnose import failed_diagnostic, run_diagnostic

#: Where one look found nothing, one watches for so long, in every run alike.
WATCH_S = 4.0
_ATTEMPTS = 3


def configure(folder: Path, ready: dict[str, Any], name: str, url: str) -> Settings:
    """A site with this one target, everything allowed on it; also for flows of this process."""
    kind = "grid" if ready["grid"] else "valkey"
    lines = [
        "[[target]]",
        f'name = "{name}"',
        f'kind = "{kind}"',
        f'url = "{url}"',
        'mode = "act"',
        f"allow = {json.dumps(list(kind_named(kind).strategies))}",
        f"timeout_s = {ready['timeout_s']}",
    ]
    if kind == "grid":
        lines.append(f'grid = "{ready["grid"]}"')
    # A range for a setting that may not be set by itself is none that a site can have configured.
    allowed = [each for each in ready["setting"] if kind == "valkey" and each[0] in SETTABLE]
    for setting, low, high in allowed:
        lines += ["", "[[target.setting]]", f'name = "{setting}"']
        lines += [f"minimum = {low}"] if low is not None else []
        lines += [f"maximum = {high}"] if high is not None else []
    for prefix, after in ready["expiry"] if kind == "valkey" else ():
        lines += ["", "[[target.expiry]]", f'prefix = "{prefix}"', f"after = {after}"]
    file = folder / "medic8.toml"
    file.write_text("\n".join(lines) + "\n")
    os.environ["MEDIC8_HOME"] = str(folder / "home")
    os.environ["MEDIC8_CONFIG"] = str(file)
    (folder / "home").mkdir(mode=0o700, exist_ok=True)
    return load_settings(file)


def diagnose(target: Target, site: Settings, watch_s: float = 0.0) -> DiagnosticReport:
    """What `flows.diagnose` does."""
    results: dict[str, DiagnosticResult] = {}
    at, began_s = datetime.now(UTC), time.monotonic()
    for name in kind_named(target.kind).diagnostics:
        results[name] = _looked(target, name, site, watch_s)
        if any(finding.code == UNREACHABLE for finding in results[name].findings):
            break
    analysis = analyze(results.values())
    issues = detect.fn(target, analysis, results, at)
    return DiagnosticReport(
        target=target.name,
        kind=target.kind,
        results=results,
        analysis=analysis,
        issues=issues,
        taken_at=at,
        duration_s=time.monotonic() - began_s,
    )


def found(target: Target, site: Settings) -> DiagnosticReport:
    """One look; and if nothing is wrong, a watch."""
    report = diagnose(target, site)
    return report if has_found(report) else diagnose(target, site, WATCH_S)


def has_found(report: DiagnosticReport) -> bool:
    """Whether anything is more than worth knowing."""
    return any(each.severity is not Severity.INFO for each in report.analysis.findings)


def would_treat(report: DiagnosticReport, target: Target) -> list[str]:
    """The strategies that would be carried out now without anybody being asked."""
    kind, named = kind_named(target.kind), []
    for issue in report.issues:
        plan = choose_plan(kind, issue, report, target)
        if plan is not None and plan.units and admit(plan, target).is_granted:
            named.append(plan.strategy)
    return named


def _looked(target: Target, name: str, site: Settings, watch_s: float) -> DiagnosticResult:
    for _ in range(_ATTEMPTS - 1):
        with suppress(TransientError):
            return run_diagnostic.fn(target, name, site, watch_s)
    try:
        return run_diagnostic.fn(target, name, site, watch_s)
    except Exception as exc:  # noqa: BLE001 - as the flow has it: a finding, not the end
        return failed_diagnostic(name, exc)
