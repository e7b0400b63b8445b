"""From where on a value is worth a word, and what that rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Severity
from medic8.model.wording import measured


class Threshold(Frozen):
    """
    From where on a value is worth a word.

    Attributes:
        what: What is measured, for people.
        warning: From here on it will hurt; None = never.
        error: From here on it hurts; None = never.
        unit: As of a `Reading`; ``share`` is shown in per cent.
        is_floor: Less is worse, not more.
        source: Title and section of what the number rests on.
    """

    what: str
    warning: float | None = None
    error: float | None = None
    unit: str = ""
    is_floor: bool = False
    source: str

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.warning is None and self.error is None:
            raise ValueError(f"threshold {self.what!r} needs a limit")
        if self.warning is not None and self.error is not None and self._is_over(self.warning, self.error):
            raise ValueError(f"threshold {self.what!r}: the warning must come before the error")
        return self

    def severity(self, value: float | None) -> Severity | None:
        """How bad *value* is; None if it is well, or if there is none."""
        if value is None:
            return None
        if self.error is not None and self._reaches(value, self.error):
            return Severity.ERROR
        if self.warning is not None and self._reaches(value, self.warning):
            return Severity.WARNING
        return None

    def evidence(self, value: float, what: str = "") -> Evidence:
        """*value* held against the limits, in words."""
        return Evidence(what=what or self.what, seen=self.in_words(value), limit=self.limits)

    @property
    def limits(self) -> str:
        """Both limits in words."""
        side = "below" if self.is_floor else "from"
        both = (("warning", self.warning), ("error", self.error))
        return ", ".join(f"{name} {side} {self.in_words(each)}" for name, each in both if each is not None)

    def in_words(self, value: float) -> str:
        """A value in the threshold's unit."""
        if self.unit == "share":
            return f"{value:.0%}"
        return measured(round(value, 6) if value % 1 else int(value), self.unit)

    def _reaches(self, value: float, limit: float) -> bool:
        return value < limit if self.is_floor else value >= limit

    def _is_over(self, one: float, other: float) -> bool:
        return one < other if self.is_floor else one > other


class Policy(Frozen):
    """The thresholds of a kind of target, each a field of its own."""

    def named(self) -> Iterator[tuple[str, Threshold]]:
        """Every threshold by its name."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)
