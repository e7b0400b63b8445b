"""Have a server read the certificate that was renewed on its disk."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Step, StepClass, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.planning import objects_of
from medic8.targets.valkey.acts.certificate import RELOAD_CERTIFICATE as RELOAD
from medic8.targets.valkey.acts.certificate import ReloadCertificate
from medic8.targets.valkey.looks.certificate import WHY_NOT
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.plans.planning import plan_of

RELOAD_CERTIFICATE = "reload_certificate"


def plan_reload(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """Plan to have certificate and key read again, where the file's is newer, fit, and shuts nobody out."""
    found = [
        ReloadCertificate.model_validate(each) for each in objects_of(issue, report, "certificate.stale")
    ]
    units = [_unit(ask, target) for ask in found]
    why_not = [
        f"The renewed certificate is not loaded: {each.seen}"
        for finding in report.analysis.findings
        if finding.code == "certificate.stale" and finding.about == issue.about
        for each in finding.evidence
        if each.what == WHY_NOT
    ]
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
        left_open=tuple(why_not),
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
