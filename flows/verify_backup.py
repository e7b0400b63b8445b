"""Verify a backup by reading all of it again."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from medic8.backups.choosing import chosen_backup
from medic8.model.backup import VerifyReport
from medic8.settings import load_settings
from tasks import back_up
from tasks.track import untagged


@flow(
    name="verify_backup",
    flow_run_name="verify a backup of {target}",
    persist_result=True,
    result_serializer="json",
)
def verify_backup(target: str, backup: str = "") -> State[VerifyReport]:
    """
    Read all of a backup again and compare it with its digests; nothing is changed.

    Args:
        target: The target's name in the configuration.
        backup: Id of the backup; empty is the newest complete one.
    """
    site = load_settings()
    subject = site.target(target)
    with untagged():
        repository = back_up.backups_of(subject).repository(subject, site.backups)
        report = back_up.verify_backup(subject, site, chosen_backup(repository, backup))
    if report.is_sound:
        return Completed(name="Sound", data=report)
    return Failed(name="Damaged", message=report.damage[0], data=report)
