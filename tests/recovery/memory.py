"""A target in memory that can die at any write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from medic8.errors import ChangedError, ClaimGoneError, FencedError, VerifyError
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource
from medic8.targets.kind import Holds, Session

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Died(BaseException):
    """The process is gone; nothing catches this but the test."""


class MemoryTarget:
    """
    Named values behind a claim; each write can be the last thing its process does.

    Attributes:
        values: What the target holds.
        proven: Names whose unit is verified as good.
        dies_at: Number of the write, from 0, at which the process dies; None = never.
        landed: Whether that write still happens.
        expired: Saved values whose own expiry has passed.
        mark: Whether a one-way step says that it took effect; None = it does not tell.
    """

    def __init__(self, values: dict[str, bytes | None]) -> None:
        self.values = dict(values)
        self.claim: bytes | None = None
        self.writes = 0
        self.dies_at: int | None = None
        self.landed = False
        self.is_sound = True
        self.ground = "run 1"
        self.holds = Holds.YES
        self.mark: bool | None = None
        self.expired: set[bytes] = set()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A connection."""
        yield MemorySession(self)


class MemorySession:
    """One connection to a `MemoryTarget`."""

    def __init__(self, target: MemoryTarget) -> None:
        self.target = target

    def resources(self) -> tuple[Resource, ...]:
        return (
            Resource(identity="memory:1", carries="the target"),
            Resource(identity="host:1", carries="its host"),
        )

    def still_holds(self, recovery: Recovery) -> Holds:
        del recovery
        return self.target.holds

    def still_stands(self, recovery: Recovery) -> bool:
        return self.stands_on() == recovery.stands_on

    def stands_on(self) -> str:
        return self.target.ground

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        del plan
        return ()

    def cut_off(self, claim: Claim) -> None:
        del claim

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        del lasts_s
        self.target.claim = claim.content

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        del lasts_s
        if self.target.claim is None:
            raise ClaimGoneError("there is no claim")
        if self.target.claim != claim.content:
            raise FencedError("the claim is another's")

    def release_claim(self, claim: Claim) -> None:
        if self.target.claim == claim.content:
            self.target.claim = None

    def capture(self, step: Step) -> bytes | None:
        return self.target.values[str(step.arguments["name"])]

    def prepare(self, step: Step) -> bytes | None:
        value = step.arguments["value"]
        return None if value is None else str(value).encode()

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        self.renew_claim(claim, lasts_s=1)
        name = str(step.arguments["name"])
        if self.target.values[name] != expected:
            raise ChangedError(f"{name} was changed")
        dies = self.target.writes == self.target.dies_at
        self.target.writes += 1
        if not dies or self.target.landed:
            self.target.values[name] = new
        if dies:
            raise Died

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        del step
        return None if saved in self.target.expired else saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        length = None if value is None else len(value)
        return (f"put {length} bytes from {offset} of {file} into {step.touches}",)

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        del step, recovery
        return self.target.mark

    def verify(self, unit: Unit) -> None:
        if not self.target.is_sound:
            raise VerifyError(f"{unit.title} is not sound")


def plan_of(*units: tuple[tuple[str, str | None], ...], proves_itself: bool = False) -> Plan:
    """A plan that writes (name, value) pairs, one unit for each argument."""
    return Plan(
        target="memory-1",
        strategy="write",
        issue_fingerprint="0" * 16,
        summary="Write.",
        units=tuple(
            Unit(
                title=f"unit {number}",
                proves_itself=proves_itself,
                steps=tuple(
                    Step(
                        title=f"write {name}",
                        action="write",
                        arguments={"name": name, "value": value},
                        touches=name,
                    )
                    for name, value in steps
                ),
            )
            for number, steps in enumerate(units)
        ),
    )
