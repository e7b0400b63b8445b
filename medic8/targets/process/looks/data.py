"""Whether the process holds data that a restart may lose, and what proves that it can be brought back."""

from __future__ import annotations

from pathlib import PurePosixPath

from medic8.analysis.judging import over
from medic8.errors import ConfigurationError, Medic8Error, RefusedError
from medic8.model.backup import BackupManifest
from medic8.model.issue import Evidence, Finding
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.model.wording import moment, shown, span
from medic8.targets.kind import Backups, Surroundings
from medic8.targets.process.found import care_of
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import Living, UntoldError
from medic8.targets.process.looks.looking import Look, of_a_process
from medic8.targets.process.looks.taken_over import is_told_who_took_over, why_not_taken_over
from medic8.targets.process.policy import DATA_SERVERS, policy_of

#: The kernel keeps so much of a program's name.
_SHORT = 15

#: The kinds whose backups may hold the data of a process.
_KINDS = ("valkey", "grid")


def is_data_server(target: Target, process: Living) -> bool:
    """Whether *process* holds data that a restart may lose: as configured, else by what it runs."""
    holds_data = care_of(target).holds_data
    if holds_data is not None:
        return holds_data
    try:
        program = process.executable()
    except UntoldError:
        program = process.stat().name
    return PurePosixPath(program).name in {*DATA_SERVERS, *(each[:_SHORT] for each in DATA_SERVERS)}


class Newest:
    """
    The newest complete backup of the data of a process.

    Attributes:
        of: The target that it was made of.
        backups: How its kind verifies backups.
        manifest: What it says of itself.
    """

    def __init__(self, of: Target, backups: Backups, manifest: BackupManifest) -> None:
        self.of = of
        self.backups = backups
        self.manifest = manifest

    def age_s(self, around: Surroundings) -> float:
        """How old it is."""
        return (around.now - self.manifest.created_at).total_seconds()


def newest_backup(target: Target, around: Surroundings) -> Newest | None:
    """
    The newest complete backup of the target that the configuration names; None if there is none.

    Raises:
        ConfigurationError: the backups cannot be reached.
    """
    from medic8.targets.registry import kind_named  # noqa: PLC0415 - it imports the kinds

    name = care_of(target).backups_of
    found = []
    for kind in _KINDS if name else ():
        of = Target(name=name or "", kind=kind, url="valkey://localhost")
        backups = kind_named(kind).backups
        if backups is None:
            continue
        listed = backups.repository(of, around.backups).list(around.now).backups
        found += [Newest(of, backups, each) for each in listed if each.is_complete and each.is_of_all]
    return max(found, key=lambda each: each.manifest.created_at, default=None)


def require_data_is_safe(target: Target, process: Living, around: Surroundings) -> None:
    """
    See that a restart of *process* loses nothing for good.

    Another server has taken over from it; else every byte of the newest backup is read.

    Raises:
        RefusedError: it holds data, no other server took over, and no fresh backup proves itself.
    """
    if not is_data_server(target, process):
        return
    if is_told_who_took_over(target):
        if not (why := why_not_taken_over(target, process)):
            return
        if care_of(target).backups_of is None:
            raise RefusedError(f"the process holds data, and {why}")
    try:
        newest = newest_backup(target, around)
    except Medic8Error as exc:
        raise RefusedError(f"the process holds data, and its backups cannot be read: {exc}") from exc
    if newest is None:
        raise RefusedError(f"the process holds data, and {why_no_backup(target)}")
    age_s = newest.age_s(around)
    limit = policy_of(target).backup_age.cautious
    if limit.severity(age_s) is not None:
        raise RefusedError(
            f"the process holds data, and its newest complete backup is {span(age_s)} old; the limit is "
            f"{span(limit.warning or 0)}"
        )
    report = newest.backups.verify(newest.of, around, newest.manifest)
    if not report.is_sound:
        raise RefusedError(
            f"the process holds data, and its newest backup {newest.manifest.id} does not prove itself"
        )


def why_no_backup(target: Target) -> str:
    """Why no backup of its data is known."""
    name = care_of(target).backups_of
    return (
        f"target {name} has no complete backup"
        if name
        else 'no "backups_of" names the target that backs it up'
    )


def _look(look: Look, target: Target, process: Living, kept: Kept) -> DiagnosticResult:
    """Tell whether it holds data, whether another server took over, and how old its newest backup is."""
    del kept
    holds = is_data_server(target, process)
    if not holds:
        return look.result((reading("data.held", value=False),))
    why_not = why_not_taken_over(target, process) if is_told_who_took_over(target) else None
    try:
        newest = newest_backup(target, look.around)
    except (ConfigurationError, RefusedError) as exc:
        look.unseen.append(f"backups of its data: {shown(str(exc), 200)}")
        newest = None
    return look.result(
        (
            reading("data.held", value=True),
            reading("data.taken_over", None if why_not is None else not why_not),
            reading("data.not_taken_over", why_not or None),
            reading("data.backup", newest.manifest.id if newest else why_no_backup(target)),
            reading("data.backup_age", round(newest.age_s(look.around)) if newest else None, "seconds"),
        ),
        judge_backup(target, newest, look.around) if newest else (),
    )


def judge_backup(target: Target, newest: Newest, around: Surroundings) -> tuple[Finding, ...]:
    """Whether the newest backup is too old for a restart."""
    return over(
        "data.backup_old",
        policy_of(target).backup_age,
        newest.age_s(around),
        "the newest complete backup of its data is {seen} old",
        about="backups",
        also=(Evidence(what="made", seen=moment(newest.manifest.created_at)),),
        advice=(f"medic8 backup create {newest.of.name}",),
    )


look_at_data = of_a_process("data", _look)
