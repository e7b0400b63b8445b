"""Answer the alerts about a target: look for oneself, and treat what is found."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.diagnose import diagnose, summary
from flows.handed import handing
from flows.heal import heal
from flows.interruption import interruption
from flows.returned import returned
from medic8.model.alert import RUN_NAME, End
from medic8.model.policy import Origin
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Response, Treatment
from medic8.settings import Settings, load_settings
from tasks.alerts import begin_diagnosis, begin_treatment, end_answer
from tasks.tell import sign
from tasks.track import tag, untagged


@flow(
    name="respond",
    flow_run_name=RUN_NAME,
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def respond(target: str, generation: str = "") -> State[Response]:
    """
    Diagnose a target that alerts are about, and treat what is wrong as far as its configuration allows.

    An alert is a hint where to look, and no diagnosis. If another arrives after the last look began,
    there is another look before this ends.

    Args:
        target: The target's name in the configuration.
        generation: Which alerts, as the gateway numbers them; empty = none, a person asks.
    """
    site = load_settings()
    site.target(target)
    treatments = list[Treatment]()
    report: DiagnosticReport | None = None
    end, text = End.CLEARED, "every alert was resolved before anything was begun"
    while not interruption():
        with untagged():
            if generation and not begin_diagnosis(generation, site):
                break
        report = returned(diagnose(target, return_state=True), DiagnosticReport)
        if not report.is_healthy:
            with untagged():
                if generation and not begin_treatment(generation, site):
                    break
            with handing(report):
                treated = heal(target, origin=Origin.ALERT, return_state=True)
            treatments.append(returned(treated, Treatment))
            report = treatments[-1].after or treatments[-1].before
        end = _end_of(report, treatments)
        text = summary(report)
        if end is End.NOT_HEALED:
            text = f"{text}; {treatments[-1].why_not_healed}"
        if _is_over(generation, end, text, site):
            break
    answer = Response(
        target=target, generation=generation, end=end, report=report, treatments=tuple(treatments)
    )
    with untagged():
        tag(flow_run.get_id() or "", {f"outcome:{end.value}"})
    get_run_logger().info(text)
    lost = (each.lost for each in treatments)
    name = ", ".join(filter(None, (end.value.replace("_", " ").capitalize(), *lost)))
    if end is End.NOT_HEALED:
        return Failed(name=name, message=text, data=answer)
    return Completed(name=name, message=text, data=answer)


def _end_of(report: DiagnosticReport, treatments: list[Treatment]) -> End:
    if not report.is_healthy:
        return End.NOT_HEALED
    return End.HEALED if treatments else End.ALREADY_HEALTHY


def _is_over(generation: str, end: End, reason: str, site: Settings) -> bool:
    if not generation:
        return True
    with untagged():
        return end_answer(generation, end, reason, site)
