"""
An independent reader of how recoveries ended: the journal through ``sqlite3`` and ``json`` alone.

It shares no code with Medic8. What it knows of the journal stands in docs/recovery.md, "Undo by hand".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: States of a step that nobody will come back to.
_SETTLED = frozenset({"planned", "undone", "committed", "conflict"})


@dataclass(frozen=True, slots=True)
class EndedStep:
    """One step as the journal has it; *arguments* are those of the plan."""

    number: int
    state: str
    note: str
    action: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """The last recovery of a journal."""

    id: str
    state: str
    left: tuple[str, ...]
    steps: tuple[EndedStep, ...]
    saved_state: str


@dataclass(slots=True)
class Verdict:
    """
    What the reader says of one end.

    Attributes:
        state: ``not_opened``, or the recovery's state.
        wrong: What is not as the promise says, one sentence each.
        lost: Places where somebody else's acknowledged write is gone.
        is_claimed: Whether a claim of an ended recovery is still there, and will lapse.
    """

    state: str
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    is_claimed: bool = False


def read_journal(path: Path, *, which: int = -1) -> tuple[Ended | None, list[str]]:
    """
    One recovery, and what is wrong with the journal as such: nothing may be open or held.

    Args:
        path: The journal's file.
        which: The recovery's place, in the order in which they were opened; -1 = the last.
    """
    if not path.exists():
        return None, []
    with closing(sqlite3.connect(path)) as journal:
        rows = journal.execute("SELECT id, state, record FROM recoveries ORDER BY rowid").fetchall()
        steps = journal.execute(
            "SELECT recovery, number, state, note FROM steps ORDER BY recovery, number"
        ).fetchall()
        held = journal.execute("SELECT resource, recovery FROM grants").fetchall()
        leases = journal.execute("SELECT recovery FROM leases").fetchall()
    wrong = [f"recovery {id_} is still open" for id_, state, _ in rows if state == "open"]
    waiting = {id_ for id_, state, _ in rows if state == "needs_person"}
    wrong += [f"{resource} is still held by {by}" for resource, by in held if by not in waiting]
    wrong += [f"recovery {by} still has a lease" for (by,) in leases]
    if not rows:
        return None, wrong
    id_, state, record_json = rows[which]
    wrong += [
        f"step {number} of {by} is {how}" for by, number, how, _ in steps if by != id_ and how not in _SETTLED
    ]
    record = json.loads(record_json)
    planned = [step for unit in record["plan"]["units"] for step in unit["steps"]]
    return (
        Ended(
            id=id_,
            state=state,
            left=tuple(record["left"]),
            steps=tuple(
                EndedStep(number, how, note, planned[number]["action"], dict(planned[number]["arguments"]))
                for by, number, how, note in steps
                if by == id_
            ),
            saved_state=record["saved_state"],
        ),
        wrong,
    )


def everything_journalled(path: Path) -> dict[str, list[Any]]:
    """Every row of every table but the clock of leases, for comparison."""
    with closing(sqlite3.connect(path)) as journal:
        names = [name for (name,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(map(repr, journal.execute(f"SELECT * FROM {name}"))) for name in names}  # noqa: S608


def misplaced(step: EndedStep, holds: str, *, theirs: bool, ended: Ended) -> str:
    """
    Why a step's state does not go with what the target holds; empty if it does.

    Args:
        step: As the journal has it.
        holds: ``saved``, ``written`` or ``other``.
        theirs: Whether somebody else changed it meanwhile.
        ended: Its recovery.
    """
    if holds == "other" and not theirs:
        return f"step {step.number} ({step.state}): holds neither what was saved nor what was to be written"
    match step.state:
        case "planned" | "undone":
            fits = holds in {"saved", "other"} and ended.state != "healthy"
        case "committed":
            fits = holds in {"written", "other"}
        case "done":
            fits = holds in {"written", "other"} and ended.state == "healthy"
        case "conflict":
            fits = theirs and step.note in ended.left
        case _:
            fits = False
    return "" if fits else f"step {step.number} is {step.state} in a {ended.state} recovery; holds {holds}"


def problems_of_claims(claims: Sequence[tuple[bytes | None, int]], ended: Ended | None) -> tuple[bool, str]:
    """Whether a claim is left that will lapse by itself, and what is wrong with one that is not."""
    content, expires_ms = claims[0]
    if content is None:
        return False, ""
    is_ended = ended is not None and ended.state != "open" and ended.id.encode() in content
    if not is_ended:
        return False, f"a claim is left that is of no ended recovery: {content!r}"
    if not 0 < expires_ms <= 120_000:
        return False, f"the claim that is left expires in {expires_ms} ms, which is not within 0 to 120000"
    return True, ""
