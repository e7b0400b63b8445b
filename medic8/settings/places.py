"""Where the configuration and Medic8's own state are, from the environment alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from medic8.errors import ConfigurationError

#: The configuration's file name, in the working folder and in the home.
CONFIGURATION = "medic8.toml"

_SYSTEM_HOME = Path("/var/lib/medic8")


def default_home(environ: Mapping[str, str], *, is_root: bool | None = None) -> Path:
    """
    The folder of Medic8's own state; it need not exist.

    ``$MEDIC8_HOME``, else ``/var/lib/medic8`` for root, else ``medic8`` under
    ``$XDG_DATA_HOME`` or ``~/.local/share``.

    Args:
        environ: The environment.
        is_root: Whether the process is root's; None = look.
    """
    if chosen := environ.get("MEDIC8_HOME"):
        return expand(chosen, environ).absolute()
    if os.geteuid() == 0 if is_root is None else is_root:
        return _SYSTEM_HOME
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    # Source: XDG Base Directory Specification 0.8, "All paths must be absolute"; others are ignored.
    return (shared if shared.is_absolute() else expand("~/.local/share", environ)) / "medic8"


def find_configuration(path: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """
    The configuration to read: *path*, else ``$MEDIC8_CONFIG``, else in *cwd*, else in the home.

    Returns:
        None if nothing was asked for and there is none.
    Raises:
        ConfigurationError: the file that was asked for is not there.
    """
    if path is not None:
        return _existing(cwd / expand(str(path), environ), "--config")
    if chosen := environ.get("MEDIC8_CONFIG"):
        return _existing(cwd / expand(chosen, environ), "$MEDIC8_CONFIG")
    candidates = (cwd / CONFIGURATION, default_home(environ) / CONFIGURATION)
    return next((candidate for candidate in candidates if candidate.exists()), None)


def expand(path: str, environ: Mapping[str, str]) -> Path:
    """*path* with a leading ``~`` replaced by the home folder of *environ*."""
    if path == "~" or path.startswith("~/"):
        return Path(environ.get("HOME") or Path.home()) / path[2:]
    return Path(path)


def _existing(path: Path, asked_by: str) -> Path:
    if not path.exists():
        raise ConfigurationError(f"{path}: there is no such file ({asked_by} names it)")
    return path
