"""Move files into quarantine that may go, and delete those that have been there long enough."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import PruneRule, Target
from medic8.model.wording import counted, size, span
from medic8.targets.host.acts.files import DELETE_FILE, MOVE_FILE, OneFile
from medic8.targets.planning import objects_of, plan_of

PRUNE_FILES, EMPTY_QUARANTINE = "prune_files", "empty_quarantine"


def plan_prune(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to move files into quarantine that the configuration lets go.

    Each is a unit that proves itself, so that what is moved stands although one that is open stops the rest.
    Nothing is freed by it before the time in quarantine is over, which the plan says.
    """
    files = [OneFile.model_validate(each) for each in objects_of(issue, report, "files.old")]
    rule = _rule_of(files, target)
    more = issue.extent - len(files)
    if rule is None:
        return _nothing(PRUNE_FILES, issue, target)
    return plan_of(
        PRUNE_FILES,
        issue,
        target,
        _units("quarantine", [_move(each) for each in files]),
        summary=f"Move {counted(len(files), 'file')} of {rule.folder} ({_together(files)}) into quarantine. "
        f"That frees nothing at once: they can be brought back for {span(rule.keep)}, and are {_then(rule)}.",
        nothing="",
        risk=Risk.MEDIUM,
        left_open=(
            *((f"{more:,} more files of {rule.folder} may go: heal again",) if more > 0 else ()),
            f"their room, which is free once the quarantine is emptied, in {span(rule.keep)} at the earliest",
        ),
    )


def plan_empty(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to delete files whose time in quarantine is over; each by itself, since none comes back."""
    files = [OneFile.model_validate(each) for each in objects_of(issue, report, "files.overdue")]
    rule = _rule_of(files, target)
    more = issue.extent - len(files)
    if rule is None:
        return _nothing(EMPTY_QUARANTINE, issue, target)
    agreed = " The configuration agrees to it." if rule.delete else ""
    return plan_of(
        EMPTY_QUARANTINE,
        issue,
        target,
        _units("deletion", [_delete(each) for each in files]),
        summary=f"Delete {counted(len(files), 'file')} of {rule.folder} for good, in quarantine for over "
        f"{span(rule.keep)}: that frees {_together(files)}.{agreed}",
        nothing="",
        risk=Risk.HIGH,
        left_open=(f"{more:,} more files of {rule.folder} are overdue: heal again",) if more > 0 else (),
    )


def is_agreed(plan: Plan, target: Target) -> bool:
    """Whether the configuration agrees to all that *plan* deletes."""
    agreed = {rule.folder for rule in target.prune if rule.delete}
    steps = [step for unit in plan.units for step in unit.steps]
    return all(step.action == DELETE_FILE and OneFile.of(step).folder in agreed for step in steps)


def _units(what: str, steps: list[Step]) -> list[Unit]:
    return [Unit(title=f"{what} of {step.touches}", steps=(step,), proves_itself=True) for step in steps]


def _nothing(strategy: str, issue: Issue, target: Target) -> Plan:
    return plan_of(strategy, issue, target, [], summary="", nothing="No file of a configured folder may go.")


def _rule_of(files: list[OneFile], target: Target) -> PruneRule | None:
    return next((rule for rule in target.prune if files and rule.folder == files[0].folder), None)


def _together(files: list[OneFile]) -> str:
    return size(sum(each.size for each in files))


def _then(rule: PruneRule) -> str:
    return (
        "then deleted, which frees it"
        if rule.delete
        else "deleted then, once a person agrees, which frees it"
    )


def _move(file: OneFile) -> Step:
    return Step(
        title=f"move {file.called} into quarantine",
        action=MOVE_FILE,
        arguments=file.model_dump(),
        touches=f"file {file.called}",
    )


def _delete(file: OneFile) -> Step:
    return Step(
        title=f"delete {file.called} from quarantine",
        action=DELETE_FILE,
        arguments=file.model_dump(),
        touches=f"file {file.called} in quarantine",
        step_class=StepClass.ONE_WAY,
    )
