"""Read the configuration; it is right as a whole or refused as a whole."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from medic8.errors import ConfigurationError
from medic8.settings.alerts import read_alerts
from medic8.settings.credentials import holds_password, readable_by_others
from medic8.settings.document import Document, read_document
from medic8.settings.notify import read_routes
from medic8.settings.places import default_home, find_configuration
from medic8.settings.policy import read_rules
from medic8.settings.problems import nearest, shown
from medic8.settings.settings import Settings
from medic8.settings.state import read_state
from medic8.settings.targets import read_targets

_TABLES = (
    "target",
    "backups",
    "journal",
    "recovery",
    "schedule",
    "deployments",
    "policy",
    "observer",
    "approvals",
    "alerts",
    "notify",
)


def load_settings(
    path: Path | None = None, *, environ: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> Settings:
    """
    What the site has configured; without a configuration no targets and the defaults.

    Args:
        path: The file; None = ``$MEDIC8_CONFIG``, else ``medic8.toml`` in *cwd*, else in the home.
        environ: The environment.
        cwd: The working folder; None = the process's.
    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong; the message
            has one line for each problem, with file, line, field and what was expected.
    """
    cwd = (Path.cwd() if cwd is None else cwd).absolute()
    home = default_home(environ)
    source = find_configuration(path, environ, cwd)
    if source is None:
        return Settings(home=home, **read_state(Document(folder=home, environ=environ), home))
    is_below = source.is_relative_to(cwd) and cwd != Path(cwd.anchor)
    named = str(source.relative_to(cwd)) if is_below else str(source)
    document = read_document(source, named, environ)
    for key in document.content:
        if key not in _TABLES:
            document.wrong((key,), f"{shown(key)}: not known{nearest(key, _TABLES)}")
    targets = read_targets(document)
    state = read_state(document, home)
    rules = read_rules(document, targets)
    alerts = read_alerts(document, targets)
    notify = read_routes(document, targets)
    if document.problems:
        problems = sorted(document.problems)
        raise ConfigurationError("\n".join(f"{named}:{each.line}: {each.text}" for each in problems))
    if _spells_password(document) and readable_by_others(source):
        document.warnings.append(
            f'{named} holds a password and can be read by others; "chmod 600" keeps it to its owner'
        )
    return Settings(
        targets=targets,
        unusable={name: f"{named}:{each.line}: {each.text}" for name, each in document.unusable.items()},
        source=source,
        home=home,
        warnings=tuple(document.warnings),
        **state,
        **rules,
        alerts=alerts,
        notify=notify,
    )


def _spells_password(document: Document) -> bool:
    tables = (*document.content.get("target", []), document.content.get("journal", {}))
    urls = (url for table in tables for url in (table.get("url", ""), *table.get("replicas", ())))
    return any(holds_password(url) for url in urls)
