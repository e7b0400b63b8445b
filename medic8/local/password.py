"""The password that the local stack's Prefect server asks for: drawn by lot, kept for its owner alone."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import psutil

from medic8.durable import replacing
from medic8.errors import ConfigurationError
from medic8.local.children import Identity

#: The file in the home.
PASSWORD = "prefect.password"  # noqa: S105  # a name
#: What the server reads it from, and who speaks to it; a command line would show it to everybody.
ASKED, SAID = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
_USER = "medic8"
_BYTES = 24


def keep_password(home: Path, environment: Mapping[str, str]) -> str:
    """
    Get what the server is to ask for, ``user:password``; empty = nothing.

    What *environment* says is kept from then on, also that it is nothing. It is kept rather than asked for
    again each time, so that whoever starts what has died, starts it with the same.

    Args:
        home: It exists, and is held by us.
        environment: ``PREFECT_SERVER_API_AUTH_STRING`` goes before what is kept.
    Raises:
        ConfigurationError: The file cannot be read or written.
    """
    kept, given = read_password(home), environment.get(ASKED)
    wanted = kept if given is None else given.strip()
    if wanted is None:
        wanted = f"{_USER}:{secrets.token_urlsafe(_BYTES)}"
    if wanted != kept:
        _write(home, wanted)
    return wanted


def read_password(home: Path) -> str | None:
    """
    Get what is kept, ``user:password``; empty = the server is to ask for nothing, None = nothing is kept.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        return (home / PASSWORD).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"the password of the local stack's Prefect server, {home / PASSWORD}, cannot be read: {exc}"
        ) from exc


def was_told(identity: Identity, variable: str, password: str) -> bool:
    """Whether a process was started with *password* in *variable*, or without it where that is empty."""
    try:
        return bool(psutil.Process(identity.pid).environ().get(variable, "") == password)
    except (psutil.Error, OSError):
        return False


def _write(home: Path, password: str) -> None:
    try:
        with replacing(home / PASSWORD) as file:
            file.write(f"{password}\n".encode())
    except OSError as exc:
        raise ConfigurationError(f"cannot keep the password of Prefect in {home / PASSWORD}: {exc}") from exc
