"""Undo, as a recovery of its own, what an earlier recovery did."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.recover import recover
from flows.returned import returned
from medic8.analysis import ending, ending_of_undo
from medic8.analysis.ending import Ending
from medic8.errors import ChangedError, RefusedError
from medic8.model.plan import Plan
from medic8.model.policy import Mandate, Origin
from medic8.model.recovery import Recovery, RecoveryResult
from medic8.model.resolution import Outcome, Resolution
from medic8.model.target import Target
from medic8.recovery import ended, later, retention
from medic8.recovery.admitting import PolicyError
from medic8.recovery.journal import Journal
from medic8.recovery.resolutions import UNDO
from medic8.safety.admission import admit_undo
from medic8.settings import Settings, load_settings
from tasks.index import in_state, note_begun
from tasks.origin import origin_of_run
from tasks.tell import sign
from tasks.track import show_plan, tag, tags_of, track, untagged
from tasks.undo_later import plan_undo

#: Outcomes after which somebody should look.
_FAILED = (Outcome.RESTORED, Outcome.NEEDS_PERSON)


@flow(
    name=UNDO,
    flow_run_name="undo {run}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def undo(
    run: str, restorable_only: bool = False, dry_run: bool = False, override: str = ""
) -> State[Resolution]:
    """
    Put back what a finished resolution had replaced, where the target still holds what it wrote.

    Args:
        run: The run that is the resolution, or its recovery, by the id or its beginning.
        restorable_only: Leave out steps that cannot be taken back, instead of refusing.
        dry_run: Show what would be put back, and change nothing.
        override: Why a person goes on although there is a pause; empty = a pause stops it.
    """
    site = load_settings()
    began = datetime.now(UTC)
    note_begun(site, began, strategy=later.STRATEGY)
    journal = Journal(site.journal_url)
    earlier = ended.find(journal, run)
    subject = later.target_of(earlier, site.target)
    this_run = flow_run.get_id() or ""
    origin = origin_of_run(Origin.PERSON)
    mandate = Mandate(origin=origin, override="" if origin.is_automatic else override, treatment=this_run)
    note_begun(site, began, subject, strategy=later.STRATEGY)
    with untagged():
        tag(this_run, {*tags_of(subject), f"strategy:{later.STRATEGY}"})
        plan, end = _take_back(
            subject, earlier, site, mandate, restorable_only=restorable_only, dry_run=dry_run
        )
        resolution = Resolution(
            target=subject.name,
            kind=subject.kind,
            plan=plan,
            mandate=mandate,
            kept_until=retention.kept_until_of(journal, end.recovery, site.keep),
            started_at=began,
            ended_at=datetime.now(UTC),
            **dict(end),
        )
        track(resolution, this_run, site)
    state = Failed if resolution.outcome in _FAILED else Completed
    return state(name=in_state(resolution.outcome), message=resolution.reason, data=resolution)


def _take_back(
    target: Target,
    earlier: Recovery,
    site: Settings,
    mandate: Mandate,
    *,
    restorable_only: bool,
    dry_run: bool,
) -> tuple[Plan | None, Ending]:
    try:
        plan = plan_undo(target, earlier.id, site, restorable_only=restorable_only)
    except RefusedError as exc:
        return None, ending.refused(str(exc))
    if not plan.units:
        return plan, ending_of_undo.nothing_to_undo(plan)
    show_plan(plan)
    admission = admit_undo(target, mandate.origin)
    if dry_run:
        return plan, ending.planned(plan, admission.reason)
    if not admission.is_granted:
        return plan, ending.refused(admission.reason)
    return _carry_out(target, earlier, plan, site, mandate, restorable_only=restorable_only)


def _carry_out(
    target: Target,
    earlier: Recovery,
    plan: Plan,
    site: Settings,
    mandate: Mandate,
    *,
    restorable_only: bool,
) -> tuple[Plan, Ending]:
    try:
        result = _recover(target, plan, mandate)
        if isinstance(result, ChangedError) or result.was_outdated:
            # Once only, as with every plan: what changed meanwhile is left alone this time.
            renewed = plan_undo(target, earlier.id, site, restorable_only=restorable_only)
            if renewed.units:
                plan, result = renewed, _recover(target, renewed, mandate)
    except RefusedError as exc:
        return plan, ending.refused(str(exc), exc.refusal if isinstance(exc, PolicyError) else None)
    if isinstance(result, ChangedError):
        return plan, ending.refused(str(result))
    return plan, ending_of_undo.undone(result)


def _recover(target: Target, plan: Plan, mandate: Mandate) -> RecoveryResult | ChangedError:
    """What carrying *plan* out came to; an error if it was outdated before anything was begun."""
    try:
        state = recover(target.name, plan, None, flow_run.get_id() or "", mandate, return_state=True)
        return returned(state, RecoveryResult)
    except ChangedError as exc:
        return exc
