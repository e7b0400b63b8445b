"""
What the shell offers at the tab key, beyond commands and options.

A shell waits for it with every key, and shows whatever is written: so nothing here imports Prefect, asks a
server, or says what is wrong. What cannot be found out quickly is not offered.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

#: Names that a configuration may have. The shell evaluates what it is offered (zsh does), so that a name
#: that only looks like one in a file of the working folder must not get there.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

#: Most bytes of a configuration that are read while somebody waits for the key.
_LONGEST = 1 << 20

_SQLITE = "sqlite:///"


def target_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The targets of the configuration."""
    return _those(incomplete, (name for name, _ in _targets(ctx)))


def grid_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The targets of kind ``grid``."""
    return _those(incomplete, (name for name, kind in _targets(ctx) if kind == "grid"))


def fault_names(incomplete: str) -> list[str]:
    """What the lab can break."""
    from medic8.local.lab.faults import FAULTS

    return _those(incomplete, FAULTS)


def state_names(incomplete: str) -> list[str]:
    """What the lab can stage."""
    from medic8.local.lab.states import STATES

    return _those(incomplete, STATES)


def issue_types(incomplete: str) -> list[str]:
    """The types of issue."""
    from medic8.model.issue import IssueType

    return _those(incomplete, IssueType)


def origins(incomplete: str) -> list[str]:
    """Who or what begins a run."""
    return _those(incomplete, ("person", "schedule", "alert"))


def scopes(ctx: typer.Context, incomplete: str) -> list[str]:
    """What can be paused by itself: the targets, and the labels that they have."""
    names, labels = list[str](), dict[str, None]()
    for table in _tables(ctx):
        names.append(str(table["name"]))
        given = table.get("labels")
        for key, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, str) and _NAME.fullmatch(key) and _NAME.fullmatch(value):
                labels[f"{key}={value}"] = None
    return _those(incomplete, (*names, *labels))


def paused(ctx: typer.Context, incomplete: str) -> list[str]:
    """What is paused; nothing if the journal is not a file of this machine."""
    with contextlib.suppress(Exception):
        from datetime import UTC, datetime

        from medic8.recovery import pauses
        from medic8.recovery.journal import Journal
        from medic8.settings import load_settings

        url = load_settings(ctx.find_root().params.get("config")).journal_url
        if url.startswith(_SQLITE) and Path(url.removeprefix(_SQLITE)).exists():
            known = pauses.active(Journal(url), datetime.now(UTC))
            return _those(incomplete, dict.fromkeys(each.on for each in known if each.on))
    return []


def outcomes(incomplete: str) -> list[str]:
    """How a resolution can end."""
    from medic8.model.resolution import Outcome

    return _those(incomplete, Outcome)


def strategies(ctx: typer.Context, incomplete: str) -> list[str]:
    """The strategies that the configuration allows, and undo; to load every kind would take too long."""
    names = dict[str, None]()
    for table in _tables(ctx):
        allow = table.get("allow")
        for name in allow if isinstance(allow, list) else ():
            if isinstance(name, str) and _NAME.fullmatch(name):
                names[name] = None
    return _those(incomplete, (*names, "undo"))


def waiting_recoveries(ctx: typer.Context, incomplete: str) -> list[str]:
    """The recoveries that wait for a person; none if the journal is not a file of this machine."""
    # Whatever is wrong is told by the command itself, when it is run.
    with contextlib.suppress(Exception):
        from medic8.model.recovery import RecoveryState
        from medic8.recovery.journal import Journal
        from medic8.settings import load_settings

        url = load_settings(ctx.find_root().params.get("config")).journal_url
        if url.startswith(_SQLITE) and Path(url.removeprefix(_SQLITE)).exists():
            held = Journal(url).holding()
            return _those(incomplete, (each.id for each in held if each.state is RecoveryState.NEEDS_PERSON))
    return []


def ended_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """The runs whose recovery has ended; none if the journal is not a file of this machine."""
    with contextlib.suppress(Exception):
        from medic8.recovery.ended import runs_beginning_with
        from medic8.recovery.journal import Journal
        from medic8.settings import load_settings

        url = load_settings(ctx.find_root().params.get("config")).journal_url
        if url.startswith(_SQLITE) and Path(url.removeprefix(_SQLITE)).exists():
            return list(runs_beginning_with(Journal(url), incomplete))
    return []


def _targets(ctx: typer.Context) -> Iterator[tuple[str, str]]:
    """The names and kinds in the configuration that the call would read, as far as they can be read."""
    for table in _tables(ctx):
        yield str(table["name"]), str(table.get("kind"))


def _tables(ctx: typer.Context) -> Iterator[dict[str, object]]:
    """The tables of the targets in that configuration."""
    from medic8.errors import ConfigurationError
    from medic8.settings.places import find_configuration

    try:
        file = find_configuration(ctx.find_root().params.get("config"), os.environ, Path.cwd())
        if file is None:
            return
        with file.open("rb") as stream:
            content = tomllib.loads(stream.read(_LONGEST).decode())
    except (ConfigurationError, OSError, ValueError):
        return
    targets = content.get("target")
    for table in targets if isinstance(targets, list) else ():
        if isinstance(table, dict) and isinstance(table.get("name"), str) and _NAME.fullmatch(table["name"]):
            yield table


def _those(incomplete: str, words: Iterable[str]) -> list[str]:
    return [str(word) for word in words if word.startswith(incomplete)]
