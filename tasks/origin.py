"""Who or what began a run."""

from __future__ import annotations

from prefect.context import FlowRunContext

from medic8.model.policy import Origin


def origin_of_run(said: Origin) -> Origin:
    """*said*, unless Prefect's own schedule began the run: nobody has to say that of a schedule."""
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    is_scheduled = run is not None and bool(run.auto_scheduled)
    return Origin.SCHEDULE if said is Origin.PERSON and is_scheduled else said
