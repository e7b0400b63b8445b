"""Restore a target from a backup."""

from __future__ import annotations

from prefect import flow, get_run_logger

from medic8.backups.choosing import chosen_backup
from medic8.backups.errors import NothingThereError
from medic8.model.backup import RestoreReport, RestoreWish
from medic8.model.target import Target
from medic8.settings import Settings, load_settings
from tasks.back_up import back_up_target, backups_of, restore_target
from tasks.track import untagged


@flow(
    name="restore_backup",
    flow_run_name="restore {target} from a backup",
    persist_result=True,
    result_serializer="json",
)
def restore_backup(
    target: str,
    backup: str = "",
    blocks: tuple[int, ...] = (),
    names: tuple[str, ...] = (),
    prefix: str = "",
    overwrite: bool = False,
    into: str = "",
) -> RestoreReport:
    """
    Write what a backup has into a target where it is lost or missing; newer content stays.

    Args:
        target: The target's name in the configuration.
        backup: Id of the backup; empty is the newest complete one.
        blocks: Which blocks of a grid; empty is all.
        names: Which keys of a server; empty is all.
        prefix: Only keys that begin so.
        overwrite: Replace what differs from the backup, too. It is backed up before.
        into: Name of a new grid to restore into; empty is the grid itself.
    """
    wish = RestoreWish(
        backup=backup, blocks=blocks, names=names, prefix=prefix, overwrite=overwrite, into=into
    )
    site = load_settings()
    with untagged():
        return _restore(site.target(target), site, wish)


def _restore(target: Target, site: Settings, wish: RestoreWish) -> RestoreReport:
    chosen = chosen_backup(backups_of(target).repository(target, site.backups), wish.backup)
    saved_before = ""
    if wish.overwrite and not wish.into:
        try:
            saved_before = back_up_target(target, site, prefix=wish.prefix, names=wish.names).id
            get_run_logger().info("what was there before is kept in backup %s", saved_before)
        except NothingThereError as exc:
            get_run_logger().info("there is nothing to be kept before: %s", exc)
    # A second try would meet the new grid that the first one made, and call that the reason.
    restoring = restore_target.with_options(retries=0) if wish.into else restore_target
    report = restoring(target, site, chosen, wish)
    return report.model_copy(update={"saved_before": saved_before})
