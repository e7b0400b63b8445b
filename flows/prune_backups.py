"""Remove the backups of a target that the site's retention does not keep."""

from __future__ import annotations

from prefect import flow

from medic8.model.backup import PruneReport
from medic8.settings import load_settings
from tasks import back_up
from tasks.tell import sign_deployed
from tasks.track import untagged


@flow(
    name="prune_backups",
    flow_run_name="prune backups of {target}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign_deployed],
)
def prune_backups(target: str, dry_run: bool = False) -> PruneReport:
    """
    Remove backups that no rule of retention keeps, and then every file that no backup needs.

    Args:
        target: The target's name in the configuration.
        dry_run: Say what would be removed, and remove nothing.
    """
    site = load_settings()
    with untagged():
        return back_up.prune_backups(site.target(target), site, is_dry_run=dry_run)
