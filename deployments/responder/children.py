"""The processes of runs: which there are, which are to end, and how each ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployments.responder.orders import CANCELS, SUSPENDS, TOO_LATE, Begun, Ended
from deployments.responder.records import Living, Records
from medic8.model.recovery import Owner
from medic8.owner import is_known_alive


@dataclass
class _Run:
    process: Owner | None = None
    has_ended: bool = False
    is_cancelled: bool = False
    is_suspended: bool = False


class Children:
    """
    What was ordered and has not ended; hears from the zygote.

    Args:
        records: Where it is kept in mind.
        ended: Called with each end, and whether it was cancelled.
        note: Told what people should know.
        grace_s: How long a cancelled run may take.
    """

    def __init__(
        self,
        records: Records,
        *,
        ended: Callable[[Ended, bool], None],
        note: Callable[[str], None],
        grace_s: float,
    ) -> None:
        self._records = records
        self._tell = ended
        self.note = note
        self._grace_s = grace_s
        self._runs: dict[str, _Run] = {}
        self._cancelled = set[str]()

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    @property
    def runs(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(self._runs)

    @property
    def under_way(self) -> int:
        """How many of them have not ended."""
        return sum(1 for each in self._runs.values() if not each.has_ended)

    @property
    def is_any_unbegun(self) -> bool:
        """Whether one was ordered that is not known to have a process yet."""
        return any(each.process is None and not each.has_ended for each in self._runs.values())

    def expect(self, run: str) -> None:
        """A run is about to be ordered."""
        self._runs[run] = _Run()

    def forget(self, run: str) -> None:
        """Its end is known to everybody."""
        self._runs.pop(run, None)
        self._cancelled.discard(run)
        # Who had begun it removes that, unless it is gone.
        shutil.rmtree(self._records.runs / run, ignore_errors=True)
        self._records.forget(run)

    def settle(self, run: str) -> None:
        """Nobody takes *run* any more; if it was not ordered, that it was to be cancelled is forgotten."""
        if run not in self._runs:
            self._cancelled.discard(run)

    def is_cancelled(self, run: str) -> bool:
        """Whether a run is to be cancelled that has no process yet."""
        return run in self._cancelled

    def adopt(self, living: Sequence[Living]) -> None:
        """Look after what an earlier responder has begun."""
        for each in living:
            self._runs[each.run] = _Run(process=each.process)
            self._watch(each.run, each.process)

    def begun(self, message: Begun) -> None:
        """A run has a process."""
        run = self._runs.get(message.run)
        if run is None:
            return
        run.process = message.process
        if message.run in self._cancelled:
            self.cancel(message.run, is_ours=True)

    def ended(self, message: Ended) -> None:
        """The process of a run has ended."""
        run = self._runs.get(message.run)
        if run is None or run.has_ended:
            return
        run.has_ended = True
        self._tell(message, run.is_cancelled or message.run in self._cancelled)

    def orphaned(self, runs: frozenset[str]) -> None:
        """Their zygote is gone; they go on, and are looked after all the same."""
        for name in runs:
            run = self._runs.get(name)
            if run is None or run.has_ended:
                continue
            if run.process is not None:
                self._watch(name, run.process)
            else:
                # Whoever is forked says so first of all, and what it says is heard before its zygote's end.
                self.ended(Ended(run=name, status=TOO_LATE))

    def cancel(self, name: str, *, is_ours: bool) -> None:
        """Tell a run that it is cancelled; one that *is_ours* and not begun yet, as soon as it is."""
        run = self._runs.get(name)
        if run is None or run.process is None:
            if run is not None or is_ours:
                self._cancelled.add(name)
            return
        if run.is_cancelled or run.has_ended:
            return
        run.is_cancelled = True
        self._signal(run.process, CANCELS, signal.SIGTERM)
        self._later(self._grace_s, lambda: self._kill(name))

    def suspend(self, name: str) -> None:
        """Tell a run that it was suspended."""
        run = self._runs.get(name)
        if run is not None and run.process is not None and not run.is_suspended:
            run.is_suspended = True
            self._signal(run.process, SUSPENDS)

    def end_all(self) -> None:
        """Tell every run to end, and to put back what it has begun."""
        for run in self._runs.values():
            if run.process is not None and not run.is_cancelled:
                self._signal(run.process, signal.SIGTERM)

    def _kill(self, name: str) -> None:
        run = self._runs.get(name)
        if run is None or run.process is None or run.has_ended:
            return
        self.note(
            f"run {name} was cancelled {self._grace_s:g} s ago and has not ended; its process is killed"
        )
        if is_known_alive(run.process):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)

    def _watch(self, name: str, process: Owner) -> None:
        """Hear of the end of a process that is nobody's child here."""
        loop = asyncio.get_running_loop()
        try:
            file = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self.ended(Ended(run=name, status=None))
            return

        def gone() -> None:
            loop.remove_reader(file)
            os.close(file)
            self.ended(Ended(run=name, status=None))

        loop.add_reader(file, gone)
        if not is_known_alive(process):
            gone()

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, what)

    @staticmethod
    def _signal(process: Owner, *numbers: signal.Signals) -> None:
        if is_known_alive(process):
            for number in numbers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
