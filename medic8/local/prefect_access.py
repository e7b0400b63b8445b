"""
Where the user's own Prefect server is and how it lets us in, read as Prefect itself reads it.

Prefect takes more than a second to import, and what is asked here is asked by every command. So its files
are read directly; a test holds this reading to Prefect's own.
"""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values  # the library that Prefect reads the same file with
from pydantic import Field

from medic8.errors import ConfigurationError
from medic8.local.prefect_server import PREFERRED_PORT, api_url
from medic8.model.frozen import Frozen
from medic8.settings.places import expand

_URL = "PREFECT_API_URL"
_AUTH_STRING = "PREFECT_API_AUTH_STRING"
_KEY = "PREFECT_API_KEY"
_UNVERIFIED = "PREFECT_API_TLS_INSECURE_SKIP_VERIFY"
_CERTIFICATES = "PREFECT_API_SSL_CERT_FILE"
_HEADERS = "PREFECT_CLIENT_CUSTOM_HEADERS"
_PAGES = "PREFECT_UI_URL"
#: Where each stands in ``prefect.toml``, and below ``[tool.prefect]`` of ``pyproject.toml``.
_IN_TOML = {
    _URL: ("api", "url"),
    _AUTH_STRING: ("api", "auth_string"),
    _KEY: ("api", "key"),
    _UNVERIFIED: ("api", "tls_insecure_skip_verify"),
    _CERTIFICATES: ("api", "ssl_cert_file"),
    _HEADERS: ("client", "custom_headers"),
    _PAGES: ("ui_url",),
}
#: Where the API of Prefect's cloud is, and where its interface.
_CLOUD = ("https://api.prefect.cloud/api", "https://app.prefect.cloud")
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})  # Source: pydantic documentation, "Booleans"


class PrefectAccess(Frozen):
    """
    A Prefect server that the user has named, and what it is told of us.

    Attributes:
        api_url: Its address, without a slash at the end; may hold a password.
        named_by: Who named it, for people: ``PREFECT_API_URL``, or the same with the file that it stands in.
        auth_string: ``user:password``; goes before a key.
        key: An API key.
        certificates: A file with the authorities to trust; None for the usual ones.
        is_verified: Whether its certificate is looked at.
        headers: Further headers, which go before all others.
        pages: Where its interface is, if the user says so; see `ui_url`.
        is_presumed: Whether a profile names nothing but the address that our own server would have, so that
            ours may well take its place.
    """

    api_url: str = Field(repr=False)
    named_by: str
    auth_string: str = Field(default="", repr=False)
    key: str = Field(default="", repr=False)
    certificates: Path | None = None
    is_verified: bool = True
    headers: Mapping[str, str] = Field(default={}, repr=False)
    pages: str = ""
    is_presumed: bool = False

    @property
    def shown_url(self) -> str:
        """The address without credentials."""
        return without_credentials(self.api_url)

    @property
    def ui_url(self) -> str:
        """Where people find its interface; empty if that cannot be told."""
        # Source: Prefect 3.8, prefect/settings/models/_defaults.py, default_ui_url.
        found = self.shown_url.replace(*_CLOUD).removesuffix("/api").replace("/api/", "/")
        found = found.replace("/accounts/", "/account/").replace("/workspaces/", "/workspace/")
        return self.pages or found

    @property
    def all_headers(self) -> dict[str, str]:
        """What every request carries."""
        said = {}
        if self.auth_string:
            said = {"Authorization": f"Basic {base64.b64encode(self.auth_string.encode()).decode()}"}
        elif self.key:
            said = {"Authorization": f"Bearer {self.key}"}
        return {**said, **self.headers}

    @property
    def credentials(self) -> str:
        """The setting that says who we are, for people; empty if none does."""
        if any(name.lower() == "authorization" for name in self.headers):
            return _HEADERS
        return _AUTH_STRING if self.auth_string else _KEY if self.key else ""


