"""Which kinds of target there are: ours, and those that other packages bring along."""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import entry_points

from medic8.errors import ConfigurationError
from medic8.targets.kind import TargetKind

#: Where each of our own kinds is defined, imported only when it is asked for.
_OURS = {
    "grid": "medic8.targets.grid.kind",
    "valkey": "medic8.targets.valkey.kind",
    "process": "medic8.targets.process.kind",
    "host": "medic8.targets.host.kind",
    "endpoint": "medic8.targets.endpoint.kind",
}

_GROUP = "medic8.targets"


def is_kind(name: str) -> bool:
    """Whether *name* is that of a kind; for ours without reading which ones other packages bring along."""
    return name in _OURS or name in kind_names()


def kind_names() -> tuple[str, ...]:
    """The names of all kinds, ours first."""
    others = (entry.name for entry in entry_points(group=_GROUP))
    return (*_OURS, *sorted(name for name in others if name not in _OURS))


@functools.cache
def kind_named(name: str) -> TargetKind:
    """
    The kind called *name*.

    Raises:
        ConfigurationError: there is none; the message names those that are.
    """
    if module := _OURS.get(name):
        found = importlib.import_module(module).KIND
    else:
        entries = entry_points(group=_GROUP, name=name)
        if not entries:
            raise ConfigurationError(f"kind {name!r} is not known; known are {', '.join(kind_names())}")
        found = next(iter(entries)).load()
    if not isinstance(found, TargetKind):
        raise ConfigurationError(f"kind {name!r} is a {type(found).__name__}, not a TargetKind")
    return found
