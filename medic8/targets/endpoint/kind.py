"""The kind ``endpoint`` as the rest of the house sees it."""

from __future__ import annotations

from medic8.analysis.changes import changes
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.endpoint.address import address_problems
from medic8.targets.endpoint.answers import look_at_requests
from medic8.targets.endpoint.certificate import look_at_certificate
from medic8.targets.endpoint.performance import analyze_requests, monitor_endpoint
from medic8.targets.endpoint.policy import POLICY
from medic8.targets.endpoint.remedies import REMEDIES
from medic8.targets.endpoint.rules import CAUSES_BENEATH, RULES
from medic8.targets.endpoint.service import service_problems
from medic8.targets.endpoint.session import open_session
from medic8.targets.endpoint.strategies import STRATEGIES
from medic8.targets.endpoint.vantage import vantage_problems
from medic8.targets.kind import TargetKind


def compare(before: DiagnosticReport, after: DiagnosticReport) -> tuple[Change, ...]:
    """How many requests failed, and how fast the answers were, before and after."""
    called = {
        "requests.failed": "failed requests",
        "requests.status": "status",
        "requests.median": "an answer (median)",
    }
    return tuple(changes(before, after, "requests", called.get))


def requires(target: Target) -> tuple[str, ...]:
    """What is wrong with the configuration of an endpoint."""
    wrong = list(address_problems(target.address))
    wrong += vantage_problems(target)
    hook = target.fail_over
    if hook is not None and hook.standby is not None:
        standby = address_problems(hook.standby.get_secret_value())
        wrong += [each.replace("field 'url'", "field 'fail_over.standby'") for each in standby]
    services = () if hook is None else (("service", hook.service), ("replaces", hook.replaces))
    for name, address in services:
        if address is not None:
            wrong += [f"field 'fail_over.{name}': {each}" for each in service_problems(address)]
    return tuple(wrong)


KIND = TargetKind(
    name="endpoint",
    summary="an HTTP address: whether, how well and how fast it answers, by address and part of the request; "
    "its certificate",
    diagnostics={"requests": look_at_requests, "certificate": look_at_certificate},
    rules=RULES,
    strategies=STRATEGIES,
    open_session=open_session,
    compare=compare,
    requires=requires,
    causes_beneath=CAUSES_BENEATH,
    thresholds=dict(POLICY),
    analyzers={"requests": analyze_requests},
    monitors={"endpoint": monitor_endpoint},
    remedies=REMEDIES,
)
