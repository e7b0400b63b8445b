"""Tell the runs that asked for a plan what became of it: the history has one resolution, with its end."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound

from medic8.model.approval import ApprovalRequest
from medic8.model.resolution import Outcome
from medic8.recovery import approvals, resolutions
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks import index
from tasks.attempts import ATTEMPTS
from tasks.light import task

_OUTCOME = "outcome:"


def tell_who_asked(journal: Journal, treatment: str, resolution: str) -> None:
    """
    Have every run that asked for what *treatment* carries out stand behind *resolution*, which did it.

    Args:
        journal: Knows who asked.
        treatment: The run that a person's word, or the request's, began.
        resolution: The flow run that is listed from now on.
    """
    carried_out = approvals.taken_up_by(journal, treatment)
    if not carried_out:
        return
    with get_client(sync_client=True) as client:
        for request in carried_out:
            for run in approvals.runs_of(journal, request.id):
                if run != resolution:
                    _ends(client, journal, run, Outcome.APPROVED)


@task(task_run_name="tell that nothing was left to do for {request.target}", **ATTEMPTS)
def tell_unneeded(request: ApprovalRequest, site: Settings) -> None:
    """Have the run that asked end as refused: what was agreed to was not there any more."""
    journal = Journal(site.journal_url)
    with get_client(sync_client=True) as client:
        for run in approvals.runs_of(journal, request.id):
            _ends(client, journal, run, Outcome.REFUSED if run == request.run else Outcome.APPROVED)


def _ends(client: SyncPrefectClient, journal: Journal, waiting: str, outcome: Outcome) -> None:
    with suppress(ObjectNotFound, ValueError):
        run = client.read_flow_run(UUID(waiting))
        tags = {each for each in run.tags if not each.startswith(_OUTCOME)}
        client.update_flow_run(run.id, tags=sorted({*tags, f"{_OUTCOME}{outcome.value}"}))
        resolutions.write(journal, [index.row_of(client.read_flow_run(run.id))])
