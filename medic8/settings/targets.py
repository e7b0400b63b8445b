"""The targets of a configuration, each checked against its kind."""

from __future__ import annotations

from typing import Any

from medic8.errors import ConfigurationError
from medic8.model.target import Mode, Target
from medic8.settings.credentials import (
    Credentials,
    CredentialsError,
    NoSecretError,
    like,
    what_is_wrong_with,
    with_credentials,
)
from medic8.settings.document import Document
from medic8.settings.lines import KeyPath
from medic8.settings.places import expand
from medic8.settings.problems import in_field, listed, nearest, shown
from medic8.targets.fields import strangers
from medic8.targets.kind import TargetKind
from medic8.targets.registry import is_kind, kind_named, kind_names
from medic8.targets.valkey.address import address_problems


class TargetTable(Target, Credentials):
    """A target as the configuration spells it: with what its address lacks."""


def read_targets(document: Document) -> tuple[Target, ...]:
    """The targets of *document*, those that are right; the problems of the others are noted there."""
    entries = document.content.get("target", [])
    if not isinstance(entries, list):
        document.wrong(("target",), 'a target begins with "[[target]]", in two pairs of brackets')
        return ()
    found = [_read_target(document, index, values) for index, values in enumerate(entries)]
    _refuse_twins(document, entries)
    _check_what_they_stand_on(document, entries)
    return tuple(target for target in found if target is not None)


def _read_target(document: Document, index: int, values: object) -> Target | None:
    path: KeyPath = ("target", index)
    name = values.get("name") if isinstance(values, dict) else None
    owner = f"target {shown(name)}" if isinstance(name, str) else f"target number {index + 1}"
    table = document.parse(TargetTable, owner, path, values)
    kind = _kind_of(document, owner, path, values)
    if table is None:
        return None
    if wrong := what_is_wrong_with(table.address):
        document.wrong_field(owner, path, ("url",), wrong)
        return None
    fields: dict[str, Any] = {name: getattr(table, name) for name in Target.model_fields}
    try:
        fields["url"], warnings = with_credentials(
            table.address, table, environ=document.environ, folder=document.folder
        )
    except NoSecretError as exc:
        # Whoever has no business with this target need not have its password.
        text = in_field(owner, (exc.field,), str(exc))
        document.unusable[table.name] = document.problem((*path, exc.field), text)
        warnings = ()
    except CredentialsError as exc:
        document.wrong_field(owner, path, (exc.field,), str(exc))
        return None
    document.warnings += [f"{owner}: {warning}" for warning in warnings]
    replicas = _replicas(document, owner, path, table.replica_addresses, fields["url"])
    if replicas is None:
        return None
    if table.request.ca_file is not None:
        file = document.folder / expand(str(table.request.ca_file), document.environ)
        fields["request"] = table.request.model_copy(update={"ca_file": file})
    target = Target.model_validate({**fields, "replicas": replicas})
    if kind is not None:
        _check_with_kind(document, owner, path, target, kind)
    if target.mode is Mode.ACT and not target.allow:
        document.warnings.append(f'{owner}: "mode" is "act" and "allow" is empty, so nothing will be applied')
    return target


def _replicas(
    document: Document, owner: str, path: KeyPath, urls: tuple[str, ...], target_url: str
) -> tuple[str, ...] | None:
    """The addresses of replicas, with the target's credentials where they have none; None if one is wrong."""
    found = []
    for index, url in enumerate(urls):
        wrong = what_is_wrong_with(url) or next(iter(address_problems(url)), "").removeprefix("field 'url': ")
        if wrong:
            document.wrong_field(owner, path, ("replicas", index), wrong)
            return None
        found.append(like(target_url, url))
    return tuple(found)


def _kind_of(document: Document, owner: str, path: KeyPath, values: object) -> TargetKind | None:
    name = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(name, str):
        return None  # noted already
    if not is_kind(name):
        text = f"got {shown(name)}, expected {listed(kind_names(), 'or')}"
        document.wrong_field(owner, path, ("kind",), text)
        return None
    try:
        return kind_named(name)
    except ConfigurationError as exc:
        document.wrong_field(owner, path, ("kind",), str(exc))
        return None


