"""From where on a value is worth a word, and what that rests on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self, TypeVar

from pydantic import model_validator

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Severity
from medic8.model.target import ThresholdRule
from medic8.model.wording import measured

#: A limit that is set is at most so many times the standard one, and at least that part of it: beyond lies a
#: slip of the pen or of the unit.
_MOST_TIMES = 1000

Policy = TypeVar("Policy", bound=Frozen)


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
        standard: What it is unless a site says otherwise; None = this is it.
    """

    what: str
    warning: float | None = None
    error: float | None = None
    unit: str = ""
    is_floor: bool = False
    source: str
    standard: Threshold | None = None

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
        standard = self.by_name if self.standard is None else self.standard.by_name
        return ", ".join(
            f"{name} {side} {self._limit_in_words(each)}{'' if each == standard[name] else ' (configured)'}"
            for name, each in self.by_name.items()
            if each is not None
        )

    @property
    def by_name(self) -> dict[str, float | None]:
        """Both limits, the milder first."""
        return {"warning": self.warning, "error": self.error}

    @property
    def cautious(self) -> Threshold:
        """
        What a strategy may take: the stricter of what a site has set and the standard.

        Who wants to hear of less has not thereby allowed more.
        """
        if self.standard is None:
            return self
        stricter = max if self.is_floor else min
        both = {name: (each, self.standard.by_name[name]) for name, each in self.by_name.items()}
        known = {name: [each for each in pair if each is not None] for name, pair in both.items()}
        return self.model_copy(update={name: stricter(some) for name, some in known.items() if some})

    def problem_with(self, rule: ThresholdRule) -> tuple[str, str] | None:
        """Which field of *rule* is wrong and what was expected there; None if it is well."""
        for name, value in rule.limits.items():
            standard = self.by_name[name] or self.warning or self.error or 0
            least, most = standard / _MOST_TIMES, 1 if self.unit == "share" else standard * _MOST_TIMES
            if value is not None and not least <= value <= most:
                unit = "" if self.unit in {"share", "ratio", "count"} else f" {self.unit}"
                wanted = f"a number from {least:g} to {most:g}{unit}"
                return name, f"got {value:g}, expected {wanted} ({self.what})"
        then = self.set_by(rule)
        if then.warning is not None and then.error is not None and self._is_over(then.warning, then.error):
            text = f"the warning ({then.warning:g}) must come before the error ({then.error:g}); set both"
            return "error" if rule.warning is None else "warning", text
        return None

    def set_by(self, rule: ThresholdRule) -> Threshold:
        """The threshold with the limits that a site has set."""
        limits = {name: value for name, value in rule.limits.items() if value is not None}
        return self.model_copy(update={**limits, "standard": self})

    def in_words(self, value: float) -> str:
        """A value in the threshold's unit."""
        if self.unit == "share":
            return f"{value:.0%}"
        return measured(round(value, 6) if value % 1 else int(value), self.unit)

    def _limit_in_words(self, limit: float) -> str:
        """A limit is not rounded, since it decides."""
        return f"{round(limit * 100, 4):g}%" if self.unit == "share" else self.in_words(limit)

    def _reaches(self, value: float, limit: float) -> bool:
        return value < limit if self.is_floor else value >= limit

    def _is_over(self, one: float, other: float) -> bool:
        return one < other if self.is_floor else one > other


def set_by(policy: Policy, rules: Iterable[ThresholdRule]) -> Policy:
    """*policy* with the limits that a site has set; each rule names one of its thresholds."""
    return policy.model_copy(update={rule.name: getattr(policy, rule.name).set_by(rule) for rule in rules})
