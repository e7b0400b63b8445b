"""One connection of a client, on which many commands are sent at once and answered later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import valkey
import valkey.exceptions

Command = tuple[str | bytes | int, ...]


class Conversation:
    """
    A connection with answers outstanding.

    The client's own pipelines wait for their answers; this one does not, so
    that the server works while we do.

    Attributes:
        awaited: How many answers are outstanding.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.awaited = 0

    def send(self, commands: Sequence[Command]) -> None:
        """Send *commands* without waiting for their answers."""
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
        self.awaited += len(commands)

    def receive(self, count: int) -> list[Any]:
        """The next *count* answers; an error answer is an exception in the list, not raised."""
        return [self.receive_one() for _ in range(count)]

    def receive_one(self) -> Any:
        """The next answer; an error answer is returned, not raised."""
        try:
            answer = self._connection.read_response()
        except valkey.exceptions.ResponseError as exc:
            answer = exc
        self.awaited -= 1
        return answer

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* and get their answers, errors among them."""
        self.send(commands)
        return self.receive(len(commands))

    def ask_at_once(self, commands: Sequence[Command]) -> list[Any] | None:
        """
        Have *commands* done at one moment (MULTI and EXEC) and get their answers, errors among them.

        Returns:
            None if a watched key had changed; then nothing was done.
        Raises:
            ResponseError: a command was refused when it was queued, so none was done.
        """
        *queued, answers = self.ask([("MULTI",), *commands, ("EXEC",)])
        raise_first(queued)
        if isinstance(answers, Exception):
            raise answers
        return answers if answers is None else list(answers)

    def abandon(self) -> None:
        """Close the connection, because answers are outstanding that nobody will read."""
        self._connection.disconnect()


@contextlib.contextmanager
def conversation(client: valkey.Valkey) -> Iterator[Conversation]:
    """
    Borrow a connection of *client* for the body.

    If the body leaves answers unread, as it does when it raises half way, the
    connection is closed rather than handed to the next user out of step.
    """
    pool = client.connection_pool
    connection = pool.get_connection("MULTI")
    talk = Conversation(connection)
    try:
        yield talk
    finally:
        if talk.awaited:
            talk.abandon()
        pool.release(connection)


def raise_first(answers: Sequence[object]) -> None:
    """Raise the first error among *answers*."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
