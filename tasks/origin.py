"""Who or what began a run."""

from __future__ import annotations

from prefect.context import FlowRunContext

from medic8.model.policy import Origin

#: Who made a run, as Prefect's server notes it of one that an automation started.
_AUTOMATION = "AUTOMATION"


def origin_of_run(said: Origin) -> Origin:
    """
    *said*, unless Prefect itself began the run by a schedule or an automation: neither has to say so.

    The form of a flow has no field for it, and whoever starts it by the form would be taken for a person.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if said is not Origin.PERSON or run is None:
        return said
    if run.auto_scheduled:
        return Origin.SCHEDULE
    is_automation = run.created_by is not None and run.created_by.type == _AUTOMATION
    return Origin.ALERT if is_automation else said
