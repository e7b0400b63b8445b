"""Track resolutions in the history of flow runs: tags to search by, artifacts to read, and back again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from prefect import get_client
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TagsContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL
from pydantic import ValidationError

from medic8.analysis import (
    ending,
    ending_of_undo,
    markdown,
    markdown_of_timeline,
    markdown_of_troubles,
)
from medic8.analysis.timeline import timeline
from medic8.drawing.text import in_words
from medic8.errors import ConfigurationError
from medic8.model.grid_map import TROUBLE, MapPicture
from medic8.model.issue import Issue
from medic8.model.performance import PerformanceReport
from medic8.model.plan import Plan
from medic8.model.recovery import Recovery, RecoveryResult, RecoveryState
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import HistoryEntry, Outcome, Resolution
from medic8.model.resources import ResourceReport
from medic8.model.statistics import Wanted
from medic8.model.target import Target
from medic8.model.wording import short
from medic8.recovery import approvals, outbox, resolutions
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings
from tasks import index
from tasks.attempts import ATTEMPTS
from tasks.carried_out import tell_who_asked
from tasks.light import task

#: How a run that asked may end, as its tags have it; who decided may be forgotten by then.
_ENDS = frozenset({Outcome.APPROVED, Outcome.DENIED, Outcome.REFUSED})

#: Most runs among which one is looked for by the beginning of its id.
_PAGE = 200


def tags_of(target: Target, issue: Issue | None = None) -> set[str]:
    """What a run about *target*, or about an issue of it, is searched by from its beginning."""
    tags = {f"target:{target.name}", f"kind:{target.kind}"}
    return tags | {f"issue:{issue.issue_type.value}"} if issue else tags


def outcome_tags(resolution: Resolution) -> set[str]:
    """What a run is searched by once its end is known."""
    tags = {f"outcome:{resolution.outcome.value}"}
    if resolution.plan is not None:
        tags.add(f"strategy:{resolution.plan.strategy}")
    if resolution.refusal is not None:
        tags.add(f"rule:{resolution.refusal.rule}")
        tags |= {"escalated"} if resolution.refusal.is_news else set()
    return tags


def untagged() -> TagsContext:
    """
    A block whose tasks carry no tags.

    Prefect asks its server for a place in each tag's queue before a tagged task
    begins, which costs a round trip, and minutes when the server is gone.
    """
    return TagsContext(current_tags=set())


@task(task_run_name="track {resolution.outcome.value} of {resolution.target}", **ATTEMPTS)
def track(resolution: Resolution, flow_run: str, site: Settings) -> None:
    """Add the outcome to the run's tags and to the index, and show what was done as artifacts."""
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(flow_run))
        asked_at = index.asked_at(client, resolution)
        client.update_flow_run(UUID(flow_run), tags=sorted({*run.tags, *outcome_tags(resolution)}))
    create_markdown_artifact(
        key=artifact_key("resolution", resolution.target),
        markdown=markdown.resolution(resolution),
        description=resolution.reason.splitlines()[0],
    )
    if resolution.changes:
        create_table_artifact(
            key=artifact_key("before-after", resolution.target),
            table=[
                {"value": each.what, "before": each.before, "after": each.after}
                for each in resolution.changes
            ],
            description=f"{resolution.target} before and after",
        )
    recoveries: tuple[Recovery, ...] = ()
    try:
        journal = Journal(site.journal_url)
        recoveries = journal.of_resolution(flow_run)
        resolutions.write(journal, [index.row_of(run, resolution)])
        outbox.tell_resolution(journal, resolution, flow_run)
        tell_who_asked(journal, resolution.mandate.treatment, flow_run)
        for recovery in recoveries:
            journal.told(recovery.id)
    except SilentError:
        # Refused because of that: nothing was opened. Else the next run on the target tells it.
        if resolution.recovery:
            raise
    create_markdown_artifact(
        key=artifact_key("timeline", resolution.target),
        markdown=markdown_of_timeline.timeline(
            resolution,
            timeline(resolution, recoveries, index.diagnosis_of(run), asked_at, index.saved_at(recoveries)),
        ),
        description=f"when what was done about {resolution.target}",
    )


