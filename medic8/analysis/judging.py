"""Make a finding of a value and its threshold."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import JsonValue

from medic8.analysis.threshold import Threshold
from medic8.model.issue import Evidence, Finding, Severity


def over(
    code: str,
    threshold: Threshold,
    value: float | None,
    text: str,
    *,
    about: str,
    advice: tuple[str, ...] = (),
    what: str = "",
    also: tuple[Evidence, ...] = (),
    objects: tuple[dict[str, JsonValue], ...] = (),
) -> tuple[Finding, ...]:
    """
    One finding if *value* is beyond *threshold*, else none.

    Args:
        code: The finding's code.
        threshold: Says from where on, and how bad it is.
        value: What was seen; None if it was not.
        text: One sentence; ``{seen}`` is the value in words.
        about: The object inside the target.
        advice: What a person can do.
        what: Which value it is; empty for the words of the threshold.
        also: More facts.
        objects: What a strategy has to know, see `Finding`.
    """
    severity = threshold.severity(value)
    if severity is None or value is None:
        return ()
    seen = threshold.in_words(value)
    return (
        Finding(
            code=code,
            severity=severity,
            text=text.replace("{seen}", seen),
            about=about,
            evidence=(threshold.evidence(value, what), *also),
            advice=advice,
            objects=objects,
        ),
    )


def fact(
    code: str,
    severity: Severity,
    text: str,
    *,
    about: str,
    evidence: Iterable[Evidence] = (),
    advice: tuple[str, ...] = (),
    objects: tuple[dict[str, JsonValue], ...] = (),
    extent: int = 1,
) -> tuple[Finding, ...]:
    """One finding that no number decides."""
    found = Finding(
        code=code,
        severity=severity,
        text=text,
        about=about,
        evidence=tuple(evidence),
        advice=advice,
        objects=objects,
        extent=extent,
    )
    return (found,)


def share(part: float | None, whole: float | None) -> float | None:
    """*part* of *whole*; None if one of them is missing or there is no whole."""
    return part / whole if part is not None and whole is not None and whole > 0 else None
