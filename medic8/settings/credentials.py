"""Put a user's name and a password from outside the configuration into an address."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from medic8.model.frozen import Frozen
from medic8.settings.places import expand

#: Longest secret read from a file, in bytes; a device or a core dump is no password.
_LONGEST_SECRET = 4096

_NOT_PARSED = (
    "the address does not parse; write special characters of a password as %XX, "
    'or keep it in "password_file" or "password_env"'
)

_LOOSE = '{what} "{path}" can be read by others; "chmod 600" keeps it to its owner'

#: Schemes whose path may well have an ``@``.
_MAY_HOLD_AT = frozenset({"unix", "http", "https"})


class Credentials(Frozen):
    """
    Who we are to a server, beside what its address says.

    Attributes:
        username: The user's name.
        password_env: The environment variable that holds the password.
        password_file: The file that holds the password.
    """

    username: str | None = None
    password_env: str | None = None
    password_file: str | None = None


class CredentialsError(Exception):
    """
    Credentials that cannot be had or that contradict the address.

    Attributes:
        field: Where in the configuration.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field

    def __str__(self) -> str:
        return str(self.args[1])


class NoSecretError(CredentialsError):
    """
    A password or key that cannot be had here and now.

    It says nothing against the configuration: another user, or a service with
    its secrets, can use the same file.
    """


def with_credentials(
    url: str, credentials: Credentials, *, environ: Mapping[str, str], folder: Path
) -> tuple[str, tuple[str, ...]]:
    """
    *url* with the user's name and the password in its place for them.

    Args:
        url: An address, possibly with credentials of its own.
        credentials: What to add.
        environ: Where environment variables are looked up.
        folder: What a relative file is relative to.
    Returns:
        The address and warnings, one sentence each.
    Raises:
        NoSecretError: no such variable or file, or no password in it.
        CredentialsError: the address has that already.
    """
    password, field, warnings = _password(credentials, environ, folder)
    if credentials.username is None and password is None:
        return url, ()
    if "//" not in url:
        raise CredentialsError(field, 'field "url" has no place for credentials, expected "scheme://host"')
    parts = urlsplit(url)
    there, _, host = parts.netloc.rpartition("@")
    user, colon, secret = there.partition(":")
    if credentials.username is not None:
        if user:
            raise CredentialsError("username", 'field "url" names a user already; keep one of the two')
        user = quote(credentials.username, safe="")
    if password is not None:
        if secret:
            raise CredentialsError(field, 'field "url" holds a password already; keep one of the two')
        colon, secret = ":", quote(password, safe="")
    return urlunsplit(parts._replace(netloc=f"{user}{colon}{secret}@{host}")), warnings


def like(url: str, other: str) -> str:
    """*other* with the credentials, and the database, of *url* where it names none of its own."""
    parts, base = urlsplit(other), urlsplit(url)
    netloc, path = parts.netloc, parts.path
    there, at, _ = base.netloc.rpartition("@")
    if at and "@" not in netloc and not holds_password(other):
        netloc = f"{there}@{netloc}"
    if parts.scheme != "unix" and base.scheme != "unix" and path in {"", "/"}:
        path = base.path
    return urlunsplit(parts._replace(netloc=netloc, path=path))


def what_is_wrong_with(url: str) -> str:
    """
    Why *url* cannot be taken apart without doubt; empty if it can.

    A password with an unescaped ``/``, ``#`` or ``@`` moves into the host or the
    path, from where messages would print it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return _NOT_PARSED
    rest = f"{parts.path}{parts.query}{parts.fragment}"
    if parts.netloc.count("@") > 1 or ("@" in rest and parts.netloc and parts.scheme not in _MAY_HOLD_AT):
        return _NOT_PARSED
    return ""


def holds_password(url: str) -> bool:
    """Whether *url*, which can be taken apart, spells a password out."""
    parts = urlsplit(url)
    return bool(parts.password) or "password=" in parts.query


def readable_by_others(path: Path) -> bool:
    """Whether the group or everyone may read *path*."""
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def _password(
    credentials: Credentials, environ: Mapping[str, str], folder: Path
) -> tuple[str | None, str, tuple[str, ...]]:
    """The password, the field it comes from, and warnings."""
    found, field, warnings = secret(
        credentials.password_env,
        credentials.password_file,
        ("password_env", "password_file"),
        environ,
        folder,
    )
    return found, field or "username", warnings


def secret(
    variable: str | None,
    file: str | None,
    fields: tuple[str, str],
    environ: Mapping[str, str],
    folder: Path,
) -> tuple[str | None, str, tuple[str, ...]]:
    """
    A secret by reference: from an environment variable or a file.

    Args:
        variable: The variable; None if a file has it, or nothing.
        file: The file; None if a variable has it, or nothing.
        fields: How the configuration calls the two.
        environ: Where environment variables are looked up.
        folder: What a relative file is relative to.
    Returns:
        The secret, the field that it comes from (empty if there is none), and warnings.
    Raises:
        CredentialsError: both are given, or there is no such variable or file.
    """
    by_variable, by_file = fields
    if variable is not None and file is not None:
        raise CredentialsError(by_file, f'field "{by_variable}" is given too; keep one of the two')
    if variable is not None:
        found = environ.get(variable)
        if not found:
            state = "not set" if found is None else "empty"
            raise NoSecretError(by_variable, f'environment variable "{variable}" is {state}')
        return found, by_variable, ()
    if file is not None:
        return _secret_in(folder / expand(file, environ), by_file)
    return None, "", ()


def _secret_in(path: Path, field: str) -> tuple[str, str, tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_SECRET + 1)
        warnings = (
            (_LOOSE.format(what=field.replace("_", " "), path=path),) if readable_by_others(path) else ()
        )
    except OSError as exc:
        raise NoSecretError(field, f'"{path}" cannot be read: {exc.strerror}') from None
    if len(content) > _LONGEST_SECRET:
        raise NoSecretError(
            field, f'"{path}" holds more than the {_LONGEST_SECRET} bytes of a {field.removesuffix("_file")}'
        )
    try:
        # An editor ends the file with a new line; a secret never does.
        found = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise NoSecretError(field, f'"{path}" holds bytes that are no UTF-8 text') from None
    if not found:
        raise NoSecretError(field, f'"{path}" is empty')
    return found, field, warnings
