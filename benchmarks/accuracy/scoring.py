"""Hold answers against truths: pure, without a server."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from benchmarks.accuracy.variant import Answer, Cause, Truth

_Z, _Z_ONE_SIDED = 1.959964, 1.644854


@dataclass(frozen=True)
class Said:
    """
    One issue of a report that follows from nothing.

    Attributes:
        answer: Its type, or ``unknown``.
        causes: Which causes its signs stand for; empty = it tells none.
        text: Everything that it says, for the objects in it.
        is_root: Whether it follows from nothing.
    """

    answer: str
    causes: frozenset[Cause] = frozenset()
    text: str = ""
    is_root: bool = True


@dataclass(frozen=True)
class Score:
    """
    What one truth was answered.

    Attributes:
        truth: The type that is right.
        answer: The type that was given first; ``none`` if nothing, ``unknown`` if no type.
        is_type: Whether that is right.
        is_cause: Whether type and cause are.
        is_object: Whether the object is named; None where there is none to name.
        is_somewhere: Whether type and cause stand anywhere in the report.
    """

    truth: str
    answer: str
    is_type: bool
    is_cause: bool
    is_object: bool | None
    is_somewhere: bool


def score(truths: Sequence[Truth], said: Sequence[Said]) -> list[Score]:
    """
    One score for each truth: as many roots as there are faults count, from the top of the report.

    A fault that shows first as something else was not found first by who reads the report, so it is wrong.
    Faults of one type and one cause may be one issue: twice damaged blocks are one corruption.
    """
    left = [each for each in said if each.is_root][: len(truths)]
    # Which is meant for which nobody says: the way in which most is right, with what it is about.
    ways = permutations([*left, *[None] * (len(truths) - len(left))])
    best = max(ways, key=lambda way: _worth(truths, way))
    found = {number: each for number, each in enumerate(best) if each is not None}
    alike = {(truths[number].answer, truths[number].cause): each for number, each in found.items()}
    return [
        _scored(truth, found.get(number, alike.get((truth.answer, truth.cause))), said)
        for number, truth in enumerate(truths)
    ]


def _worth(truths: Sequence[Truth], way: Sequence[Said | None]) -> tuple[int, int, int]:
    pairs = [(truth, said) for truth, said in zip(truths, way, strict=True) if said is not None]
    return (
        sum(_is_cause(*pair) for pair in pairs),
        sum(_is_cause(*pair) and _names(*pair) for pair in pairs),
        sum(_is_type(*pair) for pair in pairs),
    )


def _names(truth: Truth, said: Said) -> bool:
    return all(word.lower() in said.text.lower() for word in truth.objects)


def _scored(truth: Truth, given: Said | None, said: Sequence[Said]) -> Score:
    somewhere = any(_is_cause(truth, each) for each in said)
    if given is None:
        is_none = truth.answer is Answer.NONE
        return Score(truth.answer, "none", is_none, is_none, None, is_none or somewhere)
    named = _names(truth, given) if truth.objects else None
    return Score(
        truth.answer, given.answer, _is_type(truth, given), _is_cause(truth, given), named, somewhere
    )


def _is_type(truth: Truth, said: Said) -> bool:
    return said.answer in {truth.answer, *truth.also_answer}


def _is_cause(truth: Truth, said: Said) -> bool:
    if not _is_type(truth, said):
        return False
    if truth.cause is Cause.OTHER:
        return said.causes <= {Cause.UNKNOWN, Cause.OTHER} or not said.causes.isdisjoint(truth.also_cause)
    return not said.causes.isdisjoint({truth.cause, *truth.also_cause})


def wilson(right: int, count: int) -> tuple[float, float]:
    """
    The 95 % interval of a share; who judges takes nothing from who is judged, not even this.

    Source: E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if not count:
        return 0.0, 1.0
    share, square = right / count, _Z * _Z
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = _Z / (1 + square / count) * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def upper_bound_of_none(count: int) -> float:
    """The 95 % upper bound of a rate of which *count* tries showed nothing (rule of three)."""
    return min(1.0, 3 / count) if count else 1.0


def upper_rate(count: int, exposure: float) -> float:
    """
    The 95 % upper bound of a rate of which *count* were seen in *exposure*; infinite without any.

    Source: E. B. Wilson and M. M. Hilferty (1931), The distribution of chi-square, for a Poisson count.
    """
    if not exposure:
        return math.inf
    more = count + 1
    return more * (1 - 1 / (9 * more) + _Z_ONE_SIDED / (3 * math.sqrt(more))) ** 3 / exposure


def share(right: int, count: int) -> str:
    """A share in words, with n and interval."""
    if not count:
        return "-"
    low, high = wilson(right, count)
    return f"{right / count:.0%} ({right} of {count}; {low:.0%}-{high:.0%})"


def matrix(scores: Sequence[Score]) -> list[str]:
    """Truth by answer as a table in Markdown: in each cell n, and the share of its row with its interval."""
    rows = [*Answer]
    columns = [*Answer, "unknown"]
    cells = Counter((each.truth, each.answer) for each in scores)
    lines = [f"| truth | {' | '.join(columns)} | n |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        count = sum(cells[row, column] for column in columns)
        lines.append(
            f"| {row} | {' | '.join(_cell(cells[row, each], count) for each in columns)} | {count} |"
        )
    return lines


def _cell(seen: int, count: int) -> str:
    if not seen:
        return "0" if count else ""
    low, high = wilson(seen, count)
    return f"{seen} ({low:.0%}-{high:.0%})"
