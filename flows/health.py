"""Look after a target by schedule."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.diagnose import look_and_show, summary
from flows.handed import handing
from flows.heal import heal
from flows.returned import returned
from medic8.model.policy import Origin
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Treatment
from medic8.model.schedule import HEALTH, NOT_HEALED
from medic8.model.target import Mode
from medic8.settings import load_settings
from tasks.observe import note_sighting
from tasks.tell import sign
from tasks.track import untagged


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

    Nobody is there to agree to anything, so what needs a person's approval is left to a person, and what is
    done has limits (docs/admission.md), whoever started this run.

    Args:
        target: The target's name in the configuration.
        heal_allowed: Treat what is wrong, as far as ``mode`` and ``allow`` of the target go.
    """
    site = load_settings()
    subject = site.target(target)
    with untagged():
        report = look_and_show(subject, site)
        # Whether many turn ill at once is seen only by who knows of those that are well.
        note_sighting(report, site)
    if heal_allowed and report.issues and subject.mode is Mode.ACT and subject.allow:
        with handing(report):
            state = heal(target, origin=Origin.SCHEDULE, return_state=True)
        treatment = returned(state, Treatment)
        report = treatment.after or treatment.before
        if not treatment.is_healed:
            return Failed(name=NOT_HEALED, message=summary(report), data=report)
    get_run_logger().info(summary(report))
    name = report.analysis.health.value.capitalize()
    return Completed(name=name, message=summary(report), data=report)
