"""What a person can start, each with its form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deployments import forms
from medic8.model.schedule import DIAGNOSING
from medic8.model.target import Target
from medic8.targets.registry import kind_named

#: Longest that a form lets anything be watched for.
LONGEST_LOOK_S = 600

Form = Callable[[Sequence[Target]], forms.Schema]


@dataclass(frozen=True)
class Procedure:
    """
    A flow that a person starts from a form, once for each queue.

    Attributes:
        flow: Its name.
        name: What starting it is called.
        entrypoint: Where it is.
        description: For people.
        form: Makes its form for the targets of a queue.
        takes: Whether it is for a target; without one that it is for there is no deployment.
    """

    flow: str
    name: str
    entrypoint: str
    description: str
    form: Form
    takes: Callable[[Target], bool] = lambda _: True


def _is_grid(target: Target) -> bool:
    return target.kind == "grid"


def is_backed_up(target: Target) -> bool:
    """Whether targets of its kind are backed up."""
    return kind_named(target.kind).backups is not None


def _names(targets: Iterable[Target]) -> list[str]:
    return [target.name for target in targets]


def _allowed(targets: Iterable[Target]) -> list[str]:
    return [name for target in targets for name in target.allow]


def pruning_dry_run(*, default: bool = True) -> forms.Schema:
    """The switch that keeps everything where it is."""
    return forms.switch(
        "Dry run",
        "On: show what would be removed, and remove nothing. Off: remove it; it cannot be brought back.",
        default=default,
    )


_BACKUP = forms.text(
    "Backup", "Id of the backup, as medic8 backup list shows it. Empty: the newest complete one."
)
_WATCH = forms.seconds(
    "Watch for seconds",
    "For how long to watch what grows. 0: only for moments.",
    default=0,
    most=LONGEST_LOOK_S,
)
_PREFIX = forms.text("Prefix", "Of a server, only keys that begin so. Empty: all.")

#: What a person can start, in the order in which the documentation lists it.
PROCEDURES = (
    Procedure(
        "diagnose",
        DIAGNOSING,
        "flows.diagnose.diagnose",
        "Look at a target and say what is wrong, with the evidence. Changes nothing.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            watch_s=_WATCH,
        ),
    ),
    Procedure(
        "diagnose_grid",
        "diagnose a grid",
        "flows.diagnose_grid.diagnose_grid",
        "Health, consistency and performance of a memory grid. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets))),
        _is_grid,
    ),
    Procedure(
        "troubleshoot_performance",
        "find bottlenecks",
        "flows.troubleshoot.troubleshoot_performance",
        "Measure how fast a target is, and say what holds it up. Changes nothing.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            seconds=forms.seconds(
                "Seconds", "For how long each analyzer looks.", default=5, most=LONGEST_LOOK_S
            ),
        ),
    ),
    Procedure(
        "troubleshoot_resources",
        "find shortages",
        "flows.troubleshoot.troubleshoot_resources",
        "How the resources of a target are used, and which run short. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets))),
    ),
    Procedure(
        "heal",
        "heal a target",
        "flows.heal.heal",
        'Diagnose a target, and treat what is wrong: only on targets with `mode = "act"`, and only by the '
        "strategies that they allow. State is saved first; what does not help is put back. **A dry run "
        "unless you say otherwise.**",
        lambda targets: forms.form(
            target=forms.target(
                _names(targets), 'Without mode = "act" nothing is changed on it, whatever is chosen here.'
            ),
            strategy=forms.strategy(_allowed(targets)),
            dry_run=forms.dry_run(),
            approved=forms.approved(),
            watch_s=_WATCH,
        ),
    ),
    Procedure(
        "undo",
        "undo a resolution",
        "flows.undo.undo",
        "Put back what a finished resolution had replaced, where the target still holds what it wrote. **A "
        "dry run unless you say otherwise.**",
        lambda _: forms.form(
            run=forms.needed_text(
                "Run", "Id of the resolution, as medic8 history shows it; its beginning is enough."
            ),
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
        "back a target up",
        "flows.back_up.back_up",
        "Write a verified backup of a target. The target is only read.",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            full=forms.switch(
                "Full", "On: read and write everything. Off: only what earlier backups lack.", default=False
            ),
            prefix=_PREFIX,
        ),
        is_backed_up,
    ),
    Procedure(
        "restore_backup",
        "restore a backup",
        "flows.restore_backup.restore_backup",
        "Write what a backup has into a target where it is lost or missing. Newer content stays, unless you "
        "say otherwise. **Changes the target.**",
        lambda targets: forms.form(
            target=forms.target(_names(targets)),
            backup=_BACKUP,
            prefix=_PREFIX,
            overwrite=forms.switch(
                "Overwrite",
                "On: replace what differs from the backup, too; newer content is lost from the target, "
                "and kept in a backup that is made first. Off: only what is lost or missing.",
                default=False,
            ),
            into=forms.text("Into", "Name of a new grid to restore into. Empty: the grid itself."),
        ),
        is_backed_up,
    ),
    Procedure(
        "verify_backup",
        "verify a backup",
        "flows.verify_backup.verify_backup",
        "Read all of a backup again and compare it with its digests. Changes nothing.",
        lambda targets: forms.form(target=forms.target(_names(targets)), backup=_BACKUP),
        is_backed_up,
    ),
    Procedure(
        "prune_backups",
        "prune backups",
        "flows.prune_backups.prune_backups",
        "Remove backups that no rule of retention keeps. **A dry run unless you say otherwise.**",
        lambda targets: forms.form(target=forms.target(_names(targets)), dry_run=pruning_dry_run()),
        is_backed_up,
    ),
)
