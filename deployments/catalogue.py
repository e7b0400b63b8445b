"""Which deployments a site needs, from its configuration alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployments import forms
from deployments.procedures import (
    LONGEST_LOOK_S,
    PROCEDURES,
    is_backed_up,
    pruning_dry_run,
)
from deployments.wanted import TAG, Schedule, Wanted, offset_s
from medic8.alerts.runs import FLOW, deployment_for
from medic8.model.schedule import APPROVING, HEALTH
from medic8.model.target import Mode, Target
from medic8.settings import Settings

#: For how many seconds a long look watches what grows.
LOOK_S = 20

#: Whoever frees the places of runs that died must find one: a server that was started again, and whose leases
#: were in memory, keeps such a place until somebody says that the run is dead. No more than these pile up.
_PLACES = 3

#: Kinds of whose targets samples are kept for months, and which show in a long look what grows.
_SAMPLED = frozenset({"valkey", "process", "host"})


def wanted(site: Settings) -> tuple[Wanted, ...]:
    """
    Every deployment of *site*, each with a name of its own.

    What a person starts is there once for each queue, since one deployment has one queue; what runs by itself
    for a target is there once for each target, so that it can be paused alone.
    """
    queues = tuple(dict.fromkeys((site.deployments.queue, *(site.queue_of(each) for each in site.targets))))
    every = (
        *(each for queue in queues for each in _by_hand(site, queue)),
        *(each for target in site.targets for each in _of_target(site, target)),
        *(each for queue in queues for each in _of_queue(site, queue)),
        *(each for queue in queues for each in _alerts(site, queue)),
        *_of_site(site),
    )
    return tuple(each.model_copy(update={"tags": (*each.tags, site.deployments.site_tag)}) for each in every)


def _by_hand(site: Settings, queue: str) -> Iterator[Wanted]:
    for procedure in PROCEDURES:
        targets = [each for each in site.targets if site.queue_of(each) == queue and procedure.takes(each)]
        if targets:
            form = procedure.form(targets)
            yield Wanted(
                flow=procedure.flow,
                name=site.deployments.at(procedure.name, queue),
                entrypoint=procedure.entrypoint,
                pool=site.deployments.pool,
                queue=queue,
                description=procedure.description,
                form=form,
                parameters=forms.defaults(form),
            )
    if any(each.may_wait_for_a_person for each in site.targets if site.queue_of(each) == queue):
        yield _deciding(site, queue)


def _deciding(site: Settings, queue: str) -> Wanted:
    """Where a person says yes or no; several may do so at the same time."""
    form = forms.form(
        plan=forms.needed_text("Plan", "Its digest, as the run that asks shows it, or the id of that run."),
        decision=forms.decision(),
        reason=forms.needed_text("Reason", "Why. Shown in the history to whoever asks later."),
        by=forms.text("By", "Who says so. Empty: whoever may start runs here."),
        queue=forms.queue(queue),
    )
    return Wanted(
        flow="approve",
        name=site.deployments.at(APPROVING, queue),
        entrypoint="flows.approve.approve",
        pool=site.deployments.pool,
        queue=queue,
        description="Say yes or no to a plan that waits for a person. What is approved is carried out if the "
        "same would be done now, and no rule objects; **a plan that has changed is asked for again**.",
        form=form,
        parameters=forms.defaults(form),
    )


def _of_target(site: Settings, target: Target) -> Iterator[Wanted]:
    how = site.schedule_of(target)
    heals = how.heal and target.mode is Mode.ACT and bool(target.allow)
    acts = (
        "heal what its configuration allows; what needs a person's approval is left to a person"
        if heals
        else "change nothing"
    )
    name = forms.target([target.name])
    has_backups = bool(how.backup) and is_backed_up(target)
    if how.health:
        yield _scheduled(
            site,
            target,
            HEALTH,
            f"health of {target.name}",
            "flows.health.health",
            f"Diagnose {target.name} every {how.health} s, and {acts}.",
            forms.form(
                target=name,
                heal_allowed=forms.switch(
                    "Heal what is allowed",
                    "On: treat what is wrong, as far as the target allows, and never what needs a person's "
                    "approval. Off: only look.",
                    default=heals,
                ),
            ),
            how.health,
        )
    if how.samples and target.kind in _SAMPLED:
        yield _scheduled(
            site,
            target,
            "diagnose",
            f"samples of {target.name}",
            "flows.diagnose.diagnose",
            f"Look at {target.name} every {how.samples} s for {LOOK_S} s, to see what grows, and keep a "
            "sample for months. Changes nothing.",
            forms.form(
                target=name,
                watch_s=forms.seconds(
                    "Watch for seconds", "For how long to watch.", default=LOOK_S, most=LONGEST_LOOK_S
                ),
            ),
            how.samples,
        )
    if has_backups:
        yield _scheduled(
            site,
            target,
            "back_up",
            f"backup of {target.name}",
            "flows.back_up.back_up",
            f"Back {target.name} up every {how.backup} s. The target is only read.",
            forms.form(
                target=name, full=forms.switch("Full", "On: read and write everything.", default=False)
            ),
            how.backup,
        )
    if has_backups and site.schedule.prune:
        yield _scheduled(
            site,
            target,
            "prune_backups",
            f"prune backups of {target.name}",
            "flows.prune_backups.prune_backups",
            f"Remove backups of {target.name} that retention does not keep, every {site.schedule.prune} s.",
            forms.form(target=name, dry_run=pruning_dry_run(default=False)),
            site.schedule.prune,
        )


def _scheduled(
    site: Settings,
    target: Target,
    flow: str,
    name: str,
    entrypoint: str,
    description: str,
    form: dict[str, Any],
    every_s: int,
) -> Wanted:
    return Wanted(
        flow=flow,
        name=site.deployments.named(name),
        entrypoint=entrypoint,
        pool=site.deployments.pool,
        queue=site.queue_of(target),
        description=description,
        tags=(TAG, f"target:{target.name}", f"kind:{target.kind}"),
        form=form,
        parameters=forms.defaults(form),
        at_a_time=1,
        schedule=Schedule(every_s=every_s, offset_s=offset_s(name, every_s)),
    )


def _of_queue(site: Settings, queue: str) -> Iterator[Wanted]:
    yield _periodic(
        site,
        queue,
        "restore_interrupted",
        "end interrupted recoveries",
        "flows.restore_interrupted.restore_interrupted",
        f"End recoveries of targets of queue {queue} whose process has died: what was begun is put back.",
        forms.form(queue=forms.queue(queue)),
        site.schedule.restore_interrupted,
        at_a_time=_PLACES,
    )
    yield _periodic(
        site,
        queue,
        "prune_saved_state",
        "prune saved state",
        "flows.prune_saved_state.prune_saved_state",
        f"Remove what recoveries saved, on the machine of queue {queue}, and retention does not keep. By "
        "hand a dry run, unless you say otherwise.",
        forms.form(dry_run=pruning_dry_run()),
        site.schedule.prune,
        {"dry_run": False},
    )


def _alerts(site: Settings, queue: str) -> Iterator[Wanted]:
    """What the alert gateway starts; a person can as well, who then stands in for an alert."""
    targets = [each for each in site.targets if site.queue_of(each) == queue]
    form = forms.form(
        target=forms.target([each.name for each in targets]),
        generation=forms.text("Alerts", "Filled in by the alert gateway. Empty: nobody's, you ask."),
    )
    if targets:
        yield Wanted(
            flow=FLOW,
            name=site.deployments.named(deployment_for(queue, site.deployments.queue)),
            entrypoint="flows.respond.respond",
            pool=site.deployments.pool,
            queue=queue,
            description="Answer alerts about a target: diagnose it, and treat what is wrong as far as its "
            "configuration allows. Nothing that needs a person's approval is done.",
            form=form,
            parameters=forms.defaults(form),
        )


def _of_site(site: Settings) -> Iterator[Wanted]:
    yield _periodic(
        site,
        site.deployments.queue,
        "watch_schedules",
        "watch schedules",
        "flows.watch_schedules.watch_schedules",
        "Notice targets that are no longer diagnosed by schedule. A run that finds one fails, and names it.",
        forms.form(),
        site.schedule.watch_schedules,
        at_a_time=_PLACES,
    )


def _periodic(
    site: Settings,
    queue: str,
    flow: str,
    name: str,
    entrypoint: str,
    description: str,
    form: dict[str, Any],
    every_s: int,
    by_schedule: dict[str, Any] | None = None,
    *,
    at_a_time: int = 1,
) -> Wanted:
    """A procedure of a queue that a person can start as well, which is all there is to it at 0 seconds."""
    schedule = Schedule(
        every_s=every_s, offset_s=offset_s(f"{flow}/{queue}", every_s), parameters=by_schedule or {}
    )
    return Wanted(
        flow=flow,
        name=site.deployments.at(name, queue),
        entrypoint=entrypoint,
        pool=site.deployments.pool,
        queue=queue,
        description=description,
        form=form,
        parameters=forms.defaults(form),
        at_a_time=at_a_time,
        schedule=schedule if every_s else None,
    )
