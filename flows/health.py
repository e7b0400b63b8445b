"""Look after a target by schedule."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.diagnose import diagnose, summary
from flows.heal import heal
from flows.returned import returned
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Treatment
from medic8.model.schedule import HEALTH, NOT_HEALED
from medic8.model.target import Mode
from medic8.settings import load_settings
from tasks.tell import sign


@flow(
    name=HEALTH,
    flow_run_name="health of {target}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def health(target: str, heal_allowed: bool = False) -> State[DiagnosticReport]:
    """
    Diagnose a target, and heal what its configuration allows if that is asked for.

    Nobody is there to agree to anything, so what needs a person's approval is left to a person.

    Args:
        target: The target's name in the configuration.
        heal_allowed: Treat what is wrong, as far as ``mode`` and ``allow`` of the target go.
    """
    subject = load_settings().target(target)
    report = returned(diagnose(target, return_state=True), DiagnosticReport)
    if heal_allowed and report.issues and subject.mode is Mode.ACT and subject.allow:
        treatment = returned(heal(target, return_state=True), Treatment)
        report = treatment.after or treatment.before
        if not treatment.is_healed:
            return Failed(name=NOT_HEALED, message=summary(report), data=report)
    get_run_logger().info(summary(report))
    name = report.analysis.health.value.capitalize()
    return Completed(name=name, message=summary(report), data=report)
