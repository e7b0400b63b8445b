"""The unprivileged user that our servers run as when root starts them, and what that user can reach."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from medic8.errors import ConfigurationError

_PROBE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Account:
    """
    A user that exists on this machine.

    Attributes:
        name: As in the user database; PostgreSQL refuses a user that has no name.
        uid: Its number.
        gid: Its primary group; it is given no other group.
    """

    name: str
    uid: int
    gid: int


def server_account() -> Account | None:
    """
    Get the user that our servers must switch to, None for an ordinary user, who starts them as himself.

    Raises:
        ConfigurationError: We are root and the machine has no user ``nobody``.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as exc:
        raise ConfigurationError(
            "root cannot run the local servers itself (PostgreSQL refuses that) and this machine has no user "
            "'nobody'; start the local stack as an ordinary user"
        ) from exc
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def is_reachable(path: Path, account: Account | None, *, test: str = "-x") -> bool:
    """
    Tell whether *account* passes ``test`` (1) on *path*, None standing for ourselves.

    The kernel is asked by a process of that user, because mode bits alone say nothing about access lists,
    mount options and network file systems.

    Args:
        path: An absolute path; every folder above it is part of the question.
        account: Who asks.
        test: ``-x`` (may enter or execute) or ``-r`` (may read).
    Raises:
        ConfigurationError: We may not become that user (a container without the right to switch users).
    """
    try:
        answer = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", 'test "$1" "$2"', "sh", test, str(path)],
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_S,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    except (PermissionError, subprocess.SubprocessError, ValueError) as exc:
        raise ConfigurationError(
            f"root may not switch to user {account.name if account else os.geteuid()!r} here ({exc}); "
            "start the local stack as an ordinary user"
        ) from exc
    return answer.returncode == 0
