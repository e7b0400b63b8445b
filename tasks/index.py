"""Keep the index of resolutions beside the flow runs that it is made from."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterStartTime,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from medic8.analysis.timeline import Diagnosis
from medic8.model.issue import Issue
from medic8.model.recovery import Recovery
from medic8.model.resolution import HistoryEntry, Outcome, Resolution, Standing
from medic8.model.statistics import StatisticsReport, Tracked, Wanted
from medic8.model.target import Target
from medic8.recovery import resolutions, saved_state
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.settings import Settings, load_settings

#: The API gives at most this many runs at once.
_PAGE = 200

#: What is read without being asked for: about a second.
_AT_ONCE = 2 * _PAGE

_HEALED = (Outcome.RESOLVED, Outcome.PARTLY_RESOLVED)


def note_begun(
    site: Settings, at: datetime, target: Target | None = None, issue: Issue | None = None, strategy: str = ""
) -> None:
    """
    Put the present run into the index, so that it is listed although it may die.

    What a silent journal does not hear of now it hears of at the end: whether anything may be done without
    it is for others to say.
    """
    row = Tracked(
        run=flow_run.get_id() or "",
        name=flow_run.get_name() or "",
        target=target.name if target else "",
        kind=target.kind if target else "",
        issue=issue.issue_type.value if issue else "",
        strategy=strategy,
        started_at=at,
    )
    with suppress(SilentError):
        resolutions.write(Journal(site.journal_url), [row])


def row_of(run: FlowRun, resolution: Resolution | None = None) -> Tracked:
    """What the index holds of *run*; of how it ended what *resolution* says, if there is one."""
    entry = entry_of(run)
    has_ended = run.state is not None and run.state.is_final()
    ended_at: datetime | None = run.end_time
    outcome, strategy = entry.outcome, entry.strategy
    state = entry.state if has_ended else ""
    if resolution is not None:
        ended_at, outcome = resolution.ended_at, resolution.outcome.value
        strategy = resolution.plan.strategy if resolution.plan else ""
        state = state or in_state(resolution.outcome)
    started_at = run.start_time or run.expected_start_time or run.created or ended_at
    if started_at is None:
        raise TypeError(f"flow run {run.id} has no time at all")
    diagnosis = diagnosis_of(run)
    found_at = diagnosis.found_at if diagnosis else None
    return Tracked(
        run=entry.run,
        name=entry.name,
        target=resolution.target if resolution else entry.target,
        kind=resolution.kind if resolution else entry.kind,
        issue=entry.issue,
        strategy=strategy,
        outcome=outcome,
        state=state,
        started_at=started_at,
        duration_s=_seconds(started_at, ended_at),
        detect_s=_seconds(diagnosis.began_at, diagnosis.found_at) if diagnosis else None,
        heal_s=_seconds(found_at, ended_at) if outcome in _HEALED else None,
    )


def in_state(outcome: Outcome) -> str:
    """The name of the state in which a run with *outcome* ends."""
    return outcome.value.replace("_", " ").capitalize()


def diagnosis_of(run: FlowRun) -> Diagnosis | None:
    """When the diagnosis was made that *run* was given; None if it was given none."""
    before = (run.parameters or {}).get("before")
    if not isinstance(before, dict):
        return None
    try:
        began_at = datetime.fromisoformat(str(before["taken_at"]))
        return Diagnosis(
            began_at=began_at, found_at=began_at + timedelta(seconds=float(before["duration_s"]))
        )
    except (KeyError, ValueError, OverflowError):
        return None


def asked_at(client: SyncPrefectClient, resolution: Resolution) -> datetime | None:
    """When the run began that *resolution* is a part of; None if it is a part of none that is known."""
    with suppress(ObjectNotFound, ValueError):
        return client.read_flow_run(UUID(resolution.mandate.treatment)).start_time
    return None


def saved_at(recoveries: Iterable[Recovery]) -> dict[str, datetime]:
    """When the state was saved that *recoveries* saved on this machine, by their ids."""
    found = {each.id: saved_state.saved_at(Path(each.saved_state)) for each in recoveries if each.saved_state}
    return {name: at for name, at in found.items() if at is not None}


def entry_of(run: FlowRun) -> HistoryEntry:
    """One line of the history, from what a run is tagged with."""
    tags = dict(tag.split(":", 1) for tag in run.tags if ":" in tag)
    return HistoryEntry(
        run=str(run.id),
        name=run.name,
        target=tags.get("target", ""),
        kind=tags.get("kind", ""),
        issue=tags.get("issue", ""),
        strategy=tags.get("strategy", ""),
        outcome=tags.get("outcome", ""),
        state=run.state_name or "",
        started_at=run.start_time,
        duration_s=run.total_run_time.total_seconds(),
    )


def listed(wanted: Wanted, limit: int, site: Settings) -> list[HistoryEntry]:
    """
    Resolutions of the index, the newest first; Prefect is asked only how those stand that have not ended.

    Raises:
        SilentError: the journal does not answer.
    """
    return resolutions.listed(Journal(site.journal_url), wanted, limit, _standings)


def report(wanted: Wanted) -> StatisticsReport:
    """
    Statistics of the resolutions in the index.

    Raises:
        SilentError: the journal does not answer.
    """
    catch_up()
    return resolutions.report(Journal(load_settings().journal_url), wanted)


def complete(most: int | None = None) -> int:
    """
    Read runs from Prefect, page by page, and put those into the index that it lacks; may be repeated.

    Args:
        most: About how many of the newest are read; None = all.

    Returns:
        How many were lacking.
    """
    journal = Journal(load_settings().journal_url)
    pages = islice(_pages(Wanted()), None if most is None else -(-most // _PAGE))
    return sum(resolutions.add_missing(journal, map(row_of, page)) for page in pages)


def catch_up() -> None:
    """
    Fill an index that is still empty with the newest runs: somebody has a history from before.

    Raises:
        SilentError: the journal does not answer.
    """
    if not resolutions.count(Journal(load_settings().journal_url)):
        complete(_AT_ONCE)


def runs(wanted: Wanted) -> Generator[FlowRun, None, None]:
    """The flow runs that are resolutions and match, the newest first; no more than a page is held."""
    with closing(_pages(wanted)) as pages:
        for page in pages:
            yield from page


def _pages(wanted: Wanted) -> Generator[list[FlowRun], None, None]:
    tags = {
        "target": wanted.target,
        "issue": wanted.issue,
        "strategy": wanted.strategy,
        "outcome": wanted.outcome,
    }
    tagged = [f"{name}:{value}" for name, value in tags.items() if value]
    chosen = FlowRunFilter(
        tags=FlowRunFilterTags(all_=tagged) if tagged else None,
        start_time=FlowRunFilterStartTime(after_=wanted.since) if wanted.since else None,
    )
    offset = 0
    with get_client(sync_client=True) as client:
        while True:
            page = client.read_flow_runs(
                flow_filter=_flows(),
                flow_run_filter=chosen,
                sort=FlowRunSort.START_TIME_DESC,
                limit=_PAGE,
                offset=offset,
            )
            yield page
            offset += len(page)
            if len(page) < _PAGE:
                return


def _standings(ids: Sequence[str]) -> dict[str, Standing]:
    found = dict[str, Standing]()
    with get_client(sync_client=True) as client:
        for begin in range(0, len(ids), _PAGE):
            some = [UUID(each) for each in ids[begin : begin + _PAGE]]
            these = FlowRunFilter(id=FlowRunFilterId(any_=some))
            for run in client.read_flow_runs(flow_run_filter=these, limit=_PAGE):
                took_s = run.total_run_time.total_seconds()
                found[str(run.id)] = Standing(state=run.state_name or "", duration_s=took_s)
    return found


def _flows() -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=[resolutions.RESOLVE, resolutions.UNDO]))


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else max(0.0, (end - begin).total_seconds())
