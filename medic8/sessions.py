"""Open the one connection that is needed for changing a target, as the configuration says."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime

from medic8.model.target import Target
from medic8.settings import Settings
from medic8.targets.kind import Session, Surroundings
from medic8.targets.registry import kind_named


def session_on(target: Target, site: Settings) -> AbstractContextManager[Session]:
    """One connection to *target* that never reconnects."""
    around = Surroundings(backups=site.backups, now=datetime.now(UTC), claims=site.claims)
    return kind_named(target.kind).open_session(target, around)
