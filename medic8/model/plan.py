"""What will be done: units of steps, as data, so that another process can undo them."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from pydantic import Field, JsonValue

from medic8.model.frozen import Frozen


class StepClass(StrEnum):
    """What can be promised about taking a step back."""

    RESTORABLE = "restorable"  #: what it touches is saved and can be put back
    HARMLESS = "harmless"  #: nothing declared to put back
    ONE_WAY = "one_way"  #: cannot be taken back


class Risk(StrEnum):
    """How much can go wrong if the plan is carried out."""

    LOW = "low"  #: every unit proves itself, or touches settings that take effect at once
    MEDIUM = "medium"  #: restorable, but clients may notice
    HIGH = "high"  #: cannot be taken back, or only for a time, or takes what others may need


class Step(Frozen):
    """
    One change.

    Attributes:
        title: An imperative fit for a run's name: ``rebuild block 17 of grid lab from parity``.
        action: The name of the action of the target's kind that does it.
        arguments: What the action needs, as plain data; each action parses it into its own model.
        touches: What it changes, for people: ``block 17``, ``setting hz``.
        step_class: What can be promised about taking it back.
        time_limit_s: Longest it may take.
    """

    title: str
    action: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)
    touches: str
    step_class: StepClass = StepClass.RESTORABLE
    time_limit_s: float = Field(default=30.0, gt=0)


class Unit(Frozen):
    """
    Steps that stand or fall together, with one verification.

    Attributes:
        title: What it brings back: ``parity group 17``.
        steps: In the order to apply.
        proves_itself: Its verification proves the result (checksum, parity, equality with a
            proven copy), so that it stands although a later unit fails.
    """

    title: str
    steps: tuple[Step, ...] = Field(min_length=1)
    proves_itself: bool = False


class Undoes(Frozen):
    """
    What a plan takes back of a recovery that has ended.

    Attributes:
        recovery: The earlier recovery's id.
        steps: The number that each step of the plan has there, in the plan's order.
    """

    recovery: str
    steps: tuple[int, ...]


class Plan(Frozen):
    """
    What one strategy would do about one issue.

    Attributes:
        target: The target's name.
        strategy: The strategy's name, as the allow-list spells it.
        issue_fingerprint: The issue it is about.
        summary: One sentence for a person who has to say yes or no.
        risk: How much can go wrong.
        units: In the order to apply; none if nothing can be done.
        left_open: What it cannot heal, one sentence each.
        belongs_to: Who owns what it would change, and puts it back or expects to be asked; empty = nobody.
        undoes: What it takes back; None of a plan that heals.
        loses: What nobody has any more after it, in a few words; empty if nothing is lost.
    """

    target: str
    strategy: str
    issue_fingerprint: str
    summary: str
    risk: Risk = Risk.LOW
    units: tuple[Unit, ...] = ()
    left_open: tuple[str, ...] = ()
    belongs_to: str = ""
    undoes: Undoes | None = None
    loses: str = ""

    @property
    def digest(self) -> str:
        """
        SHA-256 over what would be done: what was agreed to is what is carried out.

        Not over what stays open, which other plans change and this one does not touch, nor over who
        objects to it, nor over what the summary says as well.
        """
        # A plan that heals keeps the digest that it had before plans could take something back.
        besides = {"left_open", "belongs_to", "loses"} | (set() if self.undoes else {"undoes"})
        return hashlib.sha256(self.model_dump_json(exclude=besides).encode()).hexdigest()

    @property
    def needs_approval(self) -> bool:
        """Whether a person has to agree to this very plan: of high risk, or with a one-way step."""
        return self.first_one_way is not None or (self.risk is Risk.HIGH and bool(self.units))

    @property
    def first_one_way(self) -> Step | None:
        """The first step that cannot be taken back; None if all can."""
        steps = (step for unit in self.units for step in unit.steps)
        return next((step for step in steps if step.step_class is StepClass.ONE_WAY), None)

    @property
    def why_approval(self) -> str:
        """Why a person has to agree, in words; empty if nobody has to."""
        if not self.needs_approval:
            return ""
        return "it cannot be taken back" if self.first_one_way else "its risk is high"

    @property
    def step_count(self) -> int:
        """How many steps all units have together."""
        return sum(len(unit.steps) for unit in self.units)
