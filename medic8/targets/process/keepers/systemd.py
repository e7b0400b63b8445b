"""Ask systemd by ``systemctl``. Source: systemctl(1); org.freedesktop.systemd1(5)."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping

from medic8.errors import RefusedError, TransientError, UnreachableError
from medic8.model.wording import shown
from medic8.targets.facts import Facts
from medic8.targets.process.keepers.keeper import Kept, KeptState
from medic8.targets.process.naming import Unit

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "ExecMainStartTimestampMonotonic",
    "ExecMainCode",
    "ExecMainStatus",
)

_OPTIONS = ("--no-pager", "--no-ask-password")

_STATES = {
    "active": KeptState.RUNS,
    "reloading": KeptState.RUNS,
    "deactivating": KeptState.STOPS,
    "activating": KeptState.STARTS,
    "inactive": KeptState.STOPPED,
    "failed": KeptState.GAVE_UP,
}

#: Source: waitid(2), CLD_EXITED, CLD_KILLED, CLD_DUMPED.
_OF_CODE = {"1": "exit status", "2": "killed by signal", "3": "killed by signal"}


class Systemd:
    """A service of systemd; see `medic8.targets.process.keepers.keeper.Keeper`."""

    tells_stopping = True
    knows_environment = True

    def __init__(self, name: Unit, *, timeout_s: float) -> None:
        self._name = name
        self._timeout_s = timeout_s

    def look(self) -> Kept:
        """How the service is."""
        return kept_of(
            self._name.name,
            self._run("show", f"--property={','.join(_PROPERTIES)}", "--", self._name.name),
            time.monotonic(),
        )

    def stop(self) -> None:
        """Stop the service; systemd sends its signal, and kills it after ``TimeoutStopSec``."""
        self._run("stop", "--no-block", "--", self._name.name)

    def start(self, environment: Mapping[bytes, bytes]) -> None:
        """Start the service with what its unit gives it."""
        del environment
        self._run("start", "--no-block", "--", self._name.name)

    def why_no_restart(self) -> str:
        """Nothing speaks against it."""
        return ""

    def by_hand(self) -> str:
        """By ``systemctl``."""
        return f"systemctl {'--user ' * self._name.is_users}start {self._name.name}"

    def _run(self, *words: str) -> str:
        program = shutil.which("systemctl")
        if program is None:
            raise UnreachableError("there is no systemctl on this host")
        try:
            done = subprocess.run(  # noqa: S603 - words are checked by the configuration
                [program, *_OPTIONS, *(["--user"] if self._name.is_users else []), *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise TransientError(f"systemctl {words[0]} did not end within {self._timeout_s:g} s") from exc
        except OSError as exc:
            raise UnreachableError(f"systemctl cannot be run: {exc}") from exc
        if done.returncode:
            said = shown((done.stderr.strip().splitlines() or [b""])[-1], 300)
            error = UnreachableError if words[0] == "show" else RefusedError
            raise error(f"systemctl {words[0]} {self._name.name}: exit status {done.returncode}: {said}")
        return done.stdout.decode("utf-8", "backslashreplace")


def kept_of(unit: str, text: str, now_s: float) -> Kept:
    """
    What the lines of ``systemctl show`` say.

    Args:
        unit: Its name.
        text: The lines.
        now_s: Seconds of CLOCK_MONOTONIC.
    Raises:
        UnreachableError: systemd has no such unit.
    """
    told = Facts({name: value for name, _, value in (line.partition("=") for line in text.splitlines())})
    if told.get("LoadState") != "loaded":
        raise UnreachableError(f"systemd has no unit {unit}: it is {told.text('LoadState') or 'unknown'}")
    pid = told.whole("MainPID") or None
    started_us = told.number("ExecMainStartTimestampMonotonic") or 0
    state = _STATES.get(told.get("ActiveState", ""), KeptState.GAVE_UP)
    if state is KeptState.STARTS and told.get("SubState") == "auto-restart":
        state = KeptState.FAILS
    return Kept(
        state=state,
        says=" ".join(told.text(name) for name in ("ActiveState", "SubState", "Result")),
        pid=pid,
        age_s=now_s - started_us / 1e6 if pid and started_us else None,
        ended="" if pid else _ended(told),
    )


def _ended(told: Facts) -> str:
    """How the last process ended; ``ExecMainCode`` is that of waitid(2)."""
    words = _OF_CODE.get(told.get("ExecMainCode", ""))
    return f"{words} {told.text('ExecMainStatus')}" if words else ""
