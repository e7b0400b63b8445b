"""Carry out a plan under the recovery contract (guide: ``RecoveryActions.execute_recovery``)."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.diagnose import report_on
from flows.interruption import interruption
from medic8.errors import ChangedError, FencedError, Medic8Error, TransientError, WorseError
from medic8.model.guard import GuardVerdict
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate, Refusal
from medic8.model.recovery import Recovery, RecoveryResult, RecoveryState, StepMark, StepState
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.recovery.admitting import PolicyError
from medic8.recovery.contract import numbers_of
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from medic8.settings import Settings, load_settings
from tasks.apply import apply_step
from tasks.attempts import longest_s
from tasks.diagnose import LOOKING_S
from tasks.guard import GUARDING_S, guard_recovery, guard_unit, read_guards
from tasks.save import SAVING_S, open_recovery, save_state
from tasks.track import untagged
from tasks.undo import UNDOING_S, close, undo
from tasks.verify import VERIFYING_S, verify_recovery, verify_unit


@flow(
    name="recover",
    flow_run_name="recover {target} by {plan.strategy}",
    persist_result=True,
    result_serializer="json",
)
def recover(
    target: str, plan: Plan, issue: Issue | None, resolution: str = "", mandate: Mandate | None = None
) -> State[RecoveryResult]:
    """
    Save state, run the steps, undo on failure, verify.

    Args:
        target: The target's name in the configuration.
        plan: What to carry out.
        issue: What is wrong; the plan has done its work when a new diagnosis shows it better. None: the
            plan takes back what an earlier one did, and has done its work when its units are verified.
        resolution: The flow run that the history shows the end in; empty = none.
        mandate: On whose behalf; none = a person's.
    """
    with untagged():
        return _recover(load_settings(), target, plan, issue, resolution, mandate or Mandate())


def _recover(
    site: Settings, target: str, plan: Plan, issue: Issue | None, resolution: str, mandate: Mandate
) -> State[RecoveryResult]:
    subject = site.target(target)
    recovery = open_recovery(subject, plan, site, flow_run.get_id() or "", resolution, issue, mandate)
    lease = Lease(Journal(site.journal_url), recovery)
    with lease.kept():
        return _to_its_end(subject, recovery, issue, site, lease, mandate)


def _to_its_end(
    subject: Target,
    recovery: Recovery,
    issue: Issue | None,
    site: Settings,
    lease: Lease,
    mandate: Mandate,
) -> State[RecoveryResult]:
    reached: list[StepMark] = []  # what the journal is to hear of with its next entry
    try:
        after, guards = _carry_out(subject, recovery, issue, site, lease, reached, mandate)
        healthy = close(subject, recovery, site, tuple(reached))
    except FencedError:
        # Whoever owns the target now ends this recovery; undo asks the journal and stops if so.
        ended = _put_back(subject, recovery, site, lease, reached)
        return _ended(ended, "the target moved or was taken over")
    except (CrashedRun, CancelledRun):
        # Ctrl-C in a step reaches the flow as a crash of the step's run.
        _put_back(subject, recovery, site, lease, reached)
        raise
    except Exception as exc:
        ended = _put_back(subject, recovery, site, lease, reached)
        if interruption():
            raise CrashedRun(f"interrupted; recovery {ended.id} ended {ended.state.value}") from exc
        return _ended(
            ended,
            str(exc),
            was_outdated=isinstance(exc, ChangedError),
            guards=_judged(exc),
            refusal=exc.refusal if isinstance(exc, PolicyError) else None,
        )
    except BaseException:
        # Cancelled or terminated: the same, and then the end that was asked for.
        _put_back(subject, recovery, site, lease, reached)
        raise
    return _ended(healthy, "", after, guards=guards)


def _carry_out(
    target: Target,
    recovery: Recovery,
    issue: Issue | None,
    site: Settings,
    lease: Lease,
    reached: list[StepMark],
    mandate: Mandate,
) -> tuple[DiagnosticReport | None, tuple[GuardVerdict, ...]]:
    with lease.during(longest_s(SAVING_S)):
        recovery = save_state(target, recovery, site)
    get_run_logger().info("recovery %s: state saved in %s", recovery.id, recovery.saved_state)
    before = None
    if issue is not None:
        # Who takes something back wants it as it was, also where that was worse.
        with lease.during(longest_s(GUARDING_S)):
            before = read_guards(target, recovery.plan, site)
    for number, unit in enumerate(recovery.plan.units):
        for place, (step, step_number) in enumerate(
            zip(unit.steps, numbers_of(recovery.plan, number), strict=True)
        ):
            _stop_if_interrupted()
            with lease.during(longest_s(step.time_limit_s)):
                reached[:] = apply_step.with_options(timeout_seconds=step.time_limit_s)(
                    target, step, recovery, step_number, site, tuple(reached), None if place else mandate
                )
        _stop_if_interrupted()
        with lease.during(longest_s(VERIFYING_S)):
            reached += verify_unit(target, unit, recovery, number, site)
        if before is not None and number + 1 < len(recovery.plan.units):
            with lease.during(longest_s(GUARDING_S)):
                guard_unit(target, unit, recovery.plan, before, site)
    _stop_if_interrupted()
    if issue is None or before is None:
        lease.require()
        return None, ()
    with lease.during(longest_s(GUARDING_S)):
        guards = guard_recovery(target, recovery.plan, before, site)
    _stop_if_interrupted()
    with lease.during(LOOKING_S):
        after = report_on(target, site, issue.watched_s)
    verify_recovery(target, issue, recovery, after, site)
    _stop_if_interrupted()
    lease.require()
    return after, guards


def _stop_if_interrupted() -> None:
    # Prefect swallows an interruption that lands in some of its own code.
    if interruption():
        raise CrashedRun("interrupted")


def _put_back(
    target: Target, recovery: Recovery, site: Settings, lease: Lease, reached: list[StepMark]
) -> Recovery:
    """
    Undo as a task; where Prefect is what failed, without it: the target comes before its record.

    Raises:
        TransientError: the recovery is still open; the next run on the target ends it.
    """
    lease.cover(longest_s(UNDOING_S))
    try:
        try:
            return undo(target, recovery, site, tuple(reached))
        except (Medic8Error, CrashedRun, CancelledRun):
            raise
        except Exception:  # noqa: BLE001 - whatever Prefect's client raises when its server is gone
            return undo.fn(target, recovery, site, tuple(reached))
    except Medic8Error as exc:
        known = _as_known(recovery, site)
        if known.state is not RecoveryState.OPEN:
            return known
        begun = ", ".join(
            step.title for step in known.steps if step.state in {StepState.BEGUN, StepState.DONE}
        )
        raise TransientError(
            f"recovery {known.id} is still open ({begun or 'nothing was changed'}): {exc}; "
            "medic8 recover-interrupted ends it"
        ) from exc


def _as_known(recovery: Recovery, site: Settings) -> Recovery:
    """*recovery* as the journal knows it; as we do, where that is what does not answer."""
    try:
        return Journal(site.journal_url).read(recovery.id)
    except Medic8Error:
        return recovery


def _judged(exc: Exception) -> tuple[GuardVerdict, ...]:
    """What had been judged when *exc* said that something became worse."""
    found = exc.verdicts if isinstance(exc, WorseError) else ()
    return tuple(each for each in found if isinstance(each, GuardVerdict))


def _ended(
    recovery: Recovery,
    reason: str,
    after: DiagnosticReport | None = None,
    *,
    was_outdated: bool = False,
    guards: tuple[GuardVerdict, ...] = (),
    refusal: Refusal | None = None,
) -> State[RecoveryResult]:
    result = RecoveryResult(
        recovery=recovery,
        reason=reason,
        after=after,
        was_outdated=was_outdated,
        guards=guards,
        refusal=refusal,
    )
    if recovery.state is RecoveryState.HEALTHY:
        return Completed(name="Healthy", data=result)
    get_run_logger().warning("%s: %s", recovery.state.value, reason)
    for line in recovery.left:
        get_run_logger().warning("left for a person: %s", line)
    name = recovery.state.value.replace("_", " ").capitalize()
    return Failed(name=name, message=reason, data=result)
