"""Find every recovery whose process has died, end it, and complete the history."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import CancelledRun, CrashedRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from medic8.model.recovery import LeftOpen, Recovery, RecoveryState, Sweep
from medic8.recovery.interrupted import interrupted_on, reason_of
from medic8.recovery.journal import Journal
from medic8.recovery.untold import untold
from medic8.settings import Settings, load_settings
from tasks.approvals import sweep_approvals, tell_decisions
from tasks.interrupted import end_recovery
from tasks.notify import tell_people
from tasks.tell import mark_dead_runs, sign, tell
from tasks.track import untagged


@flow(
    name="restore_interrupted",
    flow_run_name="end interrupted recoveries",
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def restore_interrupted(queue: str = "") -> State[Sweep]:
    """
    End every open recovery without a living owner; any number of these may run at a time.

    What cannot be ended now (a target that is away, or no longer configured)
    stays open and is named; the others are ended all the same.

    Args:
        queue: Only those on targets of this queue, which its worker can reach; empty = all.
    """
    site = load_settings()
    elsewhere = {each.name for each in site.targets if queue and site.queue_of(each) != queue}
    with untagged():
        ended, left_open = _end_all(site, elsewhere)
        told = tell_all(site)
        mark_dead_runs()
        _look_after_approvals(site, queue)
        tell_people(site)
    sweep = Sweep(ended=tuple(ended), left_open=tuple(left_open), told=told)
    for each in left_open:
        get_run_logger().error("recovery %s is still open: %s", each.recovery.id, each.reason)
    if left_open:
        return Failed(name="Left open", message=left_open[0].reason, data=sweep)
    if any(each.state is RecoveryState.NEEDS_PERSON for each in ended):
        return Failed(name="Needs person", message="see medic8 acknowledge", data=sweep)
    return Completed(name="Ended" if ended else "Nothing to do", data=sweep)


def tell_all(site: Settings) -> tuple[str, ...]:
    """Tell the history of what ended while nobody could tell it; the recoveries' ids."""
    told = []
    for recovery in untold(Journal(site.journal_url), datetime.now(UTC)):
        try:
            tell(recovery, site)
        except (CrashedRun, CancelledRun):
            raise  # Ctrl-C in a task reaches the flow as a crash of the task's run
        except Exception as exc:  # noqa: BLE001 - of one run the history may know no end; others go on
            get_run_logger().warning("the history was not told of recovery %s: %s", recovery.id, exc)
        else:
            told.append(recovery.id)
    return tuple(told)


def _look_after_approvals(site: Settings, queue: str) -> None:
    """See that decisions are told and carried out; recoveries are ended whatever becomes of that."""
    try:
        sweep_approvals(site, queue)
        tell_decisions(site)
    except (CrashedRun, CancelledRun):
        raise
    except Exception as exc:  # noqa: BLE001 - the next run of this flow does it
        get_run_logger().warning("requests for approval were not looked after: %s", exc)


def _end_all(site: Settings, elsewhere: set[str]) -> tuple[list[Recovery], list[LeftOpen]]:
    ended, left_open = [], []
    for recovery in interrupted_on(Journal(site.journal_url)):
        if recovery.plan.target in elsewhere:
            continue
        try:
            end = end_recovery(recovery, site, flow_run.get_id() or "")
        except (CrashedRun, CancelledRun):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever is wrong with one keeps no other from its end
            left_open.append(LeftOpen(recovery=recovery, reason=reason_of(exc)))
        else:
            ended += [end] if end is not None else []
    return ended, left_open
