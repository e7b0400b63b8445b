"""What was done is listed, counted and put in order of time, on a real server and a real Prefect API."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.sorting import ArtifactSort

from flows.run import run
from medic8.model.resolution import Outcome
from medic8.model.statistics import Tracked, Wanted
from medic8.recovery import resolutions, tables
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tasks import index
from tasks.track import history, resolution_of
from tests.flows.server_site import Configure, set_settings

pytestmark = pytest.mark.usefixtures("prefect_api")


class Told(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record*."""
        self.records.append(record)


def journal() -> Journal:
    return Journal(load_settings().journal_url)


def tracked() -> list[Tracked]:
    return resolutions.newest(journal(), Wanted(), 10)


def timeline_of(run_id: str) -> str:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["timeline-server"])),
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
    return str(found[0].data)


def test_a_resolution_is_listed_counted_and_told_in_order_of_time(
    configure: Configure, valkey_url: str
) -> None:
    """From the index, which is written while it goes on; and the index is made again from Prefect's runs."""
    configure()
    began = datetime.now(UTC)
    (resolution,) = run("heal", target="server").resolutions
    assert resolution.outcome is Outcome.RESOLVED
    set_settings(valkey_url, "10", "300")
    configure(mode="observe")
    run("heal", target="server")

    refused, resolved = tracked()
    assert (refused.outcome, refused.heal_s) == ("refused", None)
    (entry,) = history(strategy="set_settings", outcome="resolved")
    assert (entry.run, entry.state, entry.target, entry.kind) == (
        resolved.run,
        "Resolved",
        "server",
        "valkey",
    )
    assert entry.started_at == pytest.approx(resolution.started_at, abs=timedelta(seconds=1))
    assert resolution_of(resolved.run[:13])[1] == resolution
    assert history(since=datetime.now(UTC)) == []

    report = index.report(Wanted(since=began))
    (group,) = report.groups
    assert (group.count, group.outcomes) == (2, {"refused": 1, "resolved": 1})
    assert (group.success.hits, group.success.of) == (1, 1)
    assert group.detect is not None
    assert group.heal is not None
    assert (group.detect.count, group.heal.count) == (2, 1)
    taken = (datetime.now(UTC) - began).total_seconds()
    assert 0 < group.detect.median_s < taken
    assert 0 < group.heal.median_s < taken

    told = [line.split(" | ")[2] for line in timeline_of(resolved.run).splitlines() if line.startswith("| ")]
    asked = ["What", "---", "asked", "diagnosis begun", "diagnosed", "planned", "opened", "saved"]
    assert told == [*asked, *["step begun", "step done"] * 2, "verified", "resolved"]

    with journal().transaction() as connection:
        connection.execute(tables.resolutions.delete())
    assert index.complete() >= 2
    anew = {row.run: row for row in resolutions.newest(journal(), Wanted(since=began), 10)}
    for known in (refused, resolved):
        exact = {"started_at", "duration_s", "heal_s"}
        assert anew[known.run].model_dump(exclude=exact) == known.model_dump(exclude=exact)
    assert anew[resolved.run].heal_s == pytest.approx(resolved.heal_s, abs=5)


def test_a_run_that_fails_before_it_can_say_is_listed_with_the_state_that_prefect_shows(
    configure: Configure,
) -> None:
    """Here an undo of what there is not."""
    configure()
    told = Told()
    loggers = [logging.getLogger(name) for name in ("prefect.flow_runs", "prefect.task_runs")]
    for logger in loggers:
        logger.addHandler(told)
    try:
        with pytest.raises(Exception, match="no such"):
            run("undo", run="no such")
    finally:
        for logger in loggers:
            logger.removeHandler(told)
    # A mistyped parameter is told in the run's log by its words, without where in our code that was found.
    wrong = [each for each in told.records if "no such" in each.getMessage()]
    assert wrong
    assert all(each.exc_info is None and "\n" not in each.getMessage() for each in wrong)
    (entry,) = history()
    assert (entry.state, entry.outcome, entry.strategy) == ("Failed", "", "undo")
