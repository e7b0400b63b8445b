"""What every kind of step on a server has in common."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import valkey
from valkey.client import Pipeline

from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import Target
from medic8.targets.valkey import claim as claims


@dataclass(frozen=True)
class ActedOn:
    """
    The server that is changed, over the one connection of a session.

    Attributes:
        client: That connection.
        target: What it leads to.
        claim_beside: The key of the claim that guards what a step changes.
    """

    client: valkey.Valkey
    target: Target
    claim_beside: Callable[[Claim, Step], bytes]

    @contextlib.contextmanager
    def guarded(self, claim: Claim, step: Step) -> Iterator[Pipeline]:
        """
        Get a pipeline that watches the claim: until `carry_out`, nobody takes the server over.

        Raises:
            ClaimGoneError: there is no claim.
            FencedError: it is another's.
        """
        with self.client.pipeline() as pipe:
            claims.guard(pipe, claim, self.claim_beside(claim, step))
            yield pipe

    def carry_out(self, pipe: Pipeline, claim: Claim, step: Step) -> list[object]:
        """Execute what *pipe* holds, which changes no key; see `claim.carry_out_if_full_too`."""
        return claims.carry_out_if_full_too(pipe, claim, self.claim_beside(claim, step))


class Act(ABC):
    """
    One kind of step; the methods are those of `medic8.targets.kind.Session`, for a step of this kind.

    Attributes:
        name: What `Step.action` says.
        is_of_process: Whether what it changes lives and goes with the server's process, as settings and
            connections do; keys live on.
    """

    name: str
    is_of_process: bool = True

    @abstractmethod
    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """What the step is about to change, in canonical form."""

    @abstractmethod
    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """
        What the step will leave, in the same form.

        Raises:
            ChangedError: the server is no longer what the plan was made for.
            RefusedError: it must not be done.
        """

    @abstractmethod
    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Put *new* where *expected* is; also the other way round, where it can be taken back."""

    @abstractmethod
    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """
        Look whether the steps of a unit did what they are for.

        Raises:
            VerifyError: they did not.
        """

    def key_of(self, step: Step) -> bytes | None:
        """A key that the step changes; None if it changes none."""
        del step
        return None

    def as_of_now(self, server: ActedOn, step: Step, saved: bytes | None) -> bytes | None:
        """What became by itself of what was saved."""
        del server, step
        return saved

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """Whether a step that cannot be taken back did what it is for; None if nothing tells."""
        del server, step, recovery
        return None

    def by_hand(self, url: str, step: Step, value: bytes, *, file: str, offset: int) -> tuple[str, ...]:
        """Shell commands by which a person puts *value* back, as `Session.by_hand`."""
        del url, step, value, file, offset
        return ()
