"""How a configuration names a process: by who keeps it, by a file with its number, or by its command line."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from medic8.errors import ConfigurationError

#: What a program of supervisord may be called, with its group before a colon.
_PROGRAM = re.compile(r"[^\s/?#&=:]+(:[^\s/?#&=:]+)?")

#: Source: systemd.unit(5).
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.service")

_EXPECTED = (
    '"supervisor+unix:///run/supervisor.sock?program=web", "supervisor+http://127.0.0.1:9001?program=web", '
    '"systemd:web.service", "pidfile:/run/web.pid" or "command:/usr/bin/web --port *"'
)


class Supervised(NamedTuple):
    """
    A program of supervisord.

    Attributes:
        program: Its name, with its group before a colon if it has one of another name.
        socket: The Unix socket of supervisord; empty if it listens on a port.
        host: Where it listens else: an address of this host.
        port: Its port.
        user: Whom to log in as; empty = nobody.
        password: With which password; never printed.
    """

    program: str
    socket: str = ""
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""

    @property
    def in_words(self) -> str:
        """For people; without credentials."""
        return f"program {self.program} of supervisord at {self.socket or f'{self.host}:{self.port}'}"


class Unit(NamedTuple):
    """
    A service of systemd.

    Attributes:
        name: Of its unit.
        is_users: Whether it is one of our user's manager, and not of the system's.
    """

    name: str
    is_users: bool = False

    @property
    def in_words(self) -> str:
        """For people."""
        return f"user unit {self.name}" if self.is_users else f"unit {self.name}"


class PidFile(NamedTuple):
    """A file that holds the number of the process."""

    path: str

    @property
    def in_words(self) -> str:
        """For people."""
        return f"the process of {self.path}"


#: Programs that run the file that is named first after their options.
_INTERPRETER = re.compile(r"(python|pypy|ruby|perl|php|node|bash|dash|sh)[0-9.]*")


class CommandLine(NamedTuple):
    """
    A pattern for each word of the command line; one process must match, and no other.

    If none has just these words, it may be one whose command line begins with them.
    """

    words: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """For people."""
        return f"the process {shlex.join(self.words)}"

    def matches(self, command_line: Sequence[str]) -> bool:
        """Whether *command_line* has as many words, and each fits."""
        return len(command_line) == len(self.words) and all(
            fnmatch.fnmatchcase(word, pattern) for word, pattern in zip(command_line, self.words, strict=True)
        )

    def begins(self, command_line: Sequence[str]) -> bool:
        """Whether *command_line* begins with such words, or what an interpreter runs does, and goes on."""
        count, rest = len(self.words), list(command_line)
        if self.matches(rest[:count]):
            return True
        if not rest or not _INTERPRETER.fullmatch(rest.pop(0).rpartition("/")[2]):
            return False
        while rest and rest[0].startswith("-"):
            rest.pop(0)
        return self.matches(rest[:count])


Name = Supervised | Unit | PidFile | CommandLine


def name_of(address: str) -> Name:
    """
    The process that *address* names.

    Raises:
        ConfigurationError: it names none; the message does not repeat credentials.
    """
    scheme, _, rest = address.partition(":")
    match scheme:
        case "supervisor+unix" | "supervisor+http":
            return _supervised(address)
        case "systemd" | "systemd+user" if _UNIT.fullmatch(rest):
            return Unit(rest, is_users=scheme == "systemd+user")
        case "pidfile" if Path(rest).is_absolute():
            return PidFile(rest)
        case "command":
            return CommandLine(_words(rest))
    raise ConfigurationError(f"field 'url': expected {_EXPECTED}")


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as exc:
        raise ConfigurationError(f"field 'url': the command line cannot be taken apart: {exc}") from None
    if not words or not words[0].strip("*?"):
        raise ConfigurationError("field 'url': a command line must begin with the name of a program")
    return words


def _supervised(address: str) -> Supervised:
    parts = urlsplit(address)
    asked = parse_qs(parts.query, keep_blank_values=True)
    programs = asked.pop("program", [])
    if asked or len(programs) != 1 or not _PROGRAM.fullmatch(programs[0]):
        raise ConfigurationError("field 'url': expected one program: \"?program=web\"")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "supervisor+unix":
        if parts.hostname or not Path(parts.path).is_absolute():
            raise ConfigurationError("field 'url': expected supervisor+unix:///path/of/its.sock")
        return Supervised(programs[0], socket=unquote(parts.path), user=user, password=password)
    host = parts.hostname or ""
    if not _is_loopback(host) or not parts.port or parts.path not in {"", "/", "/RPC2"}:
        # A process is told by its number, which means nothing on another host.
        raise ConfigurationError(
            "field 'url': expected a supervisord of this host: supervisor+http://127.0.0.1:PORT"
        )
    return Supervised(programs[0], host=host, port=parts.port, user=user, password=password)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
