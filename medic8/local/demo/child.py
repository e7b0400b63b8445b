"""A process that helps the demo and never outlives it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue

from medic8.errors import TransientError

_KILL_PATIENCE_S = 5.0


class Child:
    """
    A module that was started as a program.

    It is asked to end by the end of its standard input, which the kernel brings
    about even if the demo is killed; so a child that keeps to it is never left
    behind. It has a session of its own, so that Ctrl-C is for the demo alone.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._name = module.rpartition(".")[2]
        self._lines: SimpleQueue[str] = SimpleQueue()
        self._program = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read_lines, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._program.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._program.poll() is None

    def tell(self, line: str) -> None:
        """Send it one line."""
        if self._program.stdin is None:
            raise TypeError("a child is started with a pipe")
        try:
            self._program.stdin.write(f"{line}\n")
            self._program.stdin.flush()
        except BrokenPipeError as exc:
            raise self._ended() from exc

    def hear(self, timeout_s: float) -> str:
        """
        Get the next line it says.

        Raises:
            TransientError: it ended, or said nothing in time.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            raise TransientError(f"the demo's {self._name} said nothing for {timeout_s:g} s") from None
        if not line:
            raise self._ended()
        return line.strip()

    def finish(self, timeout_s: float) -> str:
        """Ask it to end, and get the last line it says."""
        self._close_input()
        last = self.hear(timeout_s)
        self._program.wait(timeout=_KILL_PATIENCE_S)
        return last

    def kill(self) -> None:
        """End it for sure."""
        if self.is_running:
            self._program.kill()
        self._program.wait(timeout=_KILL_PATIENCE_S)
        self._close_input()
        for reader in self._readers:
            reader.join(timeout=_KILL_PATIENCE_S)
        for stream in (self._program.stdout, self._program.stderr):
            if stream is not None:
                stream.close()

    def _ended(self) -> TransientError:
        for reader in self._readers:
            reader.join(timeout=_KILL_PATIENCE_S)
        said = self._errors[-1].strip() if self._errors else "it gave no reason"
        return TransientError(f"the demo's {self._name} ended: {said}")

    def _close_input(self) -> None:
        if self._program.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._program.stdin.close()

    def _read_lines(self) -> None:
        for line in self._program.stdout or ():
            self._lines.put(line)
        self._lines.put("")

    def _read_errors(self) -> None:
        self._errors.extend(self._program.stderr or ())


@contextlib.contextmanager
def child(module: str, *arguments: str) -> Iterator[Child]:
    """Start *module* as a program that is gone after the block, however the block ends."""
    started = Child(module, arguments)
    try:
        yield started
    finally:
        started.kill()
