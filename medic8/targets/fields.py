"""Which fields of a target are for which kinds."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.model.target import Target

#: Fields that are not for every kind. A kind of another package may use what it likes.
OF_KINDS: Mapping[str, tuple[str, ...]] = {
    "grid": ("grid",),
    "setting": ("valkey",),
    "expiry": ("valkey",),
    "scale": ("valkey",),
    "replicas": ("grid", "valkey"),
    "process": ("process",),
    "prune": ("host",),
    "prune_backups": ("host",),
    "request": ("endpoint",),
    "fail_over": ("endpoint",),
    "vantage": ("endpoint",),
}

_OURS = frozenset(kind for kinds in OF_KINDS.values() for kind in kinds)


def strangers(target: Target) -> tuple[str, ...]:
    """What *target* has that its kind does not know, one sentence each."""
    return tuple(
        f"field {name!r} belongs to kind {' or '.join(map(repr, kinds))}"
        for name, kinds in OF_KINDS.items()
        if target.kind in _OURS
        and target.kind not in kinds
        and getattr(target, name) != Target.model_fields[name].get_default()
    )
