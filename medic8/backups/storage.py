"""
Named pieces of bytes in a folder or at any address that fsspec understands.

Whatever the storage: a piece is there whole or not at all, and what was written
stays when the power fails, as far as the storage can promise that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import BackupPlace
from medic8.durable import make_folder, sync_folder
from medic8.errors import ConfigurationError, Medic8Error, RefusedError

#: How the name of a piece begins that is still being written.
PARTIAL = ".partial-"

_LOCAL = ("file://", "local://")

#: Where a piece that is put shows only when all of it is there.
_PUTS_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "memory"})


class Storage(Protocol):
    """
    Pieces by name, such as ``packs/00001-6f….m8p``.

    Attributes:
        where: The place for people, without secrets.
        local: The folder, if it is one on this machine.
    """

    where: str
    local: Path | None

    def sizes(self, folder: str, *, partial: bool = False) -> dict[str, int]:
        """
        The pieces in *folder* by name, without the folder, and their sizes; none if there is no folder.

        With *partial*, what writers that died have left instead.
        """

    def read(self, name: str, *, most: int) -> bytes:
        """
        All of a piece.

        Raises:
            BackupDamagedError: it is not there, or longer than *most* bytes.
        """

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """
        *length* bytes of a piece from *offset* on.

        Raises:
            BackupDamagedError: they are not there.
        """

    def read_back(self, name: str, *, most: int) -> bytes:
        """Like `read`, but from the storage itself and not from a memory on the way."""

    def write(self, name: str, content: bytes) -> None:
        """Write a new piece, whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete a piece; if it is not there, that is as well."""

    def free_bytes(self) -> int | None:
        """How much more can be written; None if the storage does not say."""


def open_storage(place: BackupPlace, *parts: str) -> Storage:
    """
    The storage of *place*, below the folders *parts*.

    Raises:
        ConfigurationError: the package for such an address is not installed, or the address is none.
        RefusedError: it cannot be reached.
    """
    local = local_folder(place.url)
    if local is not None:
        return _Folder(local.joinpath(*parts))
    return _Remote(place, "/".join(parts))


def local_folder(url: str) -> Path | None:
    """The folder that *url* is; None if it is an address elsewhere."""
    for scheme in _LOCAL:
        if url.startswith(scheme):
            return Path(url.removeprefix(scheme))
    return None if "://" in url else Path(url)


class _Folder:
    """A folder on this machine, 0700, with files of 0600."""

    def __init__(self, root: Path) -> None:
        self.where = str(root)
        self.local: Path | None = root
        self._root = root

    def sizes(self, folder: str, *, partial: bool = False) -> dict[str, int]:
        try:
            found: dict[str, int] = {}
            with os.scandir(self._root / folder) as entries:
                for each in entries:
                    # Anything else may hang whoever opens it, or be deleted by nobody.
                    if _is_shown(each.name, partial=partial) and each.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # deleted while we look; the others stay
                            found[each.name] = each.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise RefusedError(f"{self.where}/{folder} cannot be listed: {exc.strerror}") from exc
        return found

    def read(self, name: str, *, most: int) -> bytes:
        return self._read(name, 0, None, most)

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        return self._read(name, offset, length, length)

    def read_back(self, name: str, *, most: int) -> bytes:
        with contextlib.suppress(OSError), (self._root / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return self._read(name, 0, None, most)

    def _read(self, name: str, offset: int, length: int | None, most: int) -> bytes:
        try:
            with (self._root / name).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                wanted = size if length is None else length
                if wanted > most or offset + wanted > size:
                    raise _wrong_size(self.where, name, size, offset, length, most)
                content = os.pread(file.fileno(), wanted, offset)
                while len(content) < wanted:
                    more = os.pread(file.fileno(), wanted - len(content), offset + len(content))
                    if not more:
                        raise _wrong_size(self.where, name, size, offset, length, most)
                    content += more
                return content
        except OSError as exc:
            raise BackupDamagedError(f"{self.where}/{name} cannot be read: {exc.strerror}") from exc

    def write(self, name: str, content: bytes) -> None:
        path = self._root / name
        partial = path.with_name(f"{PARTIAL}{path.name}-{secrets.token_hex(4)}")
        try:
            make_folder(path.parent)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    rest = memoryview(content)
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                partial.rename(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise
            sync_folder(path.parent)
        except OSError as exc:
            raise RefusedError(
                f"no backup can be written at {path}: {exc.strerror}; no target was changed"
            ) from exc

    def delete(self, name: str) -> None:
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as exc:
            raise RefusedError(f"{self.where}/{name} cannot be deleted: {exc.strerror}") from exc

    def free_bytes(self) -> int | None:
        for folder in (self._root, *self._root.parents):
            with contextlib.suppress(OSError):
                stat = os.statvfs(folder)
                return stat.f_bavail * stat.f_frsize
        return None


class _Remote:
    """Any storage that fsspec has a package for."""

    def __init__(self, place: BackupPlace, below: str) -> None:
        import fsspec  # noqa: PLC0415 - a folder needs none of it
        from fsspec.core import url_to_fs  # noqa: PLC0415

        options: dict[str, Any] = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in place.options.items()
        }
        self.local: Path | None = None
        self.where = f"{place.url.rstrip('/')}/{below}"
        scheme = place.url.partition("://")[0]
        if scheme not in fsspec.available_protocols():
            raise ConfigurationError(f'[backups]: field "url": {scheme!r} is no storage that fsspec knows')
        try:
            self._fs, root = url_to_fs(
                place.url, use_listings_cache=False, skip_instance_cache=True, **options
            )
        except ImportError as exc:
            raise ConfigurationError(f'[backups]: field "url": {scheme!r} needs a package: {exc}') from exc
        except Exception as exc:
            raise RefusedError(f"the backups at {place.url} cannot be reached: {exc}") from exc
        self._root = f"{root.rstrip('/')}/{below}"
        self._puts_at_once = scheme in _PUTS_AT_ONCE
        self._one_at_a_time = threading.RLock()
        self._made: set[str] = set()

    def sizes(self, folder: str, *, partial: bool = False) -> dict[str, int]:
        with self._asking(f"{folder} cannot be listed"):
            try:
                entries = self._fs.ls(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
            found = ((str(each["name"]).rstrip("/").rpartition("/")[2], each) for each in entries)
            return {
                name: int(each["size"] or 0)
                for name, each in found
                if each["type"] == "file" and _is_shown(name, partial=partial)
            }

    def read(self, name: str, *, most: int) -> bytes:
        with self._asking(f"{name} cannot be read", BackupDamagedError):
            size = int(self._fs.size(self._path(name)) or 0)
        if size > most:
            raise _wrong_size(self.where, name, size, 0, None, most)
        return self.read_range(name, 0, size)

    read_back = read

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        with self._asking(f"{name} cannot be read", BackupDamagedError):
            content = bytes(self._fs.cat_file(self._path(name), start=offset, end=offset + length))
        if len(content) != length:
            raise _wrong_size(self.where, name, offset + len(content), offset, length, length)
        return content

    def write(self, name: str, content: bytes) -> None:
        with self._asking(f"{name} cannot be written; no target was changed"):
            path = self._path(name)
            folder, _, last = path.rpartition("/")
            if folder not in self._made:
                self._fs.makedirs(folder, exist_ok=True)
                self._made.add(folder)
            if self._puts_at_once:
                self._fs.pipe_file(path, content)
                return
            partial = f"{folder}/{PARTIAL}{last}-{secrets.token_hex(4)}"
            self._fs.pipe_file(partial, content)
            self._fs.mv(partial, path)

    def delete(self, name: str) -> None:
        with self._asking(f"{name} cannot be deleted"):
            try:
                self._fs.rm_file(self._path(name))
            except Exception:
                # Each storage has a way of its own to say that there was nothing to delete.
                if self._fs.exists(self._path(name)):
                    raise

    def free_bytes(self) -> int | None:
        return None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _asking(self, what: str, kind: type[RefusedError] = RefusedError) -> Iterator[None]:
        # Each storage brings errors of its own along; none of them may end as one of the target's connection.
        # Not every one may be asked by two threads at once.
        try:
            with self._one_at_a_time:
                yield
        except Medic8Error:
            raise
        except Exception as exc:
            raise kind(f"{self.where}/{what}: {type(exc).__name__}: {exc}") from exc


def _is_shown(name: str, *, partial: bool) -> bool:
    return name.startswith(PARTIAL) if partial else bool(name) and not name.startswith(".")


def _wrong_size(
    where: str, name: str, size: int, offset: int, length: int | None, most: int
) -> BackupDamagedError:
    if length is None:
        return BackupDamagedError(f"{where}/{name} has {size} bytes; the limit is {most}")
    return BackupDamagedError(f"{where}/{name} has {size} bytes; {length} from {offset} on should be there")
