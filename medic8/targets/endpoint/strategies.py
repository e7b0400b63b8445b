"""What may be done about an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import SecretStr

from medic8.analysis.analyzer import UNREACHABLE
from medic8.model.endpoint import FailOver
from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.endpoint.endings import MAY_BE_OURS
from medic8.targets.endpoint.haproxy import SET_SERVER_STATE, SetServerState
from medic8.targets.endpoint.service import SET_SERVICE, SetService, supervised
from medic8.targets.endpoint.upstream_file import SWITCH_FILE, SwitchFile
from medic8.targets.endpoint.vantage import SERVES_NOBODY
from medic8.targets.kind import Strategy
from medic8.targets.planning import objects_of, plan_of, value_of

FAIL_OVER = "fail_over"


def plan_fail_over(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have another server serve the endpoint, where every request to it fails.

    One that is slow, answers now and then, or at some addresses, is left alone: it serves somebody. So is one
    that may fail for us alone, and one that does not fail from most of the places that it is asked from.
    """
    hook = target.fail_over
    serves_nobody = not SERVES_NOBODY.isdisjoint(issue.signs)
    endings = {each.get("ending") for each in objects_of(issue, report, UNREACHABLE)}
    is_ours = not endings.isdisjoint(MAY_BE_OURS)
    asked_from, failing = (_count(report, f"places.{name}") for name in ("asked_from", "failing"))
    # Where a place cannot tell, our own way may be gone: then it does not agree.
    is_agreed = 2 * failing > asked_from if asked_from else True
    may = serves_nobody and is_agreed and not is_ours
    units = (_unit(hook, target),) if hook is not None and may else ()
    if not serves_nobody:
        nothing = "It serves somebody, so that nothing is moved."
    elif is_ours:
        nothing = "It may fail for us alone, by our name server, way or trust, so that nothing is moved."
    elif not is_agreed:
        nothing = f"It fails from {failing} of {asked_from} places: no majority, so that nothing is moved."
    else:
        nothing = "Nothing is configured under fail_over that could serve it."
    return plan_of(
        FAIL_OVER,
        issue,
        target,
        units,
        summary="Have the standby serve the endpoint, once it was asked and answers well; put back if the "
        "endpoint is not served then.",
        nothing=nothing,
        risk=Risk.MEDIUM if units else Risk.LOW,
        left_open=("whoever served it before is still to be repaired, and put back in service",)
        if units
        else (),
    )


def _count(report: DiagnosticReport, name: str) -> int:
    value = value_of(report, "requests", name)
    return int(value) if isinstance(value, int | float) else 0


def _unit(hook: FailOver, target: Target) -> Unit:
    if hook.haproxy is not None:
        steps: tuple[Step, ...] = (
            Step(
                title=f"take server {hook.server} of backend {hook.backend} out of service",
                action=SET_SERVER_STATE,
                arguments=SetServerState(
                    socket=str(hook.haproxy), backend=hook.backend, server=hook.server
                ).model_dump(),
                touches=f"server {hook.backend}/{hook.server}",
                time_limit_s=3 * target.timeout_s + 30,
            ),
        )
    elif hook.service is not None:
        steps = _services(hook, target, hook.service)
    else:
        steps = (
            Step(
                title=f"put {shown(hook.spare)!r} in the place of {shown(hook.active)!r} in {hook.file}",
                action=SWITCH_FILE,
                arguments=SwitchFile(file=str(hook.file), active=hook.active, spare=hook.spare).model_dump(),
                touches=f"file {hook.file}",
                time_limit_s=3 * target.timeout_s + hook.timeout_s + 30,
            ),
        )
    return Unit(title=f"have the standby serve {target.name}", steps=steps)


def _services(hook: FailOver, target: Target, service: SecretStr) -> tuple[Step, ...]:
    """
    Start the standby, and stop the one that it replaces.

    A standby that can be asked is started first, so that nothing is stopped if it does not answer well. One
    that cannot has no address of its own, and comes when that is free.
    """

    def step(role: Literal["standby", "serving"], address: SecretStr) -> Step:
        program = supervised(address).in_words
        return Step(
            title=f"{'start' if role == 'standby' else 'stop'} {program}",
            action=SET_SERVICE,
            arguments=SetService(role=role, program=program).model_dump(),
            touches=program,
            time_limit_s=6 * target.timeout_s + 2 * hook.timeout_s + 30,
        )

    start = step("standby", service)
    if hook.replaces is None:
        return (start,)
    stop = step("serving", hook.replaces)
    return (start, stop) if hook.standby is not None else (stop, start)


STRATEGIES: Mapping[str, Strategy] = {FAIL_OVER: plan_fail_over}
