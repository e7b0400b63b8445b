"""Treat one issue; each run is one resolution (guide: ``IssueResolver.resolve_issue``)."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.diagnose import report_on
from flows.recover import recover
from flows.returned import returned
from medic8.analysis import ending
from medic8.analysis.ending import Ending
from medic8.errors import ChangedError, RefusedError
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate
from medic8.model.recovery import RecoveryResult
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome, Resolution
from medic8.model.target import Target
from medic8.recovery.admitting import PolicyError
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.recovery.resolutions import RESOLVE
from medic8.recovery.retention import kept_until_of
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from tasks.admit import admit, ask_rules, silence
from tasks.approvals import ask_for_approval, note_approval
from tasks.index import in_state, note_begun
from tasks.plan import plan_treatment
from tasks.track import show_plan, track, untagged

#: Outcomes after which somebody should look.
_FAILED = (Outcome.RESTORED, Outcome.NEEDS_PERSON)


@flow(
    name=RESOLVE,
    flow_run_name="resolve {issue.issue_type.value} of {target}",
    persist_result=True,
    result_serializer="json",
)
def resolve(
    target: str,
    issue: Issue,
    plan: Plan | None,
    before: DiagnosticReport,
    dry_run: bool = False,
    approved: list[str] | None = None,
    mandate: Mandate | None = None,
) -> State[Resolution]:
    """
    Carry out a plan for one issue if it is admitted, and track what came of it.

    Args:
        target: The target's name in the configuration.
        issue: What is wrong.
        plan: What to do; None or without steps if no strategy helps.
        before: The diagnosis that found the issue.
        dry_run: Walk the same road up to the decision, and change nothing.
        approved: Digests of plans that a person agreed to; without, no plan that cannot be taken back is
            carried out.
        mandate: On whose behalf; none = a person's.
    """
    site = load_settings()
    subject = site.target(target)
    mandate = mandate or Mandate()
    began = datetime.now(UTC)
    note_begun(site, began, subject, issue, plan.strategy if plan else "")
    with untagged():
        ended = _treat(subject, issue, plan, site, approved or [], mandate, dry_run=dry_run)
    compare = kind_named(subject.kind).compare
    resolution = Resolution(
        target=target,
        kind=subject.kind,
        issue=issue,
        plan=plan,
        changes=compare(before, ended.after) if ended.after else (),
        mandate=mandate,
        kept_until=kept_until_of(Journal(site.journal_url), ended.recovery, site.keep)
        if ended.recovery
        else None,
        started_at=began,
        ended_at=datetime.now(UTC),
        **dict(ended),
    )
    with untagged():
        track(resolution, flow_run.get_id() or "", site)
    state = Failed if resolution.outcome in _FAILED else Completed
    return state(name=in_state(resolution.outcome), message=resolution.reason, data=resolution)


def _treat(
    target: Target,
    issue: Issue,
    plan: Plan | None,
    site: Settings,
    approved: list[str],
    mandate: Mandate,
    *,
    dry_run: bool,
) -> Ending:
    if plan is None or not plan.units:
        return ending.unsupported(issue, plan)
    show_plan(plan)
    admission = admit(plan, target, approved)
    if dry_run:
        refusal = ask_rules(target, issue, site, mandate) if admission.is_granted else None
        objection = admission.reason if refusal is None else f"{refusal.rule}: {refusal.reason}"
        return ending.planned(plan, objection, waits_for_approval=admission.waits_for_approval)
    if not admission.is_granted:
        if admission.waits_for_approval:
            return _ask(plan, issue, mandate, admission.reason, site)
        return ending.refused(admission.reason)
    agreed = note_approval(plan, approved, mandate, site)
    result = _recover(target, plan, issue, mandate)
    if isinstance(result, ChangedError) or (isinstance(result, RecoveryResult) and result.was_outdated):
        # Once only: a target that changes faster than it can be planned for is not ours to chase.
        renewed = plan_treatment(
            target, issue, report_on(target, site, issue.watched_s), approved=tuple(approved)
        )
        if renewed is not None and renewed.strategy == plan.strategy and renewed.units:
            # A yes to the first plan is none to this one.
            admission = admit(renewed, target, approved)
            if admission.waits_for_approval and isinstance(result, RefusedError):
                return _ask(renewed, issue, mandate, admission.reason, site)
            if not admission.is_granted:
                result = _with_reason(result, admission.reason)
            else:
                result = _recover(target, renewed, issue, mandate)
    if isinstance(result, RefusedError):
        ended = ending.refused(str(result), result.refusal if isinstance(result, PolicyError) else None)
    else:
        ended = ending.of_recovery(result, issue)
    return ended.model_copy(update={"approval": agreed})


def _ask(plan: Plan, issue: Issue, mandate: Mandate, reason: str, site: Settings) -> Ending:
    return ask_for_approval(plan, issue, mandate, flow_run.get_id() or "", reason, site)


def _with_reason(result: RecoveryResult | RefusedError, reason: str) -> RecoveryResult | RefusedError:
    if isinstance(result, RefusedError):
        return RefusedError(reason)
    return result.model_copy(update={"reason": f"{result.reason}; {reason}"})


def _recover(target: Target, plan: Plan, issue: Issue, mandate: Mandate) -> RecoveryResult | RefusedError:
    try:
        return returned(
            recover(target.name, plan, issue, flow_run.get_id() or "", mandate, return_state=True),
            RecoveryResult,
        )
    except RefusedError as exc:
        return exc
    except SilentError as exc:
        # It is raised only as long as nothing is begun: later it is told that a recovery is open.
        return PolicyError(silence(exc))
