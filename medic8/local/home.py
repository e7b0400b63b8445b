"""
Where Medic8 keeps its state on this machine, and where the servers it starts keep theirs.

The home belongs to whoever runs Medic8. The servers' data lies in ``<home>/servers``. That is simple for an
ordinary user, who runs the servers himself. Started by root, the servers run as an unprivileged user, who
must be able to walk down to his data. Nobody's folder is opened up for that: where the way is barred (a home
under ``/root`` or in a 0700 folder of a test run), the data lies in a folder of our own elsewhere, and
``<home>/servers`` is a symbolic link to it, so that it is found again and removed with the rest.

In both places the folder itself belongs to root and may be passed through but not listed (0711); each
server's data in it belongs to the unprivileged user alone (0700); copies of programs belong to root, so that
a server cannot replace the program it is started from.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from medic8.errors import ConfigurationError
from medic8.local.account import Account, is_reachable

# A Unix socket's address holds 107 bytes on Linux; PostgreSQL's file name takes 20 of them with its lock's
# suffix. Source: unix(7), sun_path.
_LONGEST_SOCKET_FOLDER = 80
_ELSEWHERE = (Path("/var/lib/medic8-servers"), Path("/var/tmp"))  # noqa: S108  # used by mkdtemp only
_SHORT = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  # used by mkdtemp only

_LONGEST_LOG_BYTES = 8 * 2**20


def medic8_home(environment: Mapping[str, str] | None = None) -> Path:
    """
    Get the folder that holds Medic8's state, made if it does not exist.

    ``$MEDIC8_HOME``, else ``/var/lib/medic8`` for root, else ``$XDG_DATA_HOME/medic8``, else
    ``~/.local/share/medic8``. A home made here is 0700 for an ordinary user and 0711 for root, whose servers
    run as another user; a home that exists keeps its mode.

    Args:
        environment: Variables to go by; None for those of this process.
    Raises:
        ConfigurationError: The folder cannot be made, or the name is that of something else.
    """
    environment = os.environ if environment is None else environment
    if environment.get("MEDIC8_HOME"):
        home = Path(environment["MEDIC8_HOME"]).expanduser()
    elif os.geteuid() == 0:
        home = Path("/var/lib/medic8")
    elif environment.get("XDG_DATA_HOME"):
        home = Path(environment["XDG_DATA_HOME"]) / "medic8"
    else:
        home = Path("~/.local/share/medic8").expanduser()
    return make_home(home)


def make_home(home: Path) -> Path:
    """
    Make *home* if it does not exist, with the parents it lacks, and get its absolute path.

    Raises:
        ConfigurationError: It cannot be made.
    """
    home = home.absolute()
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        missing = [folder for folder in (home, *home.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)  # the umask has no say in it
    except OSError as exc:
        raise ConfigurationError(f"cannot make Medic8's home {home}: {exc}") from exc
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"Medic8's home {home} is not a folder that we may write to")
    return home


def server_room(home: Path, account: Account | None) -> Path:
    """
    Get the folder that holds the servers' data, which *account* can reach; made if it does not exist.

    Args:
        home: From `medic8_home`.
        account: Who runs the servers; None for ourselves.
    Returns:
        A path without symbolic links, so that the way to it does not lead through the home.
    Raises:
        ConfigurationError: A room that exists is barred now, or no place can be found for a new one.
    """
    door = home / "servers"
    if door.is_symlink() and not door.exists():
        door.unlink()  # what it led to is gone, and with it the data
    if not door.exists():
        if account is None:
            door.mkdir(mode=0o700)
        elif is_reachable(home, account):
            door.mkdir()
            door.chmod(0o711)
        else:
            door.symlink_to(_room_elsewhere(account))
    room = door.resolve()
    if room.stat().st_uid != os.geteuid():
        raise ConfigurationError(
            f"{room} belongs to user {room.stat().st_uid}, not to us: {door} may not lead there"
        )
    if account is not None and not is_reachable(room, account):
        raise ConfigurationError(
            f"user {account.name!r}, who runs the servers, cannot reach their data in {room} any more; "
            f"let others pass through the folders above it (chmod o+x), as when it was made"
        )
    return room


def own_folder(folder: Path, account: Account | None) -> Path:
    """
    Make *folder*, 0700 and owned by *account*, if it does not exist.

    Args:
        folder: Its parent exists.
        account: The owner; None for ourselves.
    Raises:
        ConfigurationError: The file system does not let us give it away.
    """
    if not folder.exists():
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        _give(work, account)
        work.rename(folder)
    return folder


def socket_folder(wanted: Path, account: Account | None) -> Path:
    """
    Get a private folder whose path is short enough for Unix sockets.

    Args:
        wanted: Where it is if that path is short; else a symbolic link to the short one is kept there, by
            which it is found again. A short one that the system cleared away (``/tmp`` after a restart) is
            made anew.
        account: Who owns it; None for ourselves.
    Returns:
        The folder itself, without symbolic links.
    """
    if len(os.fsencode(wanted)) <= _LONGEST_SOCKET_FOLDER:
        return own_folder(wanted, account)
    if wanted.is_symlink():
        if is_private(wanted, account):
            return wanted.resolve()
        wanted.unlink()
    parent = next((place for place in _SHORT if os.access(place, os.W_OK | os.X_OK)), None)
    if parent is None:
        raise ConfigurationError(
            f"no folder for sockets: the path {wanted} is too long, and none of {_SHORT} is writable"
        )
    short = Path(tempfile.mkdtemp(prefix="medic8-", dir=parent))
    _give(short, account)
    wanted.symlink_to(short)
    return short


def is_private(folder: Path, account: Account | None) -> bool:
    """
    Tell whether *folder* leads to a folder that *account* alone may use.

    A name in ``/tmp`` that we used before may be somebody else's folder after a restart.
    """
    try:
        seen = folder.resolve().lstat()
    except OSError:
        return False
    owner = os.geteuid() if account is None else account.uid
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == owner and stat.S_IMODE(seen.st_mode) == stat.S_IRWXU


def log_file(home: Path, name: str) -> Path:
    """Get the file that the server called *name* writes to; what became too long is set aside."""
    folder = home / "logs"
    folder.mkdir(mode=0o700, exist_ok=True)
    log = folder / f"{name}.log"
    if log.exists() and log.stat().st_size > _LONGEST_LOG_BYTES:
        log.rename(log.with_suffix(".log.1"))
    log.touch(mode=0o600)
    return log


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours with its contents, through a symbolic link as well."""
    if folder.is_symlink():
        shutil.rmtree(folder.resolve(), ignore_errors=True)
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _room_elsewhere(account: Account) -> Path:
    for parent in _ELSEWHERE:
        try:
            if not parent.exists():
                parent.mkdir()
                parent.chmod(0o711)
            if is_reachable(parent, account):
                room = Path(tempfile.mkdtemp(prefix="medic8-", dir=parent))
                room.chmod(0o711)
                return room
        except OSError:
            continue  # read-only here; the next place may do
    raise ConfigurationError(f"user {account.name!r}, who runs the servers, can reach none of {_ELSEWHERE}")


def _give(folder: Path, account: Account | None) -> None:
    if account is None:
        return
    try:
        os.chown(folder, account.uid, account.gid)
    except OSError as exc:
        folder.rmdir()
        raise ConfigurationError(
            f"cannot give {folder} to user {account.name!r}, who runs the servers: {exc}"
        ) from exc
