"""What every kind of step on a host has in common."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import Target
from medic8.targets.act import Act
from medic8.targets.kind import Surroundings


@dataclass(frozen=True)
class ActedOn:
    """
    The host that is changed.

    Attributes:
        target: Names it, and holds its rules.
        around: What may be used beside it.
        held: Keeps others from taking the host over for the body; raises if the claim is gone.
    """

    target: Target
    around: Surroundings
    held: Callable[[Claim], AbstractContextManager[None]]


class HostAct(Act[ActedOn]):
    """One kind of step on a host."""

    def by_hand(self, step: Step) -> tuple[str, ...]:
        """Shell commands by which a person takes it back."""
        del step
        return ()