@task(task_run_name="tag the run", **ATTEMPTS)
def tag(flow_run: str, tags: set[str]) -> None:
    """Add *tags* to a run that could not have them from its beginning."""
    with get_client(sync_client=True) as client:
        run = _this_run(flow_run) or client.read_flow_run(UUID(flow_run))
        run.tags = sorted({*run.tags, *tags})
        client.update_flow_run(UUID(flow_run), tags=run.tags)


def _this_run(flow_run: str) -> FlowRun | None:
    """The run that this process works for, as it knows it, if that is the one: nobody else tags it."""
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return run if run is not None and str(run.id) == flow_run else None


@task(task_run_name="show report on {report.target}", **ATTEMPTS)
def show_report(report: DiagnosticReport) -> None:
    """Show a diagnosis as an artifact."""
    create_markdown_artifact(
        key=artifact_key("report", report.target),
        markdown=markdown.report(report),
        description=f"{report.target} is {report.analysis.health.value}",
    )


@task(task_run_name="show performance of {report.target}", **ATTEMPTS)
def show_performance(report: PerformanceReport) -> None:
    """Show what holds a target up as an artifact."""
    create_markdown_artifact(
        key=artifact_key("performance", report.target),
        markdown=markdown_of_troubles.performance(report),
        description=markdown_of_troubles.performance_in_words(report),
    )


@task(task_run_name="show resources of {report.target}", **ATTEMPTS)
def show_resources(report: ResourceReport) -> None:
    """Show how a target's resources are used as an artifact."""
    create_markdown_artifact(
        key=artifact_key("resources", report.target),
        markdown=markdown_of_troubles.resources(report),
        description=markdown_of_troubles.resources_in_words(report),
    )


@task(task_run_name="show map of {target}", **ATTEMPTS)
def show_map(target: str, picture: MapPicture) -> None:
    """Show where in a grid the damage is as an artifact."""
    trouble = [in_words(count) for count in picture.counts if count.state in TROUBLE]
    create_markdown_artifact(
        key=artifact_key("map", target),
        markdown=markdown.map_of(picture),
        description="; ".join(trouble) or f"nothing is wrong with {target}",
    )


@task(task_run_name="show plan {plan.strategy} for {plan.target}", **ATTEMPTS)
def show_plan(plan: Plan) -> None:
    """Show a plan as an artifact."""
    create_markdown_artifact(
        key=artifact_key("plan", plan.target), markdown=markdown.plan(plan), description=plan.summary
    )


def history(
    target: str | None = None,
    issue: str | None = None,
    outcome: str | None = None,
    since: datetime | None = None,
    limit: int = 100,
    strategy: str | None = None,
) -> list[HistoryEntry]:
    """
    Resolutions, the newest first: from the index, or from Prefect's flow runs where the journal is silent.

    Args:
        target: Of this target only.
        issue: Of this type of issue only.
        outcome: With this outcome only.
        since: Begun at or after this time only.
        limit: At most so many.
        strategy: By this strategy only.
    """
    wanted = Wanted(target=target, issue=issue, strategy=strategy, outcome=outcome, since=since)
    try:
        index.catch_up()
        return index.listed(wanted, limit, load_settings())
    except SilentError:
        # What it holds open is closed now: the error may keep this frame, and all in it, for long.
        with closing(index.runs(wanted)) as runs:
            entries = map(index.entry_of, runs)
            shown = (each for each in entries if outcome or each.outcome != Outcome.APPROVED)
            return list(islice(shown, limit))


