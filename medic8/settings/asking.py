"""What the rules of a configuration are asked about."""

from __future__ import annotations

from datetime import datetime

from medic8.model.policy import Mandate, Pause, Request
from medic8.model.target import Target
from medic8.owner import machine_id
from medic8.recovery.admitting import Admitting
from medic8.safety.rules import fleet_of, member_of
from medic8.settings.settings import Settings
from medic8.targets.references import silent_references


def asking(
    site: Settings,
    target: Target,
    mandate: Mandate,
    *,
    issue: str = "",
    issue_type: str = "",
    pauses: tuple[Pause, ...] = (),
    at: datetime,
) -> Admitting:
    """
    The question whether something may be begun on *target* now.

    The worker's references are asked for it, which may take as long as their time limit.

    Args:
        site: The configuration.
        target: On what.
        mandate: On whose behalf; what a person does is not held against references.
        issue: Fingerprint of the issue; empty = no particular one.
        issue_type: Its type; empty = no particular one.
        pauses: Pauses that are not the journal's.
        at: The time now.
    """
    by_name = {each.name: each for each in site.targets}
    return Admitting(
        request=Request(
            target=member_of(target, by_name, site.policy),
            issue=issue,
            issue_type=issue_type,
            mandate=mandate,
        ),
        fleet=fleet_of(site.targets, site.policy),
        policy=site.policy,
        observer=site.observer,
        worker=machine_id(),
        silent=silent_references(site.observer) if mandate.origin.is_automatic else (),
        pauses=pauses,
        at=at,
    )
