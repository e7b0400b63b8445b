"""The names of a grid's keys; one hash tag per parity group keeps a group in one slot."""

from __future__ import annotations

import re
import uuid

from medic8.errors import ConfigurationError
from medic8.targets.grid.layout import MEMBERS, P

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def check_name(name: str) -> str:
    """
    *name*, if a grid may be called so.

    Raises:
        ConfigurationError: other characters than a-z, 0-9, '.', '_', '-', or none, or more than 63.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"grid name {name!r}: the limit is 1 to 63 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def manifest_keys(name: str) -> tuple[str, str]:
    """Keys of the manifest and of its copy, which lie in different slots."""
    return f"m8:{{{name}}}:manifest", f"m8:{{{name}/copy}}:manifest"


def role_key(name: str, group: int, role: int) -> str:
    """Key of a data block (*role* 0 to 15), of P (16) or of Q (17)."""
    return f"m8:{{{name}/{group}}}:{role if role < MEMBERS else 'p' if role == P else 'q'}"


def sums_key(name: str, group: int) -> str:
    """Key of the group's ``:m`` record: the second copy of all page checksums, and which blocks exist."""
    return f"m8:{{{name}/{group}}}:m"


def lost_key(name: str, group: int) -> str:
    """Key of the group's ``:lost`` record: the pages that were given up; there is none if none was."""
    return f"m8:{{{name}/{group}}}:lost"


def lock_key(name: str, group: int) -> str:
    """Key of the group's lock; there is none if it was never locked."""
    return f"m8:{{{name}/{group}}}:lock"


def wait_key(name: str, owner: uuid.UUID) -> str:
    """Key that says which lock *owner* waits for; it expires."""
    return f"m8:{{{name}}}:wait:{owner.hex}"


def conflicts_key(name: str) -> str:
    """Key that counts the checked writes that were refused; it expires."""
    return f"m8:{{{name}}}:conflicts"