def resolution_of(run: str) -> tuple[HistoryEntry, Resolution | None]:
    """
    One resolution by its flow run's id, or the beginning of it.

    Returns:
        Its entry in the history, and what it returned. If it died before it could, what its parameters and
        the journal tell of its recovery; None if it had none that has ended.
    Raises:
        ConfigurationError: there is no such run, or more than one begins so.
    """
    found = _run_by_id(run)
    if found.state is not None and found.state.is_final():
        returned = found.state.result(raise_on_failure=False)
        if isinstance(returned, dict | Resolution):
            entry = index.entry_of(found)
            return entry, _with_decision(Resolution.model_validate(returned), entry)
    known = Journal(load_settings().journal_url).of_resolution(str(found.id))
    ended = [recovery for recovery in known if recovery.state is not RecoveryState.OPEN]
    return index.entry_of(found), rebuilt(found, ended[-1]) if ended else None


def _with_decision(resolution: Resolution, entry: HistoryEntry) -> Resolution:
    """*resolution* with what was decided after it had ended, if it asked a person."""
    if resolution.outcome is not Outcome.AWAITING_APPROVAL or resolution.plan is None:
        return resolution
    try:
        request = approvals.of_run(Journal(load_settings().journal_url), entry.run, datetime.now(UTC))
    except SilentError:
        return resolution
    plan = resolution.plan
    if entry.outcome in _ENDS:
        resolution = resolution.model_copy(update={"outcome": Outcome(entry.outcome)})
    if request is None or request.answer is None:
        return resolution
    if request.is_denied:
        ended = ending.asked(plan, "", request)
        update = {"outcome": ended.outcome, "reason": ended.reason, "approval": ended.approval}
        return resolution.model_copy(update=update)
    by = f"; run {request.carried_out_by} carries it out" if request.carried_out_by else ""
    reason = f"{resolution.reason}; approved by {request.by}: {request.reason}{by}"
    return resolution.model_copy(update={"reason": reason, "approval": request.answer})


def rebuilt(run: FlowRun, recovery: Recovery) -> Resolution | None:
    """The resolution that a dead run would have returned, from its parameters and the journal."""
    died = f"its process died, and recovery {short(recovery.id)} was ended by another run"
    if not recovery.ended_by:
        died = f"recovery {short(recovery.id)} ended while nobody could tell the history"
    result = RecoveryResult(recovery=recovery, reason=died)
    issue = None
    if recovery.plan.undoes is not None:
        ended = ending_of_undo.undone(result)
    else:
        try:
            issue = Issue.model_validate((run.parameters or {}).get("issue"))
        except ValidationError:
            return None
        ended = ending.of_recovery(result, issue)
    return Resolution(
        target=recovery.plan.target,
        kind=index.entry_of(run).kind,
        issue=issue,
        plan=recovery.plan,
        started_at=run.start_time or recovery.opened_at,
        ended_at=recovery.closed_at or recovery.opened_at,
        **dict(ended),
    )


def run_url(run: str) -> str:
    """Where the UI shows a flow run."""
    return f"{PREFECT_UI_URL.value()}/runs/flow-run/{run}"


def _run_by_id(run: str) -> FlowRun:
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(UUID(run))
    except ObjectNotFound as exc:
        raise ConfigurationError(f"the history has no run {run!r}") from exc
    except ValueError:
        pass
    begun_so = _beginning_with(run)
    if len(begun_so) != 1:
        raise ConfigurationError(
            f"the history has {len(begun_so)} runs that begin with {run!r}; medic8 history lists them"
        )
    return _run_by_id(begun_so[0])


def _beginning_with(run: str) -> list[str]:
    """The runs that begin so: of the index, or else of the newest that Prefect has."""
    with suppress(SilentError):
        if found := resolutions.beginning_with(Journal(load_settings().journal_url), run, _PAGE):
            return found
    newest = islice(index.runs(Wanted()), _PAGE)
    return [str(each.id) for each in newest if str(each.id).startswith(run.lower())]


def artifact_key(*words: Iterable[str] | str) -> str:
    """An artifact's key: lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(str(word) for word in words).lower()).strip("-")
