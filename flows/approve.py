"""Say yes or no to a plan that waits for a person; what is approved is looked at anew, and carried out."""

from __future__ import annotations

from prefect import flow, tags
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.heal import heal
from flows.returned import returned
from medic8.errors import ConfigurationError
from medic8.model.approval import ApprovalRequest, Choice, Decided
from medic8.model.resolution import Outcome, Treatment
from medic8.settings import Settings, load_settings
from tasks.approvals import APPROVE, note_decision, tell_decisions
from tasks.carried_out import tell_unneeded
from tasks.tell import sign
from tasks.track import tag, tags_of, untagged


# Builtin types alone, as in `heal`.
@flow(
    name=APPROVE,
    flow_run_name="{decision} plan {plan}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def approve(plan: str, decision: str, reason: str, by: str = "", queue: str = "") -> State[Decided]:
    """
    Decide about a plan, and carry it out if it is approved.

    The target is diagnosed again and planned for again, and every rule is asked again, on behalf of
    whoever asked. A plan that has changed since is not carried out, but asked for.

    Args:
        plan: Its digest, or the run that asked, or the beginning of either.
        decision: ``approve`` or ``deny``.
        reason: Why.
        by: Who says so; empty = whoever may start runs here.
        queue: Whose worker this is; what is approved for a target of another one is left to that one.
            Empty = all targets can be reached.
    """
    choice, site = _choice(decision), load_settings()
    run = flow_run.get_id() or ""
    with untagged():
        request = note_decision(plan, choice, reason, by, run, queue, site)
        tag(run, {f"target:{request.target}"})
        tell_decisions(site)
    word = f"by {request.by}: {request.reason}"
    if choice is Choice.DENY:
        return Completed(name="Denied", message=word, data=Decided(request=request))
    if request.carried_out_by != run:
        return Completed(name="Approved", message=word, data=Decided(request=request))
    treatment = _carry_out(request, site)
    decided = Decided(request=request, treatment=treatment)
    if not treatment.resolutions:
        with untagged():
            tell_unneeded(request, site)
    unresolved = [each for each in treatment.resolutions if each.outcome is not Outcome.RESOLVED]
    if unresolved:
        return Failed(name="Approved, not healed", message=unresolved[-1].reason, data=decided)
    done = "Approved and healed" if treatment.resolutions else "Approved, nothing to do"
    return Completed(name=", ".join(filter(None, (done, treatment.lost))), message=word, data=decided)


def _choice(given: str) -> Choice:
    try:
        return Choice(given)
    except ValueError:
        raise ConfigurationError(f"decision {given[:80]!r} is none; it is {' or '.join(Choice)}") from None


def _carry_out(request: ApprovalRequest, site: Settings) -> Treatment:
    """Treat the one issue, by that plan or by none; on whose behalf it was asked, not on the approver's."""
    with tags(*tags_of(site.target(request.target))):
        state = heal(
            request.target,
            approved=[request.digest],
            issues=[request.issue.fingerprint],
            origin=request.mandate.origin.value,
            watch_s=request.issue.watched_s,
            return_state=True,
        )
    return returned(state, Treatment)
