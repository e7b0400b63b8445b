"""Why a resource is not granted: another recovery holds it."""

from __future__ import annotations

from medic8.errors import RefusedError
from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.target import Resource


class BusyError(RefusedError):
    """
    Another recovery holds a resource.

    Attributes:
        resource: What is held.
        holder: The recovery that holds it.
    """

    def __init__(self, resource: Resource, holder: Recovery) -> None:
        super().__init__(resource, holder)
        self.resource = resource
        self.holder = holder

    def __str__(self) -> str:
        if self.holder.state is RecoveryState.NEEDS_PERSON:
            return (
                f"{self.resource.carries} ({self.resource.identity}) is closed to automation: recovery "
                f"{self.holder.id} needs a person; when it is dealt with: medic8 acknowledge {self.holder.id}"
            )
        return (
            f"{self.resource.carries} ({self.resource.identity}) is being worked on by recovery "
            f"{self.holder.id}, open since {self.holder.opened_at:%Y-%m-%d %H:%M:%S %Z}"
        )
