"""How a treatment has ended, by the oracle first and by Medic8's own word last: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from benchmarks.accuracy.running import Result
from benchmarks.accuracy.scoring import wilson


class Ending(StrEnum):
    """What a treatment came to."""

    HEALED = "healed"
    RESTORED = "restored"
    REFUSED = "refused with the reason"
    NEITHER = "neither"


_CHANGED = frozenset({"resolved", "partly_resolved"})
_LEFT_ALONE = frozenset({"needs_person", "refused", "awaiting_approval", "denied", "unsupported"})


def ending_of(result: Result) -> Ending:
    """
    How the treatment of *result* has ended; see docs/accuracy.md, Healing.

    Nothing that Medic8 says makes it healed, and no refusal is worth anything where the diagnosis was wrong.
    """
    outcomes = {outcome for _, outcome, _ in result.healing or ()}
    if result.harm:
        return Ending.NEITHER
    if result.is_gone and outcomes & _CHANGED:
        return Ending.HEALED
    is_told = bool(outcomes) and all(reason.strip() for _, _, reason in result.healing or ())
    if not is_told or outcomes & _CHANGED:
        # Nothing was tried, no reason was given, or it is called healed and is not.
        return Ending.NEITHER
    # That no strategy is known is a reason where nothing can be done, and a lack where something could. One
    # that is for such a fault, and says why it does nothing about this one, is named.
    is_lacking = result.is_healable and any(
        outcome == "unsupported" and not strategy for strategy, outcome, _ in result.healing or ()
    )
    alone = frozenset[str]() if is_lacking else _LEFT_ALONE
    if "restored" in outcomes and outcomes <= alone | {"restored"}:
        return Ending.RESTORED
    is_right = bool(result.scores) and all(each.is_cause for each in result.scores)
    return Ending.REFUSED if is_right and outcomes <= alone else Ending.NEITHER


def endings_table(results: Iterable[Result]) -> list[str]:
    """Counts in Markdown, each with the interval of its share: what may be healed, and what may not."""
    rows = {"may be healed": list[Result](), "is for a person": list[Result]()}
    for each in results:
        rows["may be healed" if each.is_healable else "is for a person"].append(each)
    lines = [f"| by its author | {' | '.join(Ending)} | n |", "|---" * (len(Ending) + 2) + "|"]
    return lines + [_row(words, part) for words, part in rows.items()]


def _row(words: str, part: Sequence[Result]) -> str:
    counts = Counter(map(ending_of, part))
    cells = []
    for ending in Ending:
        low, high = wilson(counts[ending], len(part))
        cells.append(f"{counts[ending]} ({low:.0%}-{high:.0%})" if part else "")
    return f"| {words} | {' | '.join(cells)} | {len(part)} |"
