"""Where a configuration puts Medic8's own state: backups, the journal and what recoveries save."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pydantic import Field, SecretStr

from medic8.backups.place import BackupPlace, Retention, key_bytes
from medic8.errors import ConfigurationError
from medic8.model.frozen import Frozen
from medic8.model.saved import KEEP_DAYS, Keep
from medic8.model.schedule import Deployments, SiteSchedule
from medic8.settings.credentials import (
    Credentials,
    CredentialsError,
    NoSecretError,
    holds_password,
    secret,
    what_is_wrong_with,
    with_credentials,
)
from medic8.settings.document import Document, Table
from medic8.settings.lines import KeyPath
from medic8.settings.places import expand
from medic8.settings.problems import shown

_SQLITE = "sqlite:///"

#: The one driver that is installed, behind every spelling that other tools use.
_POSTGRESQL = ("postgresql+pg8000://", "postgresql://", "postgres://")


class BackupsTable(Retention):
    """
    ``[backups]``.

    Attributes:
        folder: Where the backups of all targets are, on this machine.
        url: The same elsewhere: an address that fsspec understands.
        options: What the storage of that address is opened with.
        options_env: The same, each from the environment variable of that name.
        key_env: The environment variable that holds the key.
        key_file: The file that holds the key.
    """

    folder: str | None = None
    url: str | None = None
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    options_env: dict[str, str] = Field(default_factory=dict)
    key_env: str | None = None
    key_file: str | None = None


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
        keep_days: For how many days what a recovery saved is kept after it has ended.
        keep_mib: Most MiB that is kept of ended recoveries together.
        claims: Folder in which what is on this host is claimed.
    """

    folder: str | None = None
    max_saved_mib: int = Field(default=1024, gt=0)
    keep_days: int = Field(default=KEEP_DAYS, ge=0, le=36_500)
    keep_mib: int | None = Field(default=None, ge=0)
    claims: str | None = None


class State(TypedDict):
    """What `Settings` takes from here."""

    backups: BackupPlace
    journal_url: str
    saved_state: Path
    max_saved_mib: int
    keep: Keep
    claims: Path | None
    schedule: SiteSchedule
    deployments: Deployments


def read_state(document: Document, home: Path) -> State:
    """Where *document* puts Medic8's state, below *home* by default; problems are noted there."""
    backups = _table(document, "backups", BackupsTable)
    journal = _table(document, "journal", JournalTable)
    recovery = _table(document, "recovery", RecoveryTable)
    return State(
        backups=_backups(document, backups, home / "backups"),
        journal_url=_journal_url(document, journal, home),
        saved_state=_folder(document, recovery.folder, home / "recoveries"),
        max_saved_mib=recovery.max_saved_mib,
        keep=Keep(days=recovery.keep_days, mib=recovery.keep_mib),
        claims=None
        if recovery.claims is None
        else document.folder / expand(recovery.claims, document.environ),
        schedule=_table(document, "schedule", SiteSchedule),
        deployments=_table(document, "deployments", Deployments),
    )


def _table(document: Document, name: str, model: type[Table]) -> Table:
    """The table called *name*; its defaults if it is not there, or wrong and noted."""
    return document.parse(model, f"[{name}]", (name,), document.content.get(name, {})) or model()


def _backups(document: Document, table: BackupsTable, default: Path) -> BackupPlace:
    path: KeyPath = ("backups",)

    def wrong(field: str, text: str) -> None:
        document.wrong_field("[backups]", path, (field,), text)

    if table.folder is not None and table.url is not None:
        wrong("url", 'field "folder" is given too; keep one of the two')
    if table.url is not None and "://" not in table.url:
        wrong("url", f'got {shown(table.url)}, expected an address such as "s3://bucket/prefix"')
    elif table.url is not None and (text := what_is_wrong_with(table.url) or _spelled_out(table.url)):
        wrong("url", text)
    elif table.url is not None and table.url.startswith("memory:"):
        wrong("url", "what is kept in memory is gone when the command ends")
    options: dict[str, SecretStr | bool | int | float] = {
        name: SecretStr(value) if isinstance(value, str) else value for name, value in table.options.items()
    }
    problem = ""
    for name, variable in table.options_env.items():
        if value := document.environ.get(variable):
            options[name] = SecretStr(value)
        else:
            state = "not set" if value is None else "empty"
            problem = f'[backups]: field "options_env": environment variable "{variable}" is {state}'
    key, without_key = _backup_key(document, table)
    return BackupPlace(
        url=table.url or str(_folder(document, table.folder, default)),
        options=options,
        key=key,
        problem=problem or without_key,
        retention=Retention(
            keep_last=table.keep_last, keep_daily=table.keep_daily, keep_weekly=table.keep_weekly
        ),
    )


def _spelled_out(url: str) -> str:
    if not holds_password(url):
        return ""
    return 'it spells a password out; give it as "options_env", such as { password = "BACKUP_PASSWORD" }'


def _backup_key(document: Document, table: BackupsTable) -> tuple[SecretStr | None, str]:
    """The key, and why it cannot be had here and now: that closes the backups, and nothing else."""
    try:
        text, field, warnings = secret(
            table.key_env, table.key_file, ("key_env", "key_file"), document.environ, document.folder
        )
    except NoSecretError as exc:
        return None, f'[backups]: field "{exc.field}": {exc}'
    except CredentialsError as exc:
        document.wrong_field("[backups]", ("backups",), (exc.field,), str(exc))
        return None, ""
    document.warnings += [f"[backups]: {warning}" for warning in warnings]
    if text is None:
        return None, ""
    try:
        key_bytes(text)
    except ConfigurationError as exc:
        document.wrong_field("[backups]", ("backups",), (field,), str(exc))
        return None, ""
    return SecretStr(text), ""


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
