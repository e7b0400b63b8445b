"""Which deployments a site needs, from its configuration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deployments import forms
from deployments.wanted import TAG, Schedule, Wanted, offset_s
from medic8.alerts.runs import FLOW, deployment_for
from medic8.model.schedule import HEALTH, QUEUE
from medic8.model.target import Mode, Target
from medic8.settings import Settings
from medic8.targets.registry import kind_named

#: For how many seconds a long look watches what grows.
LOOK_S = 20

_LONGEST_LOOK_S = 600

#: Kinds of whose targets samples are kept for months, and which show in a long look what grows.
_SAMPLED = frozenset({"valkey", "process", "host"})

Form = Callable[[Sequence[Target]], forms.Schema]


@dataclass(frozen=True)
class Procedure:
    """
    A flow that a person starts from a form, once for each queue.

    Attributes:
        flow: Its name.
        entrypoint: Where it is.
        description: For people.
        form: Makes its form for the targets of a queue.
        takes: Whether it is for a target; without one that it is for there is no deployment.
    """

    flow: str
    entrypoint: str
    description: str
    form: Form
    takes: Callable[[Target], bool] = lambda _: True


def _is_grid(target: Target) -> bool:
    return target.kind == "grid"


def _is_backed_up(target: Target) -> bool:
    return kind_named(target.kind).backups is not None


def _names(targets: Iterable[Target]) -> list[str]:
    return [target.name for target in targets]


def _allowed(targets: Iterable[Target]) -> list[str]:
    return [name for target in targets for name in target.allow]


_BACKUP = forms.text("Backup", "Id of the backup, as `medic8 backup list` shows it. Empty: the newest complete one.")
_PREFIX = forms.text("Prefix", "Of a server, only keys that begin so. Empty: all.")

#: What a person can start, in the order in which the documentation lists it.
PROCEDURES = (
    Procedure(
        "diagnose",
        "flows.diagnose.diagnose",
        "Look at a target and say what is wrong, with the evidence. Changes nothing.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            watch_s=forms.seconds(
                "Watch for seconds",
                "For how long to watch what grows. 0: only for moments.",
                default=0,
                most=_LONGEST_LOOK_S,
            ),
        ),
    ),
    Procedure(
        "diagnose_grid",
        "flows.diagnose_grid.diagnose_grid",
        "Health, consistency and performance of a memory grid. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets))),
        _is_grid,
    ),
    Procedure(
        "troubleshoot_performance",
        "flows.troubleshoot.troubleshoot_performance",
        "Measure how fast a target is, and say what holds it up. Changes nothing.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            seconds=forms.seconds(
                "Seconds", "For how long each analyzer looks.", default=5, most=_LONGEST_LOOK_S
            ),
        ),
    ),
    Procedure(
        "troubleshoot_resources",
        "flows.troubleshoot.troubleshoot_resources",
        "How the resources of a target are used, and which run short. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets))),
    ),
    Procedure(
        "heal",
        "flows.heal.heal",
        'Diagnose a target, and treat what is wrong: only on targets with `mode = "act"`, and only by the '
        "strategies that they allow. State is saved first; what does not help is put back. **A dry run unless "
        "you say otherwise.**",
        lambda targets: forms.form(
            target=forms.target(
                _names(targets), 'Without `mode = "act"` nothing is changed on it, whatever is chosen here.'
            ),
            strategy=forms.strategy(_allowed(targets)),
            dry_run=forms.dry_run(),
            approved=forms.approved(),
        ),
    ),
    Procedure(
        "undo",
        "flows.undo.undo",
        "Put back what a finished resolution had replaced, where the target still holds what it wrote. **A dry run "
        "unless you say otherwise.**",
        lambda _: forms.form(
            run=forms.needed_text("Run", "Id of the resolution, as `medic8 history` shows it; its beginning is enough."),
            restorable_only=forms.switch(
                "Restorable only",
                "On: leave out steps that cannot be taken back. Off: refuse if there are any.",
                default=False,
            ),
            dry_run=forms.dry_run(),
        ),
    ),
    Procedure(
        "back_up",
        "flows.back_up.back_up",
        "Write a verified backup of a target. The target is only read.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            full=forms.switch(
                "Full", "On: read and write everything. Off: only what earlier backups lack.", default=False
            ),
            prefix=_PREFIX,
        ),
        _is_backed_up,
    ),
    Procedure(
        "restore_backup",
        "flows.restore_backup.restore_backup",
        "Write what a backup has into a target where it is lost or missing. Newer content stays, unless you say "
        "otherwise. **Changes the target.**",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            backup=_BACKUP,
            prefix=_PREFIX,
            overwrite=forms.switch(
                "Overwrite",
                "On: replace what differs from the backup, too; **newer content is lost from the target**, and "
                "kept in a backup that is made first. Off: only what is lost or missing.",
                default=False,
            ),
            into=forms.text("Into", "Name of a new grid to restore into. Empty: the grid itself."),
        ),
        _is_backed_up,
    ),
    Procedure(
        "verify_backup",
        "flows.verify_backup.verify_backup",
        "Read all of a backup again and compare it with its digests. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets)), backup=_BACKUP),
        _is_backed_up,
    ),
    Procedure(
        "prune_backups",
        "flows.prune_backups.prune_backups",
        "Remove backups that no rule of retention keeps. **A dry run unless you say otherwise.**",
        lambda targets: forms.form(target=forms.target(_names(targets)), dry_run=_prune()),
        _is_backed_up,
    ),
)


def _prune(*, default: bool = True) -> forms.Schema:
    return forms.switch(
        "Dry run",
        "On: show what would be removed, and remove **nothing**. Off: remove it; it cannot be brought back.",
        default=default,
    )


def wanted(site: Settings) -> tuple[Wanted, ...]:
    """
    Every deployment of *site*, each with a name of its own.

    What a person starts is there once for each queue, since one deployment has one queue; what runs by itself
    for a target is there once for each target, so that it can be paused alone.
    """
    queues = tuple(dict.fromkeys((site.deployments.queue, *(site.queue_of(each) for each in site.targets))))
    return (
        *(each for queue in queues for each in _by_hand(site, queue)),
        *(each for target in site.targets for each in _of_target(site, target)),
        *(each for queue in queues for each in _of_queue(site, queue)),
        *(each for queue in queues for each in _alerts(site, queue)),
        *_of_site(site),
    )


def _by_hand(site: Settings, queue: str) -> Iterator[Wanted]:
    name = "on demand" if queue == QUEUE else f"on demand at {queue}"
    for procedure in PROCEDURES:
        targets = [each for each in site.targets if site.queue_of(each) == queue and procedure.takes(each)]
        if targets:
            form = procedure.form(targets)
            yield Wanted(
                flow=procedure.flow,
                name=site.deployments.named(name),
                entrypoint=procedure.entrypoint,
                pool=site.deployments.pool,
                queue=queue,
                description=procedure.description,
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
    is_backed_up = bool(how.backup) and _is_backed_up(target)
    if how.health:
        yield _scheduled(
            site,
            target,
            HEALTH,
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
            "flows.diagnose.diagnose",
            f"Look at {target.name} every {how.samples} s for {LOOK_S} s, to see what grows, and keep a sample for "
            "months. Changes nothing.",
            forms.form(
                target=name,
                watch_s=forms.seconds(
                    "Watch for seconds", "For how long to watch.", default=LOOK_S, most=_LONGEST_LOOK_S
                ),
            ),
            how.samples,
        )
    if is_backed_up:
        yield _scheduled(
            site,
            target,
            "back_up",
            "flows.back_up.back_up",
            f"Back {target.name} up every {how.backup} s. The target is only read.",
            forms.form(
                target=name, full=forms.switch("Full", "On: read and write everything.", default=False)
            ),
            how.backup,
        )
    if is_backed_up and site.schedule.prune:
        yield _scheduled(
            site,
            target,
            "prune_backups",
            "flows.prune_backups.prune_backups",
            f"Remove the backups of {target.name} that retention does not keep, every {site.schedule.prune} s.",
            forms.form(target=name, dry_run=_prune(default=False)),
            site.schedule.prune,
        )


def _scheduled(
    site: Settings,
    target: Target,
    flow: str,
    entrypoint: str,
    description: str,
    form: dict[str, Any],
    every_s: int,
) -> Wanted:
    return Wanted(
        flow=flow,
        name=site.deployments.named(target.name),
        entrypoint=entrypoint,
        pool=site.deployments.pool,
        queue=site.queue_of(target),
        description=description,
        tags=(TAG, f"target:{target.name}", f"kind:{target.kind}"),
        form=form,
        parameters=forms.defaults(form),
        one_at_a_time=True,
        schedule=Schedule(every_s=every_s, offset_s=offset_s(f"{flow}/{target.name}", every_s)),
    )


def _of_queue(site: Settings, queue: str) -> Iterator[Wanted]:
    yield _periodic(
        site,
        queue,
        "restore_interrupted",
        "flows.restore_interrupted.restore_interrupted",
        f"End recoveries of targets of queue {queue} whose process has died: what they had begun is put back.",
        forms.form(
            queue={
                "title": "Queue",
                "type": "string",
                "enum": [queue],
                "default": queue,
                "description": "Whose targets are meant.",
            }
        ),
        site.schedule.restore_interrupted,
    )
    yield _periodic(
        site,
        queue,
        "prune_saved_state",
        "flows.prune_saved_state.prune_saved_state",
        f"Remove what recoveries saved, on the machine of queue {queue}, and retention does not keep. By hand a dry "
        "run, unless you say otherwise.",
        forms.form(dry_run=_prune()),
        site.schedule.prune,
        {"dry_run": False},
    )


def _alerts(site: Settings, queue: str) -> Iterator[Wanted]:
    """What the alert gateway starts; a person can as well, who then stands in for an alert."""
    targets = [each for each in site.targets if site.queue_of(each) == queue]
    form = forms.form(
        target=forms.target(_names(targets)),
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
        "flows.watch_schedules.watch_schedules",
        "Notice targets that are no longer diagnosed by schedule. A run that has found one fails, and names it.",
        forms.form(),
        site.schedule.watch_schedules,
    )


def _periodic(
    site: Settings,
    queue: str,
    flow: str,
    entrypoint: str,
    description: str,
    form: dict[str, Any],
    every_s: int,
    by_schedule: dict[str, Any] | None = None,
) -> Wanted:
    """A procedure of a queue that a person can start as well, which is all there is to it at 0 seconds."""
    schedule = Schedule(
        every_s=every_s, offset_s=offset_s(f"{flow}/{queue}", every_s), parameters=by_schedule or {}
    )
    return Wanted(
        flow=flow,
        name=site.deployments.named(queue),
        entrypoint=entrypoint,
        pool=site.deployments.pool,
        queue=queue,
        description=description,
        form=form,
        parameters=forms.defaults(form),
        one_at_a_time=True,
        schedule=schedule if every_s else None,
    )
