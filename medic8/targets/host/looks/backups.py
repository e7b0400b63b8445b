"""Medic8's own backups on this host, of all targets, that the site's retention does not keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medic8.analysis.judging import fact
from medic8.backups.repository import Repository
from medic8.backups.storage import local_folder
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import counted
from medic8.targets.host.acts.backups import RemoveBackups, not_kept
from medic8.targets.host.folders import opened
from medic8.targets.host.looks.files import Filled, filled
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.policy import POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named, kind_names

#: Most targets whose backups are looked at.
_MOST = 100


def look_at_backups(target: Target, around: Surroundings) -> DiagnosticResult:
    """Read the manifests of all backups on this host, and how full their file system is."""
    machine = here(target)
    folder = local_folder(around.backups.url)
    if folder is None or not folder.is_dir():
        return result("backups", around, machine)
    findings, count = list[Finding](), 0
    try:
        with opened(str(folder.resolve())) as held:
            how_full = filled(held)
        for kind, name in _all_in(folder):
            found = not_kept(Repository(around.backups, kind, name), around.backups, around.now)
            count += len(found)
            findings += judge_backups(kind, name, found, how_full, policy=policy_of(target))
    except (RefusedError, ConfigurationError) as exc:
        machine.unseen.append(f"backups: {exc}")
    return result("backups", around, machine, (reading("backups.not_kept", count, "count"),), findings)


def _all_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that is backed up in *folder*."""
    kinds = [
        name for name in kind_names() if (folder / name).is_dir() and kind_named(name).backups is not None
    ]
    every = sorted((kind, each.name) for kind in kinds for each in (folder / kind).iterdir() if each.is_dir())
    yield from every[:_MOST]


def judge_backups(
    kind: str, name: str, found: tuple[str, ...], how_full: Filled, *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """Backups that retention does not keep, if their file system is crowded."""
    if not found or not how_full.is_crowded(policy):
        return ()
    return fact(
        "backups.not_kept",
        Severity.WARNING,
        f"{counted(len(found), 'backup')} of {kind} {name} are kept by no rule of retention",
        about=f"backups of {kind} {name}",
        evidence=(
            Evidence(what="used on their file system", seen=how_full.in_words, limit=policy.crowded.limits),
        ),
        advice=("medic8 backup prune TARGET --dry-run   # what would go",),
        objects=(RemoveBackups(kind=kind, name=name, backups=found).model_dump(mode="json"),),
        extent=len(found),
    )
