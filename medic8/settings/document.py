"""A configuration file while it is being checked: its content, its lines and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from medic8.errors import ConfigurationError
from medic8.model.frozen import Frozen
from medic8.settings.lines import KeyPath, lines_of
from medic8.settings.problems import Problem, expectation, in_field, shown

_SYNTAX_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")

Table = TypeVar("Table", bound=Frozen)


@dataclass
class Document:
    """
    A configuration that is being checked.

    Attributes:
        folder: What relative files are relative to.
        environ: Where environment variables are looked up.
        content: The whole file, parsed.
        lines: Where each part of it stands.
        problems: What is wrong, in the order found.
        warnings: What works and should still be changed.
        unusable: What keeps a target from being used here and now, by its name.
    """

    folder: Path
    environ: Mapping[str, str]
    content: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unusable: dict[str, Problem] = field(default_factory=dict)

    def wrong(self, path: KeyPath, text: str) -> None:
        """Note that *path* is wrong."""
        self.problems.append(self.problem(path, text))

    def wrong_field(self, owner: str, table: KeyPath, within: KeyPath, text: str) -> None:
        """Note that the field *within* a *table*, which people call *owner*, is wrong."""
        self.wrong((*table, *within), in_field(owner, within, text))

    def problem(self, path: KeyPath, text: str) -> Problem:
        """*text* with the line of *path*; a part that is not there stands where the table around it does."""
        while path not in self.lines and path:
            path = path[:-1]
        return Problem(self.lines.get(path, 1), text)

    def parse(self, model: type[Table], owner: str, table: KeyPath, values: object) -> Table | None:
        """*values* as a *model*; None, and the problems noted, if they are not one."""
        if not isinstance(values, dict):
            self.wrong(table, f"{owner}: got {shown(values)}, expected a table")
            return None
        try:
            return model.model_validate(values)
        except ValidationError as exc:
            for error in exc.errors(include_url=False):
                within = error["loc"]
                known = _fields_around(model, within)
                self.wrong_field(owner, table, within, expectation(error, known))
        return None


def read_document(file: Path, named: str, environ: Mapping[str, str]) -> Document:
    """
    The content of *file*, unchecked.

    Args:
        file: The configuration.
        named: What people call it.
        environ: Where environment variables are looked up.
    Raises:
        ConfigurationError: it cannot be read or is no TOML.
    """
    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise ConfigurationError(f"{named}: cannot be read: {exc.strerror}") from None
    try:
        text = raw.decode()
        content = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigurationError(f"{named}:{line}: not valid TOML: bytes that are no UTF-8 text") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{named}:{_syntax_problem(str(exc), text)}") from None
    return Document(folder=file.parent, environ=environ, content=content, lines=lines_of(text))


def _syntax_problem(message: str, text: str) -> str:
    """The parser's *message* with the line in front."""
    found = _SYNTAX_AT.search(message)
    what = message[: found.start()] if found else message
    what = what[:1].lower() + what[1:]
    if found and found[1]:
        return f"{found[1]}: not valid TOML: {what} (column {found[2]})"
    last = text.rstrip("\n").count("\n") + 1
    return f"{last}: not valid TOML: {what} (the file ends too early)"


def _fields_around(model: type[Frozen], within: KeyPath) -> Iterable[str]:
    """The fields that the innermost table around *within* may have."""
    if len(within) > 1:
        outer = model.model_fields[str(within[0])]
        inside = [
            each
            for each in (outer.annotation, *get_args(outer.annotation))
            if isinstance(each, type) and issubclass(each, Frozen)
        ]
        return inside[0].model_fields if inside else ()
    return model.model_fields
