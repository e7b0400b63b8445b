"""Back a target up."""

from __future__ import annotations

from prefect import flow

from medic8.model.backup import BackupManifest
from medic8.settings import load_settings
from tasks.back_up import back_up_grid
from tasks.track import untagged


@flow(name="back_up", flow_run_name="back up {target}", persist_result=True, result_serializer="json")
def back_up(target: str) -> BackupManifest:
    """
    Write a full, verified backup of a grid; the grid is only read.

    Args:
        target: The name of a target of kind ``grid`` in the configuration.
    """
    site = load_settings()
    subject = site.target(target)
    with untagged():
        return back_up_grid(subject, site)
