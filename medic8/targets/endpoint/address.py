"""Where an endpoint is, taken apart from its url."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from medic8.errors import ConfigurationError

_PORTS = {"http": 80, "https": 443}

#: What a url may hold beside what is asked for.
_LONGEST = 2048


class Place(NamedTuple):
    """
    Where an endpoint is.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Name or address, without brackets.
        port: As in the url, or the scheme's own.
        path: Path and query, as sent; may hold a secret.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_secure(self) -> bool:
        """Whether it is asked over TLS."""
        return self.scheme == "https"

    @property
    def host_header(self) -> str:
        """What the header ``Host`` says. Source: RFC 9110, section 7.2."""
        return self.host_in_url if self.port == _PORTS[self.scheme] else f"{self.host_in_url}:{self.port}"

    @property
    def host_in_url(self) -> str:
        """The host, an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def shown(self) -> str:
        """Fit to be shown: without credentials and without the query, which may hold a key."""
        path = self.path.partition("?")[0]
        return f"{self.scheme}://{self.host_header}{'' if path == '/' else path}"

    def at(self, address: str) -> str:
        """The url that asks one *address* of the host."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"


def place_of(url: str) -> Place:
    """
    Where *url* leads.

    Raises:
        ConfigurationError: it is no HTTP address; the message has no secret in it.
    """
    if problems := address_problems(url):
        raise ConfigurationError(problems[0])
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return Place(
        scheme=parts.scheme,
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        path=f"{parts.path or '/'}{query}",
    )


def address_problems(url: str) -> tuple[str, ...]:
    """What is wrong with *url* as the address of an endpoint, one sentence each."""
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError:
        return ("field 'url': it does not parse, expected \"https://HOST:PORT/PATH\"",)
    wrong = (
        (parts.scheme not in _PORTS, f"scheme {parts.scheme[:20]!r}, expected 'http' or 'https'"),
        (not parts.hostname, 'it has no host, expected "https://HOST:PORT/PATH"'),
        (port == 0, "port 0 is none"),
        (bool(parts.fragment), 'what follows "#" is never sent; take it away'),
        (len(url) > _LONGEST, f"{len(url):,} characters, at most {_LONGEST:,}"),
        (
            not url.isascii() or any(each.isspace() for each in url),
            "it may hold ASCII without spaces; write other characters as %XX",
        ),
    )
    return tuple(f"field 'url': {text}" for is_wrong, text in wrong if is_wrong)
