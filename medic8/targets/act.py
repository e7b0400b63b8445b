"""What every kind of step has in common on what is on this host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from medic8.model.plan import Step
from medic8.model.recovery import Claim

#: What is changed, with all that is needed for it.
On = TypeVar("On")


class Act(ABC, Generic[On]):
    """
    One kind of step; the methods are those of `medic8.targets.kind.Session`, for a step of this kind.

    Attributes:
        name: What `Step.action` says.
    """

    name: str

    @abstractmethod
    def capture(self, on: On, step: Step) -> bytes | None:
        """What the step is about to change, in canonical form."""

    @abstractmethod
    def prepare(self, on: On, step: Step) -> bytes | None:
        """
        What the step will leave, in the same form.

        Raises:
            ChangedError: what is changed is no longer what the plan was made for.
            RefusedError: it must not be done.
        """

    @abstractmethod
    def swap(self, on: On, step: Step, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """Put *new* where *expected* is; also the other way round, where it can be taken back."""

    @abstractmethod
    def verify(self, on: On, steps: Sequence[Step]) -> None:
        """
        Look whether the steps of a unit did what they are for.

        Raises:
            VerifyError: they did not.
        """

    def took_effect(self, on: On, step: Step) -> bool | None:
        """Whether a step that cannot be taken back did what it is for; None if nothing tells."""
        del on, step
        return None
