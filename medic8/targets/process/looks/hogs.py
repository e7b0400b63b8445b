"""Whether a process takes what others wait for: processors or disks."""

from __future__ import annotations

from pydantic import JsonValue

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding, Severity
from medic8.targets.facts import grown
from medic8.targets.process.groups import Weight
from medic8.targets.process.living import Living
from medic8.targets.process.looks.moments import IO, Moment
from medic8.targets.process.policy import LEAST_IDLE, LEAST_WAITING, POLICY, ProcessPolicy


def hog_object(
    process: Living, weight: Weight | None, resource: str = "cpu"
) -> tuple[dict[str, JsonValue], ...]:
    """What a plan to weigh it down has to know."""
    if weight is None:
        return ()
    return (
        {
            "process": process.identity.model_dump(mode="json"),
            "resource": resource,
            "file": str(weight.file),
            "group": weight.group,
            "found": weight.value,
            "value": weight.least,
        },
    )


def judge_processor(
    first: Moment,
    last: Moment,
    weight: Weight | None,
    objects: tuple[dict[str, JsonValue], ...] = (),
    *,
    policy: ProcessPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether it keeps others from the processors: it takes most of them, and nothing is left.

    One that is weighed down already takes only what others leave, and so does what is nice.

    Args:
        first: What was told first.
        last: What was told last.
        weight: Of its control group; None where it has none.
        objects: What a plan has to know.
        policy: What to hold it against.
    """
    host_ticks = last.host[0] - first.host[0]
    nice = last.nice_ticks - first.nice_ticks
    taken = share(last.cpu_ticks - first.cpu_ticks - nice, host_ticks)
    idle = share(last.host[1] - first.host[1], host_ticks)
    if idle is None or idle >= LEAST_IDLE:
        return ()
    found = over(
        "activity.hog",
        policy.processor,
        taken,
        "it takes {seen} of all processors of the host, and nothing is left to others",
        about="the processors",
        also=(
            Evidence(what="processor time of the host that is left", seen=f"{idle:.0%}"),
            *(
                (Evidence(what="its weight", seen=f"{weight.value}", limit=f"usual {weight.usual}"),)
                if weight
                else ()
            ),
        ),
        advice=("limit it: CPUWeight= or CPUQuota= of its unit, or have it do less at once",),
        objects=objects,
    )
    return _unless_weighed(found, weight)


def _unless_weighed(found: tuple[Finding, ...], weight: Weight | None) -> tuple[Finding, ...]:
    """*found*, which is no sign of an issue any more where others go first."""
    if weight is None or weight.value > weight.least:
        return found
    weighed = {"code": "activity.weighed_down", "severity": Severity.INFO}
    return tuple(each.model_copy(update=weighed) for each in found)


def judge_disks(
    first: Moment,
    last: Moment,
    weight: Weight | None,
    objects: tuple[dict[str, JsonValue], ...] = (),
    *,
    policy: ProcessPolicy = POLICY,
) -> tuple[Finding, ...]:
    """The same of disks: it moves most of what they move, and programs wait; see `judge_processor`."""
    moved = [grown(first.io, last.io, name) for name in IO]
    if first.waited_us is None or last.waited_us is None or None in moved:
        return ()
    waiting = share(last.waited_us - first.waited_us, (last.at_s - first.at_s) * 1e6)
    if waiting is None or waiting < LEAST_WAITING:
        return ()
    taken = share(float(sum(each or 0 for each in moved)), last.disks - first.disks)
    found = over(
        "activity.disk_hog",
        policy.disk,
        None if taken is None else min(taken, 1.0),  # what it writes reaches the disk later
        "it moves {seen} of all that the disks of the host move, and programs wait for them",
        about="the disks",
        also=(Evidence(what="time that programs of the host wait for disks", seen=f"{waiting:.0%}"),),
        advice=("limit it: IOWeight= or IOReadBandwidthMax= of its unit, or ionice -c idle",),
        objects=objects,
    )
    return _unless_weighed(found, weight)
