"""Where people are told what happens: ``[[notify]]`` of a configuration."""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import SecretStr

from medic8.model.notice import Event, Route
from medic8.model.target import Target
from medic8.settings.document import Document
from medic8.settings.lines import KeyPath
from medic8.settings.named_secret import named_secret
from medic8.settings.problems import nearest, shown


class RouteTable(Route):
    """
    ``[[notify]]``: a `Route` with its address by reference.

    Attributes:
        url: Not here: whoever has such an address may send, and often read.
        url_env: The environment variable that holds the address.
        url_file: The file that holds it.
        problem: Not here either.
    """

    url: None = None
    url_env: str | None = None
    url_file: str | None = None


def read_routes(document: Document, targets: tuple[Target, ...]) -> tuple[Route, ...]:
    """Where *document* has things told; problems are noted there."""
    entries = document.content.get("notify", [])
    if not isinstance(entries, list):
        document.wrong(("notify",), 'a route begins with "[[notify]]", in two pairs of brackets')
        return ()
    found = [_read(document, index, values, targets) for index, values in enumerate(entries)]
    routes = tuple(each for each in found if each is not None)
    names = [each.name for each in routes]
    for index, name in enumerate(names):
        if name in names[:index]:
            document.wrong(("notify", index, "name"), f"notify {shown(name)}: there are two")
    if routes and all(each.targets for each in routes):
        document.warnings.append(
            "every [[notify]] names targets: what is about another one, or about none, is told to nobody"
        )
    return routes


def is_meant(pattern: str, target: Target) -> bool:
    """Whether *pattern*, a name or a label as ``key=value``, with ``*`` for anything, means *target*."""
    return any(fnmatchcase(each, pattern) for each in _words(target))


def _words(target: Target) -> tuple[str, ...]:
    return (target.name, *(f"{key}={value}" for key, value in target.labels.items()))


def _read(document: Document, index: int, values: object, targets: tuple[Target, ...]) -> Route | None:
    path: KeyPath = ("notify", index)
    name = values.get("name") if isinstance(values, dict) else None
    owner = f"notify {shown(name)}" if isinstance(name, str) else f"notify number {index + 1}"
    for field in ("url", "problem"):
        if isinstance(values, dict) and field in values:
            document.wrong_field(
                owner, path, (field,), "not here; the address is a secret: url_env or url_file names it"
            )
            return None
    table = document.parse(RouteTable, owner, path, values)
    if table is None:
        return None
    for place, pattern in enumerate(table.targets):
        if not any(is_meant(pattern, each) for each in targets):
            # A route that is for nothing would be taken for one that tells.
            known = [word for each in targets for word in _words(each)]
            text = f"got {shown(pattern)}, expected a target's name or label{nearest(pattern, known)}"
            document.wrong_field(owner, path, ("targets", place), text)
    for place, event in enumerate(table.digest):
        if event in table.events and {"events", "digest"} <= table.model_fields_set:
            document.wrong_field(owner, path, ("digest", place), f"{shown(event.value)} is in events as well")
    url, problem = _url(document, path, owner, table)
    fields = {each: getattr(table, each) for each in Route.model_fields}
    if "events" not in table.model_fields_set:
        fields["events"] = tuple(each for each in Event if each not in table.digest)
    if "digest" not in table.model_fields_set:
        fields["digest"] = tuple(each for each in table.digest if each not in table.events)
    return Route.model_validate({**fields, "url": url, "problem": problem})


def _url(document: Document, path: KeyPath, owner: str, table: RouteTable) -> tuple[SecretStr | None, str]:
    """The address, and why it cannot be had here and now: that closes the route, and nothing else."""
    if table.url_env is None and table.url_file is None:
        document.wrong(path, f"{owner}: it is told nowhere; give it url_env or url_file")
        return None, ""
    found, field, problem = named_secret(document, path, owner, table.url_env, table.url_file, "url")
    if found is None:
        return None, problem
    if "://" not in found or len(found.split()) != 1:
        document.wrong_field(owner, path, (field,), "what it names is no address such as scheme://…")
        return None, ""
    return SecretStr(found), ""
