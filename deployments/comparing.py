"""Compare a deployment as it is to be with what a server has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deployments.wanted import Schedule, Wanted
from medic8.model.registration import FieldChange

Found = Mapping[str, Any]

#: What the server says otherwise than it was told, or not at all.
_NOT_COMPARED = frozenset({"pull_steps"})

_LONGEST = 300


def differences(wanted: Wanted, found: Found) -> tuple[FieldChange, ...]:
    """What of *found*, as the API gives it, is other than *wanted*; what is paused is people's affair."""
    there = _as_told(found)
    changed = [
        _change(name, there.get(name), value)
        for name, value in wanted.fields.items()
        if name not in _NOT_COMPARED and there.get(name) != value
    ]
    if problem := _schedule_change(wanted.schedule, schedule_of(found)):
        changed.append(problem)
    return tuple(changed)


def schedule_of(found: Found) -> Found | None:
    """The schedule of ours that *found* has; others are people's own."""
    return next((each for each in found.get("schedules") or () if each.get("slug") == Schedule.SLUG), None)


def is_same(wanted: Schedule, found: Found) -> bool:
    """Whether a schedule of the API is *wanted*."""
    has, is_to_be = found["schedule"], wanted.interval
    return (
        has.get("interval") == is_to_be["interval"]
        and _time(has.get("anchor_date")) == _time(is_to_be["anchor_date"])
        and (found.get("parameters") or {}) == wanted.parameters
    )


def _schedule_change(wanted: Schedule | None, found: Found | None) -> FieldChange | None:
    if wanted is None:
        return None if found is None else _change("schedule", found["schedule"], None)
    if found is None:
        return _change("schedule", None, wanted.interval)
    if is_same(wanted, found):
        return None
    before = {**found["schedule"], "parameters": found.get("parameters") or {}}
    return _change("schedule", before, {**wanted.interval, "parameters": wanted.parameters})


def _as_told(found: Found) -> dict[str, Any]:
    """*found* in the words in which the server was told of it."""
    limit, options = found.get("global_concurrency_limit"), found.get("concurrency_options")
    return {
        **found,
        "tags": sorted(found.get("tags") or ()),
        "concurrency_limit": limit and limit["limit"],
        "concurrency_options": options and {"collision_strategy": options["collision_strategy"]},
    }


def _change(field: str, before: object, after: object) -> FieldChange:
    return FieldChange(field=field, before=_shown(before), after=_shown(after))


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
