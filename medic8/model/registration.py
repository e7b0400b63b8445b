"""What registering flows on a Prefect server changed there, or would change."""

from __future__ import annotations

from enum import StrEnum

from medic8.model.frozen import Frozen


class Change(StrEnum):
    """What became of a deployment."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


class FieldChange(Frozen):
    """
    One field of a deployment that is other than before.

    Attributes:
        field: Its name in Prefect's API.
        before: What the server had, as JSON.
        after: What it has now, as JSON.
    """

    field: str
    before: str
    after: str


class DeploymentChange(Frozen):
    """
    One deployment.

    Attributes:
        deployment: ``flow/name``.
        queue: The queue that its runs wait in.
        every_s: Seconds between two runs by schedule; 0 = none.
        change: What became of it.
        fields: What is other than before, where it was changed.
    """

    deployment: str
    queue: str
    every_s: int = 0
    change: Change
    fields: tuple[FieldChange, ...] = ()


class Registration(Frozen):
    """
    What became of all deployments of a site.

    Attributes:
        server: The server's address, without credentials.
        pool: The work pool.
        queues: The queues of it that need a worker.
        is_dry_run: Whether nothing was changed.
        is_new_pool: Whether the pool was not there.
        changes: In the order of the catalogue, those that are removed last.
    """

    server: str
    pool: str
    queues: tuple[str, ...]
    is_dry_run: bool
    is_new_pool: bool
    changes: tuple[DeploymentChange, ...]

    def count(self, change: Change) -> int:
        """How many deployments had that *change*."""
        return sum(each.change is change for each in self.changes)

    @property
    def is_unchanged(self) -> bool:
        """Whether the server had all of it already."""
        return not self.is_new_pool and self.count(Change.UNCHANGED) == len(self.changes)
