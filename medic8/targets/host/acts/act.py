"""What every kind of step on a host has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import Target
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


class Act(ABC):
    """
    One kind of step; the methods are those of `medic8.targets.kind.Session`, for a step of this kind.

    Attributes:
        name: What `Step.action` says.
    """

    name: str

    @abstractmethod
    def capture(self, on: ActedOn, step: Step) -> bytes | None:
        """What the step is about to change, in canonical form."""

    @abstractmethod
    def prepare(self, on: ActedOn, step: Step) -> bytes | None:
        """
        What the step will leave, in the same form.

        Raises:
            ChangedError: the host is no longer what the plan was made for.
            RefusedError: it must not be done.
        """

    @abstractmethod
    def swap(self, on: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Put *new* where *expected* is; also the other way round, where it can be taken back."""

    @abstractmethod
    def verify(self, on: ActedOn, steps: Sequence[Step]) -> None:
        """
        Look whether the steps of a unit did what they are for.

        Raises:
            VerifyError: they did not.
        """

    def took_effect(self, on: ActedOn, step: Step) -> bool | None:
        """Whether a step that cannot be taken back did what it is for; None if nothing tells."""
        del on, step
        return None

    def by_hand(self, step: Step) -> tuple[str, ...]:
        """Shell commands by which a person takes it back."""
        del step
        return ()