def _check_with_kind(document: Document, owner: str, path: KeyPath, target: Target, kind: TargetKind) -> None:
    for index, name in enumerate(target.allow):
        if name not in kind.strategies:
            hint = nearest(name, kind.strategies)
            text = f'got {shown(name)}, expected a strategy of kind "{kind.name}"{hint}'
            document.wrong_field(owner, path, ("allow", index), text)
    _check_thresholds(document, owner, path, target, kind)
    if target.schedule.backup and kind.backups is None:
        text = f'targets of kind "{kind.name}" are not backed up'
        document.wrong_field(owner, path, ("schedule", "backup"), text)
    for sentence in (*kind.requires(target), *strangers(target)):
        document.wrong(path, f"{owner}: {sentence}")


def _check_thresholds(
    document: Document, owner: str, path: KeyPath, target: Target, kind: TargetKind
) -> None:
    names = [rule.name for rule in target.threshold]
    for index, rule in enumerate(target.threshold):
        within: KeyPath = ("threshold", index)
        if rule.name not in kind.thresholds:
            hint = nearest(rule.name, kind.thresholds)
            text = f'got {shown(rule.name)}, expected a threshold of kind "{kind.name}"{hint}'
            document.wrong_field(owner, path, (*within, "name"), text)
        elif rule.name in names[:index]:
            document.wrong_field(owner, path, (*within, "name"), f"{shown(rule.name)} is set above as well")
        elif problem := kind.thresholds[rule.name].problem_with(rule):
            name, text = problem
            document.wrong_field(owner, path, (*within, name), f"{shown(rule.name)}: {text}")


def _refuse_twins(document: Document, entries: list[Any]) -> None:
    first: dict[str, int] = {}
    for index, values in enumerate(entries):
        name = values.get("name") if isinstance(values, dict) else None
        if not isinstance(name, str):
            continue
        if name in first:
            line = document.lines.get(("target", first[name], "name"), 1)
            text = f"the target of line {line} has this name too"
            document.wrong_field(f"target {shown(name)}", ("target", index), ("name",), text)
        first.setdefault(name, index)


def _check_what_they_stand_on(document: Document, entries: list[Any]) -> None:
    """Refuse names of no target, and targets that stand on themselves."""
    tables = {
        str(values["name"]): (index, values)
        for index, values in enumerate(entries)
        if isinstance(values, dict) and isinstance(values.get("name"), str)
    }
    for name, (index, values) in tables.items():
        for field, other in _stands_on(values):
            if other not in tables:
                text = f"got {shown(other)}, expected the name of a target{nearest(other, tables)}"
                document.wrong_field(f"target {shown(name)}", ("target", index), field, text)
            elif circle := _way_back(name, other, tables):
                text = f"{' stands on '.join(circle)}: nothing can stand on itself"
                document.wrong_field(f"target {shown(name)}", ("target", index), field, text)


def _stands_on(values: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    """What a target names that it stands on, with the field; what is no name is noted elsewhere."""
    needs = values.get("depends_on", ())
    named: list[tuple[KeyPath, Any]] = [(("runs_on",), values.get("runs_on"))]
    named += [
        (("depends_on", place), each) for place, each in enumerate(needs if isinstance(needs, list) else ())
    ]
    return [(field, name) for field, name in named if isinstance(name, str)]


def _way_back(start: str, at: str, tables: dict[str, tuple[int, dict[str, Any]]]) -> list[str]:
    """How *at* leads to *start* again, from *start* to *start*; empty if it does not."""
    ways, been = [[start, at]], {at}
    while ways:
        way = ways.pop()
        if way[-1] == start:
            return way
        for _, further in _stands_on(tables[way[-1]][1]) if way[-1] in tables else ():
            if further not in been:
                been.add(further)
                ways.append([*way, further])
    return []
