"""What a configuration refers to beside itself: variables and files, most of which hold secrets."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from medic8.settings.places import expand

_VARIABLE, _FILE = "_env", "_file"


def variables_of(configuration: Path) -> tuple[str, ...]:
    """The variables that *configuration* names."""
    return tuple(dict.fromkeys(_said(configuration, _VARIABLE)))


def files_of(configuration: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Which state each file has that *configuration* names; another one if it was written since."""
    found = list[str]()
    for named in dict.fromkeys(_said(configuration, _FILE)):
        file = configuration.parent / expand(named, environment)
        try:
            seen = file.stat()
        except OSError:
            found.append(f"{file} is not there")
        else:
            found.append(f"{file} {seen.st_ino} {seen.st_size} {seen.st_mtime_ns}")
    return tuple(found)


def _said(configuration: Path, end: str) -> Iterator[str]:
    try:
        content = tomllib.loads(configuration.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # told by whoever reads it
    yield from _within(content, end)


def _within(value: object, end: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _within(each, end)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str) and name.endswith(end):
                yield each
            yield from _within(each, end)
