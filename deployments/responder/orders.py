"""What the responder and its zygote say to each other, over a socket that only the two of them have."""

from __future__ import annotations

import signal
import socket
import struct
import time
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter

from medic8.model.frozen import Frozen
from medic8.model.recovery import Owner

#: What the process of a run ends with when it has told Prefect how the run ended. Nothing else ends so by
#: itself, so that a flow that leaves by `os._exit(0)` is noticed as well.
TOLD = 90

#: What a process ends with that had begun nothing, and found that it was too late for it.
TOO_LATE = 91

#: A signal that says: the one that follows is a cancellation. Prefect's own worker says it over a connection,
#: which each child would have to make, and to listen to in a thread.
CANCELS = signal.SIGUSR1

#: A signal that says: the run was suspended. It ends before its next step, and is begun again when resumed.
SUSPENDS = signal.SIGUSR2

_LENGTH = struct.Struct("!I")


def now_s() -> float:
    """
    Seconds since this machine was started, those in which it slept included.

    The monotonic clock stands still in them, while others take what was taken here.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Named(Frozen):
    """
    Something that Prefect names in the events of a run.

    Attributes:
        id: Its id.
        name: Its name.
        tags: Its tags.
    """

    id: UUID
    name: str
    tags: tuple[str, ...] = ()


class Order(Frozen):
    """
    A run to begin.

    Attributes:
        run: Its id.
        flow_run: The run as Prefect has it, as JSON: the child asks nobody for it.
        entrypoint: Where its flow is; None = Prefect's own ways of finding it, with what the deployment says.
        deployment: Its deployment.
        environment: The whole environment of its process.
        folder: What is the run's own; removed when it has ended.
        record: The file that tells the next responder whose process it is.
        working_folder: Where it works; None = an empty folder in `folder`.
        begin_by_s: By the clock of `now_s`; after this it is not begun, since somebody else may have been
            given it.
        is_storage_known: Whether `storage` was asked for a moment ago, so that the run need not.
        storage: The block where the server has results kept; None = a local folder.
    """

    kind: Literal["order"] = "order"
    run: str
    flow_run: str
    entrypoint: str | None
    deployment: Named
    environment: dict[str, str]
    folder: str
    record: str
    working_folder: str | None = None
    begin_by_s: float
    is_storage_known: bool = False
    storage: UUID | None = None


class Ready(Frozen):
    """The zygote has imported everything."""

    kind: Literal["ready"] = "ready"


class Begun(Frozen):
    """A run has a process now."""

    kind: Literal["begun"] = "begun"
    run: str
    process: Owner


class Ended(Frozen):
    """
    The process of a run has ended.

    Attributes:
        run: Its id.
        status: As `os.waitstatus_to_exitcode` has it, `TOO_LATE` also where there was never a process; None =
            nobody knows, for its parent had died.
        reason: What it said of itself; empty = nothing.
    """

    kind: Literal["ended"] = "ended"
    run: str
    status: int | None
    reason: str = ""

    @property
    def is_told(self) -> bool:
        """Whether Prefect knows how the run ended."""
        return self.status == TOLD

    @property
    def is_unbegun(self) -> bool:
        """Whether nothing of the run was begun."""
        return self.status == TOO_LATE

    @property
    def how(self) -> str:
        """For people: how the process ended."""
        if self.status is None:
            how = "has ended, nobody knows how: the responder that had begun it was gone"
        elif self.status < 0:
            how = f"was ended by {_name(-self.status)}"
        else:
            how = f"left with exit status {self.status} before the run had ended"
        return (f"{self.reason}; " if self.reason else "") + f"the run's process {how}"


class Outdated(Frozen):
    """The code that the zygote has imported is no longer what is on disk, or it has forked often enough."""

    kind: Literal["outdated"] = "outdated"
    reason: str


Message = Annotated[Order | Ready | Begun | Ended | Outdated, Field(discriminator="kind")]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def framed(message: Message) -> bytes:
    """*message* as it is sent."""
    body = message.model_dump_json().encode()
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """How many bytes follow the first `HEAD`."""
    return int(_LENGTH.unpack(head)[0])


#: How many bytes say how long a message is.
HEAD = _LENGTH.size


def parsed(body: bytes) -> Message:
    """The message that was sent as *body*."""
    return _MESSAGE.validate_json(body)


def received(channel: socket.socket) -> Message | None:
    """The next message; None when the other side is gone."""
    head = _exactly(channel, HEAD)
    body = _exactly(channel, length_of(head)) if head else None
    return parsed(body) if body else None


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    pieces = bytearray()
    while len(pieces) < size:
        try:
            piece = channel.recv(size - len(pieces))
        except ConnectionResetError:
            return None
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def one_thread() -> None:
    """
    Make sure that this process has one thread: what other threads hold when a process forks is held for ever.

    Raises:
        RuntimeError: there are others.
    """
    count = sum(1 for _ in Path("/proc/self/task").iterdir())
    if count != 1:
        raise RuntimeError(f"{count} threads run before the first fork, and none but one may")
