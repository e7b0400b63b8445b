"""Back a target up."""

from __future__ import annotations

from prefect import flow

from medic8.model.backup import BackupManifest
from medic8.settings import load_settings
from tasks.back_up import back_up_target
from tasks.tell import sign_deployed
from tasks.track import untagged


@flow(
    name="back_up",
    flow_run_name="back up {target}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign_deployed],
)
def back_up(target: str, full: bool = False, prefix: str = "") -> BackupManifest:
    """
    Write a verified backup of a target; the target is only read.

    Args:
        target: The target's name in the configuration.
        full: Read and write everything, whatever earlier backups have.
        prefix: Of a server, only keys that begin so.
    """
    site = load_settings()
    with untagged():
        return back_up_target(site.target(target), site, is_full=full, prefix=prefix)
