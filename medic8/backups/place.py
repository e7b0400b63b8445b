"""Where a site keeps its backups, and what opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr

from medic8.errors import ConfigurationError
from medic8.model.frozen import Frozen

KEY_BYTES = 32


class Retention(Frozen):
    """
    Which backups are kept; a backup that any rule keeps stays.

    Attributes:
        keep_last: So many of the newest.
        keep_daily: The newest of each of so many days (UTC) that have one.
        keep_weekly: The newest of each of so many weeks (ISO 8601, UTC) that have one.
    """

    keep_last: int = Field(default=7, ge=0)
    keep_daily: int = Field(default=14, ge=0)
    keep_weekly: int = Field(default=8, ge=0)


class BackupPlace(Frozen):
    """
    Where the backups of all targets are.

    Attributes:
        url: A folder, or an address that fsspec understands (``s3://bucket/prefix``); without secrets.
        options: What the storage of that address is opened with, as fsspec wants it; never printed.
        key: 32 bytes in hexadecimal that new backups are encrypted with; None is no encryption.
        problem: What keeps us from the backups here and now, such as a missing key; empty if nothing.
        retention: What pruning keeps.
    """

    url: str
    options: dict[str, SecretStr | bool | int | float] = Field(default_factory=dict, repr=False)
    key: SecretStr | None = None
    problem: str = ""
    retention: Retention = Retention()

    @classmethod
    def of(cls, folder: Path) -> Self:
        """A folder on this machine, without encryption."""
        return cls(url=str(folder))


def key_bytes(text: str) -> bytes:
    """
    The 32 bytes of a key that is spelled in hexadecimal.

    Raises:
        ConfigurationError: it is spelled otherwise; the message does not repeat it.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(
            f"the backups' key must be {KEY_BYTES} bytes in hexadecimal ({2 * KEY_BYTES} digits), "
            "as medic8 backup new-key makes one"
        )
    return key
