"""Have a server read the certificate that was renewed on its disk."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.valkey.acts.certificate import RELOAD_CERTIFICATE as RELOAD
from medic8.targets.valkey.acts.certificate import ReloadCertificate
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.plans.planning import objects_of, plan_of

RELOAD_CERTIFICATE = "reload_certificate"


def plan_reload(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to have certificate and key read again, where the file's is newer and was found fit."""
    found = [
        ReloadCertificate.model_validate(each) for each in objects_of(issue, report, "certificate.stale")
    ]
    units = [_unit(ask, target) for ask in found]
    return plan_of(
        RELOAD_CERTIFICATE,
        issue,
        report,
        target,
        units,
        summary="Have the server read its renewed certificate again, from the same files. Open connections "
        "stay; new ones get the new certificate.",
        nothing="No renewed certificate waits that is fit to be loaded.",
        belongs=Belonging.SETTINGS,
    )


def _unit(ask: ReloadCertificate, target: Target) -> Unit:
    step = Step(
        title=f"have {target.name} read its renewed certificate again",
        action=RELOAD,
        arguments=ask.model_dump(),
        touches="certificate in use",
        step_class=StepClass.HARMLESS,
    )
    return Unit(title="certificate", steps=(step,), proves_itself=True)
