"""Ask for approval, note what was decided, and see that it is done and told."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from prefect import get_client, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.exceptions import ObjectNotFound

from medic8.analysis import ending, markdown
from medic8.analysis.ending import Ending
from medic8.model.approval import NOBODY_NAMED, ApprovalRequest, Choice
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate
from medic8.model.resolution import Approval
from medic8.model.schedule import APPROVING
from medic8.recovery import approvals, resolutions
from medic8.recovery.faults import SilentError
from medic8.recovery.journal import Journal
from medic8.safety.admission import is_approved, that_count
from medic8.safety.approving import checked_name
from medic8.settings import Settings
from tasks import index
from tasks.attempts import ATTEMPTS, ONCE
from tasks.light import task
from tasks.track import artifact_key

#: The flow by which a person decides.
APPROVE = "approve"

_AWAITING, _DENIED = "outcome:awaiting_approval", "outcome:denied"


@task(task_run_name="ask for approval of {plan.strategy} on {plan.target}", **ONCE)
def ask_for_approval(
    plan: Plan, issue: Issue, mandate: Mandate, run: str, reason: str, site: Settings
) -> Ending:
    """Ask once for each plan; nothing of the run is held while somebody is waited for."""
    now = datetime.now(UTC)
    wanted = ApprovalRequest(
        id="",
        target=plan.target,
        plan=plan,
        issue=issue,
        mandate=Mandate(origin=mandate.origin),
        run=run,
        asked_at=now,
        expires_at=now,
    )
    try:
        request = approvals.ask(Journal(site.journal_url), wanted, site.approvals, now)
    except SilentError as exc:
        return ending.not_asked(plan, reason, str(exc))
    return ending.asked(plan, reason, request)


def that_people_gave(given: Sequence[str], mandate: Mandate, site: Settings) -> list[str]:
    """
    Those of the *given* digests to which a person has agreed.

    In a run that nobody began they are those that it carries out because somebody was asked and said yes.
    """
    count = list(that_count(tuple(given), mandate.origin))
    if count or not given:
        return count
    try:
        carried_out = approvals.taken_up_by(Journal(site.journal_url), mandate.treatment)
    except SilentError:
        return []
    return [digest for digest in given if digest in {each.digest for each in carried_out}]


@task(task_run_name="note who agreed to {plan.strategy} on {plan.target}", **ONCE)
def note_approval(plan: Plan, approved: list[str], mandate: Mandate, site: Settings) -> Approval | None:
    """Who agreed to *plan*; None if nobody had to. A request for it that is still open is closed."""
    if not plan.needs_approval:
        return None
    given = next((digest for digest in approved if is_approved(plan, [digest.lower()])), None)
    if given is None:
        return None
    now, by = datetime.now(UTC), "holder of the command line"
    with suppress(SilentError):  # what is to be begun is refused because of that
        request = approvals.agreed(
            Journal(site.journal_url), plan.target, plan.digest, by=by, run=mandate.treatment, at=now
        )
        if request is not None and request.answer is not None:
            return request.answer
    return Approval(digest=given, by=by, at=now)


@task(task_run_name="note the decision", **ONCE)
def note_decision(
    named: str, choice: Choice, reason: str, by: str, run: str, queue: str, site: Settings
) -> ApprovalRequest:
    """
    Note what a person decided; an approval is taken up by *run* if its worker can reach the target.

    Raises:
        RefusedError: it was decided already, or its time is over.
        ConfigurationError: nobody was asked about *named*, or the reason is empty.
    """
    journal, now = Journal(site.journal_url), datetime.now(UTC)
    request = approvals.find(journal, named, now)
    target = site.target(request.target)
    taker = run if not queue or site.queue_of(target) == queue else ""
    if choice is Choice.APPROVE and request.waits_to_be_carried_out:
        # Decided by a link: what is left is to do it.
        if not taker:
            return request
        if approvals.take_up(journal, request.id, taker, now):
            return request.model_copy(update={"carried_out_by": taker})
    return approvals.decide(
        journal,
        request.id,
        choice,
        by=checked_name(by, NOBODY_NAMED),
        reason=reason,
        at=now,
        carried_out_by=taker,
    )


@task(task_run_name="tell the history of decisions", **ATTEMPTS)
def tell_decisions(site: Settings) -> None:
    """Show in the runs that asked what was decided."""
    journal = Journal(site.journal_url)
    with get_client(sync_client=True) as client:
        for each in approvals.untold(journal):
            for run in approvals.runs_of(journal, each.id):
                with suppress(ObjectNotFound, ValueError):
                    _tell(client, journal, each, run)
            approvals.told(journal, each.id)


@task(task_run_name="look after requests for approval", **ONCE)
def sweep_approvals(site: Settings, queue: str) -> None:
    """
    Note which requests have expired, and start runs for approvals that no run has taken up, once each.

    Args:
        site: The configuration.
        queue: Start only what is for targets of this queue; empty = all.
    """
    journal, now = Journal(site.journal_url), datetime.now(UTC)
    for each in approvals.sweep(journal, now):
        get_run_logger().warning("plan %s for %s is denied: %s", each.digest[:12], each.target, each.reason)
    known = {each.name: each for each in site.targets}
    with get_client(sync_client=True) as client:
        for each in approvals.listed(journal, now):
            target = known.get(each.target)
            if not each.waits_to_be_carried_out or target is None:
                continue
            if not queue or site.queue_of(target) == queue:
                _start(client, each, site.queue_of(target), site)


def _start(client: SyncPrefectClient, request: ApprovalRequest, queue: str, site: Settings) -> None:
    name = f"{APPROVE}/{site.deployments.at(APPROVING, queue)}"
    try:
        deployment = client.read_deployment_by_name(name)
    except ObjectNotFound:
        get_run_logger().warning(
            "plan %s for %s was approved by %s and is not carried out, since there is no deployment %r: "
            "medic8 deploy, or medic8 approve %s --reason WHY",
            request.digest[:12],
            request.target,
            request.by,
            name,
            request.digest[:12],
        )
        return
    client.create_flow_run_from_deployment(
        deployment.id,
        parameters={
            "plan": request.digest,
            "decision": Choice.APPROVE.value,
            "reason": request.reason,
            "by": request.by,
            "queue": queue,
        },
        idempotency_key=request.id,
        tags=[f"target:{request.target}"],
    )


def _tell(client: SyncPrefectClient, journal: Journal, request: ApprovalRequest, waiting: str) -> None:
    run = client.read_flow_run(UUID(waiting))
    tags = {*run.tags, f"decision:{request.decision.value}"}
    if request.is_denied:
        tags = (tags - {_AWAITING}) | {_DENIED}
    client.create_artifact(
        ArtifactCreate(
            key=artifact_key("decision", request.target),
            type="markdown",
            description=f"plan {request.digest[:12]}: {request.decision.value}",
            data=markdown.decision(request),
            flow_run_id=run.id,
        )
    )
    client.update_flow_run(run.id, tags=sorted(tags))
    resolutions.write(journal, [index.row_of(client.read_flow_run(run.id))])