def prefect_access(environ: Mapping[str, str], *, cwd: Path | None = None) -> PrefectAccess | None:
    """
    Get the Prefect server that the user has named, None if none is.

    The first that says anything about a setting wins: *environ*; ``.env``, ``prefect.toml`` and
    ``pyproject.toml`` in the working folder; the active profile. An address that is set and empty names none.

    Args:
        environ: The environment.
        cwd: The working folder; None = the process's.
    Raises:
        ConfigurationError: A file that Prefect itself would refuse, or headers that are no JSON object.
    """
    access = access_to("", environ, cwd=cwd)
    return access if access.api_url else None


def access_to(address: str, environ: Mapping[str, str], *, cwd: Path | None = None) -> PrefectAccess:
    """
    Get how *address* is reached with the user's credentials.

    Args:
        address: Of an API; empty for the one that the user has named, if any.
        environ: The environment.
        cwd: The working folder; None = the process's.
    Raises:
        ConfigurationError: As for `prefect_access`.
    """
    found: dict[str, tuple[Any, str]] = {}
    for values, where in _sources(environ, Path.cwd() if cwd is None else cwd):
        for name in _IN_TOML:
            if name not in found and values.get(name) is not None:
                found[name] = values[name], where

    def value(name: str) -> str:
        return str(found[name][0]).strip() if name in found else ""

    where = found[_URL][1] if _URL in found else ""
    chosen = (address or value(_URL)).rstrip("/")
    certificates = value(_CERTIFICATES) or environ.get("SSL_CERT_FILE", "")
    return PrefectAccess(
        api_url=chosen,
        named_by=f"{_URL} {where}".rstrip(),
        auth_string=value(_AUTH_STRING),
        key=value(_KEY),
        certificates=Path(certificates) if certificates else None,
        is_verified=value(_UNVERIFIED).lower() not in _TRUE,
        headers=_headers(found[_HEADERS][0]) if _HEADERS in found else {},
        pages=value(_PAGES).rstrip("/"),
        is_presumed="profile" in where and is_at(chosen, api_url(PREFERRED_PORT)),
    )


def is_at(address: str, other: str) -> bool:
    """Tell whether two addresses of an API on this machine are the same."""
    return address.replace("//localhost:", "//127.0.0.1:") == other


def without_credentials(address: str) -> str:
    """Get *address* without the user and the password that it may hold."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _sources(environ: Mapping[str, str], cwd: Path) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What each source says by the names of the variables, and where that is; the first goes before all."""
    # Source: Prefect 3.8, prefect/settings/base.py, settings_customise_sources.
    yield environ, ""
    dotenv = dotenv_values(cwd / ".env") if (cwd / ".env").is_file() else {}
    yield dotenv, f"of {cwd / '.env'}"
    tables = {name: _table(cwd / name) for name in ("prefect.toml", "pyproject.toml")}
    tables["pyproject.toml"] = _within(tables["pyproject.toml"], ("tool", "prefect")) or {}
    for name, table in tables.items():
        yield {each: _within(table, path) for each, path in _IN_TOML.items()}, f"of {cwd / name}"
    chosen = (
        environ.get("PREFECT_PROFILES_PATH")
        or dotenv.get("PREFECT_PROFILES_PATH")
        or next((table["profiles_path"] for table in tables.values() if table.get("profiles_path")), None)
    )
    home = Path(environ.get("PREFECT_HOME") or expand("~/.prefect", environ))
    file = cwd / str(chosen or home / "profiles.toml")
    profiles = _table(file)
    profile = environ.get("PREFECT_PROFILE") or profiles.get("active")
    yield _within(profiles, ("profiles", str(profile))) or {}, f'of profile "{profile}" in {file}'


def _table(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{file}, which Prefect reads its settings from, is wrong: {exc}") from exc


def _within(table: object, path: tuple[str, ...]) -> Any:
    for key in path:
        table = table.get(key) if isinstance(table, dict) else None
    return table


def _headers(value: object) -> dict[str, str]:
    try:
        headers = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        headers = None
    if not isinstance(headers, dict):
        raise ConfigurationError(f"{_HEADERS} is no JSON object of names and values")
    return {str(name): str(each) for name, each in headers.items()}
