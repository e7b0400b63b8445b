"""Actors: processes of the lab that keep a fault going, recorded in the home and ended by their identity."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil
from pydantic import ValidationError

from medic8.durable import replacing
from medic8.errors import Medic8Error, RefusedError, UnreachableError
from medic8.local.children import Identity, identify, last_lines, stop
from medic8.local.home import make_home, remove_folder
from medic8.local.lab.acting.order import Order, Ready
from medic8.model.frozen import Frozen

#: Most actors of a home that run at once; each takes a process and some of the server's time.
MOST_ACTORS = 16

#: Folder of the home with their records, and with what they say.
FOLDER = "lab-actors"

_PROGRAM = "medic8.local.lab.acting"
_LOG = "actors.log"
_READY_S = 60.0
_PATIENCE_S = 10.0


class Actor(Frozen):
    """
    One actor that was started.

    Attributes:
        act: What it does: the name of its program.
        identity: Its process.
        family: Servers that it has started; they descend from it, unless it is dead.
        folders: Where those keep their files.
        url: The address that it offers; empty if it offers none.
    """

    act: str
    identity: Identity
    family: tuple[Identity, ...] = ()
    folders: tuple[Path, ...] = ()
    url: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self.identity.is_alive()

    @property
    def shown(self) -> str:
        """What people call it."""
        return f"{self.act} (process {self.identity.pid})"


@dataclass(frozen=True)
class Troupe:
    """
    The actors of one home, who act on one server.

    Attributes:
        home: Where they are recorded.
        url: Of the lab's server.
    """

    home: Path
    url: str

    def start(
        self, act: str, *, seed: int = 0, amount: int = 0, style: str = "", to: str = "", grid: str = ""
    ) -> tuple[Actor, Ready]:
        """
        Start an actor and wait until it has done what is to be there at once.

        It is on record before it does anything, so whoever dies meanwhile leaves no actor that nobody finds.

        Args:
            act: Its program, see `medic8.local.lab.acting`.
            seed: Chooses where it chooses.
            amount: How much; what it counts depends on the program.
            style: Which way; what there is depends on the program.
            to: The address to act on, if it is not the lab's server but what another actor offers.
            grid: Name of the lab's grid, for who works on it.
        Raises:
            RefusedError: too many run already, or the server does not allow it.
            UnreachableError: it ended, or was not ready in time.
        """
        folder = _folder(self.home)
        running = [actor for actor in recorded(self.home) if actor.is_alive]
        if len(running) >= MOST_ACTORS:
            raise RefusedError(
                f"{len(running)} actors of the lab run already, at most {MOST_ACTORS} may; "
                '"medic8 lab reset" ends them'
            )
        order = Order(
            act=act,
            url=to or self.url,
            seed=seed,
            amount=amount,
            style=style,
            grid=grid,
            folder=str(folder),
        )
        with _launched(folder) as (child, identity):
            actor = Actor(act=act, identity=identity)
            _write(folder, actor)
            try:
                ready = _ready(child, order, folder / _LOG)
            except BaseException:
                end(self.home, actor)
                raise
            family = tuple(found for pid in ready.family if (found := identify(pid)) is not None)
            folders = tuple(Path(each) for each in ready.folders)
            actor = actor.model_copy(update={"family": family, "folders": folders, "url": ready.url})
            _write(folder, actor)
        return actor, ready


def recorded(home: Path) -> tuple[Actor, ...]:
    """The actors on record in *home*, alive or not; of records that are damaged, none."""
    found = []
    for path in sorted((home / FOLDER).glob("*.json")):
        with contextlib.suppress(FileNotFoundError, ValidationError):
            found.append(Actor.model_validate_json(path.read_bytes()))
    return tuple(found)


def end_all(home: Path) -> tuple[str, ...]:
    """
    End every actor of *home*, also those whose record is lost.

    Returns:
        Who was ended, one line each; of those that had ended by themselves nothing.
    Raises:
        UnreachableError: one is still there; the others have ended nevertheless.
    """
    lines: list[str] = []
    errors: list[Medic8Error] = []
    for actor in (*recorded(home), *_unrecorded(home)):
        was_alive = actor.is_alive or any(member.is_alive() for member in actor.family)
        try:
            end(home, actor)
        except Medic8Error as error:
            errors.append(error)
        else:
            lines += [f"actor {actor.shown} has ended"] if was_alive else []
    if errors:
        raise errors[0]
    for path in (home / FOLDER).glob("*.json"):
        path.unlink(missing_ok=True)  # damaged: whoever it named was found by the folder
    return tuple(lines)


def end(home: Path, actor: Actor) -> None:
    """
    End one actor with the servers that it started, and remove their files and its record.

    Raises:
        UnreachableError: it is still there; its record stays.
    """
    for member in (actor.identity, *actor.family):
        stop(member, patience_s=_PATIENCE_S)
    for folder in actor.folders:
        remove_folder(folder)
    _record(home / FOLDER, actor).unlink(missing_ok=True)


def _unrecorded(home: Path) -> Iterator[Actor]:
    """Actors by the folder that they work in, which nobody works in by chance, and by their program."""
    folder, known = (home / FOLDER).resolve(), {actor.identity.pid for actor in recorded(home)}
    for process in psutil.process_iter() if folder.exists() else ():
        with contextlib.suppress(psutil.Error, OSError):
            is_ours = Path(f"/proc/{process.pid}/cwd").readlink() == folder and _PROGRAM in process.cmdline()
            if is_ours and process.pid not in known and (identity := identify(process.pid)):
                yield Actor(act="without a record", identity=identity)


@contextlib.contextmanager
def _launched(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Identity]]:
    """A program that waits for its order; it ends if there comes none."""
    with (folder / _LOG).open("ab") as log:
        child = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    try:
        identity = identify(child.pid)
        if identity is None:
            raise UnreachableError(f"the actor ended before it began; {last_lines(folder / _LOG)}")
        yield child, identity
    finally:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        # Known by its identity from here on; a Popen object would complain about a child that outlives us.
        child.returncode = 0


def _ready(child: subprocess.Popen[bytes], order: Order, log: Path) -> Ready:
    """Give the order and wait for the one line of the answer."""
    if child.stdin is None or child.stdout is None:
        raise TypeError("an actor is started with pipes")
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(order.model_dump_json().encode() + b"\n")
        child.stdin.flush()
    line = _line(child.stdout)
    if line is None:
        raise UnreachableError(f"actor {order.act} was not ready within {_READY_S:g} s; {last_lines(log)}")
    if not line:
        raise UnreachableError(f"actor {order.act} ended before it was ready; {last_lines(log)}")
    ready = Ready.model_validate_json(line)
    if ready.refused:
        raise RefusedError(f"actor {order.act}: {ready.refused}")
    return ready


def _line(pipe: IO[bytes]) -> bytes | None:
    """The next line; empty if the other side has ended, None if it says nothing in time."""
    deadline, text = time.monotonic() + _READY_S, b""
    while not text.endswith(b"\n"):
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        piece = os.read(pipe.fileno(), 65_536)
        if not piece:
            return b""
        text += piece
    return text


def _folder(home: Path) -> Path:
    folder = make_home(home) / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _record(folder: Path, actor: Actor) -> Path:
    return folder / f"{actor.identity.pid}.json"


def _write(folder: Path, actor: Actor) -> None:
    """Each actor has a file of its own, so that nobody has to wait for anybody to write one."""
    with replacing(_record(folder, actor), outlasts_power=False) as file:
        file.write(actor.model_dump_json(indent=2).encode())
