"""Remove what recoveries saved and the site's retention does not keep."""

from __future__ import annotations

from prefect import flow

from medic8.model.saved import Pruning
from medic8.settings import load_settings
from tasks.prune_saved_state import prune_saved
from tasks.tell import sign_deployed
from tasks.track import untagged


@flow(
    name="prune_saved_state",
    flow_run_name="prune saved state of recoveries",
    persist_result=True,
    result_serializer="json",
    on_running=[sign_deployed],
)
def prune_saved_state(dry_run: bool = False) -> Pruning:
    """
    Remove what recoveries saved that have ended, by ``keep_days`` and ``keep_mib``.

    May be killed at any moment and run any number of times at once: the journal
    hears of each before its folder is removed.

    Args:
        dry_run: Say what would be removed, and remove nothing.
    """
    site = load_settings()
    with untagged():
        return prune_saved(site, is_dry_run=dry_run)
