"""Ask a server questions of which any may be refused, on one connection, changing nothing."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import valkey.exceptions

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import first_connection, user_of
from medic8.targets.valkey.looks.error_words import explain
from medic8.targets.valkey.looks.facts import parse_flat, parse_info
from medic8.targets.valkey.looks.moments import MOMENTS, SECTIONS, Moment, Moments

#: Connections that only look show this in ``CLIENT LIST``, and after it which process looks.
LOOKING = "medic8"

#: Longest text of an error that is shown.
_MOST_OF_AN_ERROR = 300

#: The client takes these words off a message and makes a class of them.
_PREFIXES = (
    (valkey.exceptions.BusyLoadingError, "LOADING"),
    (valkey.exceptions.OutOfMemoryError, "OOM"),
    (valkey.exceptions.ReadOnlyError, "READONLY"),
    (valkey.exceptions.NoPermissionError, "NOPERM"),
    (valkey.exceptions.NoScriptError, "NOSCRIPT"),
    (valkey.exceptions.ExecAbortError, "EXECABORT"),
)

#: What the client takes for a broken connection though the server has answered.
_ANSWERS = (
    valkey.exceptions.ResponseError,
    valkey.exceptions.BusyLoadingError,
    valkey.exceptions.AuthenticationError,
)


class Tally(NamedTuple):
    """What all looks of this process have been answered: commands, and the batches they were sent in."""

    commands: int = 0
    batches: int = 0


class OwnLooks:
    """
    What tells the looks of this process from everybody else's, whatever those call themselves.

    It is one for the whole process, since several looks run at once on connections of their own. They are
    known by a name that nobody can guess: an address is given to somebody else as soon as it is free, is
    translated on the way, and is the same for everybody who comes by a Unix socket.
    """

    def __init__(self) -> None:
        self._tally = Tally()
        self._lock = threading.Lock()
        self.begin_anew()

    def begin_anew(self) -> None:
        """This is another process now: what the one before it does is not ours."""
        self.name = f"{LOOKING}:{secrets.token_hex(4)}"

    @property
    def tally(self) -> Tally:
        """All that was answered so far."""
        return self._tally

    def answered(self, commands: int) -> None:
        """So many commands, sent at once, were answered."""
        with self._lock:
            self._tally = Tally(self._tally.commands + commands, self._tally.batches + 1)

    def has(self, name: str) -> bool:
        """Whether a connection is one of ours by its name, as the server has it."""
        return name == self.name


OWN_LOOKS = OwnLooks()
os.register_at_fork(after_in_child=OWN_LOOKS.begin_anew)


class Refusal(NamedTuple):
    """
    An error that the server answered.

    Attributes:
        prefix: Its first word, such as ``NOPERM``.
        message: All of it, fit to be shown.
    """

    prefix: str
    message: str

    @property
    def is_unknown(self) -> bool:
        """Whether the server has no such command, or not under this name."""
        return self.prefix == "ERR" and "unknown" in self.message.lower()


def refusal_of(error: Exception) -> Refusal:
    """The error that the client library made of an answer, with its first word put back."""
    text = str(error)
    prefix = next((word for known, word in _PREFIXES if isinstance(error, known)), "")
    if isinstance(error, valkey.exceptions.AuthenticationError):
        prefix = "NOAUTH" if "required" in text else "WRONGPASS"
    if prefix:
        text = f"{prefix} {text}"
    first = text.split(" ", 1)[0]
    if not (first.isascii() and first.isupper()):
        first, text = "ERR", f"ERR {text}"
    return Refusal(first, shown(text, _MOST_OF_AN_ERROR))


class Server:
    """
    One connection to a server that is only looked at.

    Attributes:
        unseen: What could not be looked at and why, one sentence each.
        database: The one that the connection is in, once keys were sampled.
    """

    database = 0

    def __init__(self, connection: Any, user: str, moments: Moments | None = None) -> None:
        self._connection = connection
        self._user = user
        self._moments = moments or Moments()
        self._refused: dict[str, tuple[Refusal, bool]] = {}
        self.unseen: list[str] = []

    @property
    def socket(self) -> socket.socket:
        """The connection itself, for asking the kernel about it."""
        return cast("socket.socket", self._connection._sock)  # noqa: SLF001 - the client has no other way

    def try_all(self, commands: Sequence[tuple[str | bytes | int, ...]]) -> list[Any]:
        """The answers to *commands*, sent at once; a `Refusal` in the place of each that was refused."""
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        answers = [self._answer() for _ in commands]
        OWN_LOOKS.answered(len(commands))
        return answers

    def try_one(self, *command: str | bytes | int) -> Any:
        """The answer to one command, or a `Refusal`."""
        return self.try_all([command])[0]

    def ask(self, *command: str | bytes | int, what: str, words: int = 2, essential: bool = False) -> Any:
        """
        The answer to one command; None if it was refused, which the result will say.

        Args:
            command: What to send.
            what: What it is to tell, for people.
            words: So many words of it are its name.
            essential: Without it nothing can be said about the health.
        """
        answer = self.try_one(*command)
        if not isinstance(answer, Refusal):
            return answer
        self.note(" ".join(str(word) for word in command[:words]), answer, what=what, essential=essential)
        return None

    def note(self, command: str, refusal: Refusal, *, what: str, essential: bool = False) -> None:
        """Keep in mind that *command* was refused, so that *what* was not seen."""
        if refusal.is_unknown:
            self.unseen.append(f"{what}: the server has no command {command}, or not by that name")
        else:
            self.unseen.append(f"{what}: {command} was refused: {explain(refusal.message)}")
            self._refused[command] = refusal, essential

    def info(self, *sections: str, also: Sequence[str] = ()) -> Facts:
        """Sections of INFO in one, and those that others want; empty if it is refused."""
        wanted = dict.fromkeys((*sections, *also))
        replies = self.try_all([("INFO", section) for section in wanted])
        for reply in replies:
            if isinstance(reply, Refusal):
                self.note("INFO", reply, what=f"{', '.join(sections)} of INFO", essential=True)
                return Facts({})
        return Facts({name: value for reply in replies for name, value in parse_info(reply).items()})

    def info_often(self, *sections: str, times: int, interval_s: float) -> list[tuple[Facts, float]]:
        """
        The same sections of INFO several times, each with the seconds from the first one to it.

        What earlier looks of the same diagnosis have read counts, if it lies far enough apart.
        """
        looks = self._moments.before(now := self.moment(*sections), times=times - 1, interval_s=interval_s)
        looks.append(now)
        while len(looks) < times and "INFO" not in self._refused:
            time.sleep(interval_s)
            looks.append(self.moment(*sections))
        looks += [
            Moment(now.facts, now.at_s + number * interval_s) for number in range(1, times + 1 - len(looks))
        ]
        return [(facts, at_s - looks[0].at_s) for facts, at_s in looks]

    def info_twice(self, *sections: str, interval_s: float) -> tuple[Facts, Facts, float]:
        """The same sections of INFO twice, and the seconds between them."""
        (before, _), (after, seconds) = self.info_often(*sections, times=2, interval_s=interval_s)
        return before, after, seconds

    def moment(self, *sections: str) -> Moment:
        """Sections of INFO in one, kept for the looks of the same diagnosis, with all that those compare."""
        return self._moments.add(self.info(*sections, also=SECTIONS if self._moments.are_shared else ()))

    def settings(self, *names: str, essential: bool = False) -> Facts:
        """The values of settings, without those that the server has not; empty if it refuses."""
        replies = self.try_all([("CONFIG", "GET", name) for name in names])
        for reply in replies:
            if isinstance(reply, Refusal):
                what = f"setting{'s' * (len(names) > 1)} {', '.join(names)}"
                self.note("CONFIG GET", reply, what=what, essential=essential)
                return Facts({})
        return Facts({name: value for reply in replies for name, value in parse_flat(reply).items()})

    def go_to(self, database: int) -> bool:
        """Whether the connection is in *database* now, and keys are asked about there."""
        if self.database != database:
            answer = self.try_one("SELECT", database)
            if isinstance(answer, Refusal):
                self.note("SELECT", answer, what=f"keys of database {database}")
                return False
            self.database = database
        return True

    def result(
        self,
        diagnostic: str,
        around: Surroundings,
        readings: Sequence[Reading | None] = (),
        findings: Sequence[Finding] = (),
    ) -> DiagnosticResult:
        """What was seen, with what was refused."""
        return DiagnosticResult(
            diagnostic=diagnostic,
            readings=tuple(reading for reading in readings if reading is not None),
            findings=(*findings, *judge_refusals(diagnostic, self._refused, self._user)),
            unseen=tuple(dict.fromkeys(self.unseen)),
            taken_at=around.now,
        )

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disconnect_on_error=False)
        except _ANSWERS as exc:
            return refusal_of(exc)


def judge_refusals(
    diagnostic: str, refused: dict[str, tuple[Refusal, bool]], user: str
) -> tuple[Finding, ...]:
    """
    What we are not allowed to see: nobody may read "healthy" where the essential was not seen.

    Args:
        diagnostic: Who asked.
        refused: By command: the answer, and whether nothing can be said without it.
        user: As whom we are logged in.
    """
    if not refused:
        return ()
    is_blind = any(essential for _, essential in refused.values())
    denied = [command for command, (refusal, _) in refused.items() if refusal.prefix == "NOPERM"]
    rules = " ".join(f"+{command.lower().replace(' ', '|')}" for command in denied)
    return (
        Finding(
            code="diagnostic.refused" if is_blind else "diagnostic.partial",
            severity=Severity.WARNING if is_blind else Severity.INFO,
            text=f"{diagnostic} could not be looked at"
            + ("" if is_blind else " in full")
            + f": {', '.join(refused)} refused",
            about=diagnostic,
            evidence=tuple(
                Evidence(what=command, seen=refusal.message) for command, (refusal, _) in refused.items()
            ),
            advice=(f"ACL SETUSER {shown(user)} {rules}",) if denied else (),
        ),
    )


@contextlib.contextmanager
def looking(target: Target, diagnosis: str = "") -> Iterator[Server]:
    """
    Open a connection to *target* for looking, closed at the end.

    It needs no PING, which a server that loads, is busy or has lost its primary refuses.

    Args:
        target: Where.
        diagnosis: Looks of one share what they read of INFO; empty = this one is alone.
    Raises:
        UnreachableError: the server did not answer or did not let us in.
        RefusedError: it refused the database that the address names.
        TransientError: it stopped answering half way.
    """
    with first_connection(target.address, timeout_s=target.timeout_s) as connection:
        moments = MOMENTS.of(diagnosis, target.address)
        server = Server(connection, user_of(target.address), moments)
        server.try_one("CLIENT", "SETNAME", OWN_LOOKS.name)
        yield server
