"""Restore a target from a backup."""

from __future__ import annotations

from prefect import flow, get_run_logger

from medic8.backups.choosing import chosen_backup
from medic8.backups.errors import NothingThereError
from medic8.model.backup import RestoreReport, RestoreWish
from medic8.model.policy import Mandate, Origin
from medic8.model.target import Target
from medic8.settings import Settings, load_settings
from tasks.back_up import back_up_target, backups_of, restore_target
from tasks.origin import origin_of_run
from tasks.pause import require_unpaused
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
    override: str = "",
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
        override: Why a person goes on although there is a pause; empty = a pause stops it.
    """
    wish = RestoreWish(
        backup=backup, blocks=blocks, names=names, prefix=prefix, overwrite=overwrite, into=into
    )
    site = load_settings()
    _require_unpaused(site.target(target), site, override)
    with untagged():
        return _restore(site.target(target), site, wish)


def _require_unpaused(target: Target, site: Settings, override: str) -> None:
    """With an *override* nobody is asked, so that a restore needs no journal: that may be lost as well."""
    origin = origin_of_run(Origin.PERSON)
    if override and not origin.is_automatic:
        get_run_logger().warning("a pause would not stop this restore: %s", override)
        return
    require_unpaused(target, site, Mandate(origin=origin))


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
