"""Where a configuration puts Medic8's own state: backups, the journal and what recoveries save."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.settings.credentials import Credentials, CredentialsError, what_is_wrong_with, with_credentials
from medic8.settings.document import Document, Table
from medic8.settings.places import expand

_SQLITE = "sqlite:///"

#: The one driver that is installed, behind every spelling that other tools use.
_POSTGRESQL = ("postgresql+pg8000://", "postgresql://", "postgres://")


class BackupsTable(Frozen):
    """
    ``[backups]``.

    Attributes:
        folder: Where the backups of all targets are.
    """

    folder: str | None = None


class JournalTable(Credentials):
    """
    ``[journal]``.

    Attributes:
        url: ``sqlite:///<file>`` on one machine, ``postgresql://…`` when shared.
    """

    url: str | None = None


class RecoveryTable(Frozen):
    """
    ``[recovery]``.

    Attributes:
        folder: Where recoveries save what they are about to change.
        max_saved_mib: Most MiB that one recovery may save.
    """

    folder: str | None = None
    max_saved_mib: int = Field(default=1024, gt=0)


class State(TypedDict):
    """What `Settings` takes from here."""

    backups: Path
    journal_url: str
    saved_state: Path
    max_saved_mib: int


def read_state(document: Document, home: Path) -> State:
    """Where *document* puts Medic8's state, below *home* by default; problems are noted there."""
    backups = _table(document, "backups", BackupsTable)
    journal = _table(document, "journal", JournalTable)
    recovery = _table(document, "recovery", RecoveryTable)
    return State(
        backups=_folder(document, backups.folder, home / "backups"),
        journal_url=_journal_url(document, journal, home),
        saved_state=_folder(document, recovery.folder, home / "recoveries"),
        max_saved_mib=recovery.max_saved_mib,
    )


def _table(document: Document, name: str, model: type[Table]) -> Table:
    """The table called *name*; its defaults if it is not there, or wrong and noted."""
    return document.parse(model, f"[{name}]", (name,), document.content.get(name, {})) or model()


def _folder(document: Document, given: str | None, default: Path) -> Path:
    return default if given is None else document.folder / expand(given, document.environ)


def _journal_url(document: Document, journal: JournalTable, home: Path) -> str:
    url = journal.url if journal.url is not None else f"{_SQLITE}{home / 'journal.sqlite'}"
    if url.startswith(_SQLITE) and url != _SQLITE:
        # Relative to the working folder, two processes would keep two journals.
        return f"{_SQLITE}{document.folder / expand(url.removeprefix(_SQLITE), document.environ)}"
    scheme = next((each for each in _POSTGRESQL if url.startswith(each)), None)
    if scheme is None:
        wrong = 'expected "sqlite:///<file>" or "postgresql://<user>@<host>/<database>"'
    else:
        wrong = what_is_wrong_with(url)
    if wrong or scheme is None:
        document.wrong_field("[journal]", ("journal",), ("url",), wrong)
        return ""
    url = _POSTGRESQL[0] + url.removeprefix(scheme)
    try:
        url, warnings = with_credentials(url, journal, environ=document.environ, folder=document.folder)
    except CredentialsError as exc:
        document.wrong_field("[journal]", ("journal",), (exc.field,), str(exc))
        return ""
    document.warnings += [f"[journal]: {warning}" for warning in warnings]
    return url
