"""The numbers of two diagnoses side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change


def changes(
    before: DiagnosticReport,
    after: DiagnosticReport,
    diagnostic: str,
    called: Callable[[str], str | None],
) -> Iterator[Change]:
    """
    Each reading of one diagnostic before and after.

    Args:
        before: The earlier diagnosis.
        after: The later one.
        diagnostic: The diagnostic's name; nothing is compared if one of the two lacks it.
        called: What people call a reading, by its name; None leaves it out.
    """
    earlier, later = before.results.get(diagnostic), after.results.get(diagnostic)
    if earlier is None or later is None:
        return
    for old in earlier.readings:
        what, new = called(old.name), later.reading(old.name)
        if what is not None and new is not None:
            yield Change(what=what, before=old.in_words, after=new.in_words)
