"""What every kind of step on a process has in common."""

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
    The process that is changed.

    Attributes:
        target: What names it.
        around: What may be used beside it.
        held: Keeps others from taking it over for the body; raises if the claim is gone.
        renew: Holds the claim for as long as it was taken for, from now on.
        is_ending: What somebody has left is being ended: what he asked for may still be under way.
    """

    target: Target
    around: Surroundings
    held: Callable[[Claim], AbstractContextManager[None]]
    renew: Callable[[], None]
    is_ending: bool = False


class ProcessAct(Act[ActedOn]):
    """
    One kind of step on a process.

    Attributes:
        replaces: Whether another process is there when it is done.
    """

    replaces: bool = False

    def by_hand(self, target: Target, step: Step, value: bytes) -> tuple[str, ...]:
        """Shell commands by which a person puts *value* back."""
        del target, step, value
        return ()
