"""Notice that the code on disk is no longer what a process has imported, and begin anew with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

#: What an update of Medic8 changes, wherever it is installed; of libraries only these files are looked at.
_OURS = frozenset({"medic8", "flows", "tasks", "deployments"})
_TELLING = frozenset({"prefect"})

#: Between two looks. Code that has changed is taken when it stays the same for so long.
_LOOK_S = 3.0

#: Code that cannot be imported is tried again after so many seconds, if it does not change before.
_AGAIN_S = 60.0

#: An import that takes longer has come to a halt.
_PATIENCE_S = 300.0

#: What tells a process to end; it waits while one program takes the place of another.
_ENDING = frozenset({signal.SIGTERM, signal.SIGINT})


def on_disk(modules: Iterable[str]) -> int:
    """A number that changes with the files of *modules*, but for libraries', and with what these read."""
    files = set[str]()
    for name in modules:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if file and ("site-packages" not in file or name.partition(".")[0] in _OURS or name in _TELLING):
            files.add(file)
        files.update(getattr(module, "MEDIC8_READS", ()))
    return hash(tuple((file, _changed(file)) for file in sorted(files)))


def _changed(file: str) -> int:
    try:
        return Path(file).stat().st_mtime_ns
    except OSError:
        return 0


class Code:
    """
    The code of this process, as it was when this was made.

    Args:
        modules: What has to be importable beside it.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = ("deployments.responder.worker", "deployments.responder.zygote", *modules)
        # What is imported later, by the first that has need of it, is no change.
        self._files = tuple(sys.modules)
        self._mine = self._now()

    @property
    def is_changed(self) -> bool:
        """Whether it is another one on disk by now."""
        return self._now() != self._mine

    async def renewed(
        self, environment: Callable[[], Mapping[str, str]], note: Callable[[str], None]
    ) -> None:
        """
        Return when there is another code, all of it, that can be imported.

        Args:
            environment: What a process finds that imports it.
            note: Told what people should know.
        """
        loop = asyncio.get_running_loop()
        before, refused, again_s = self._mine, self._mine, 0.0
        while True:
            await asyncio.sleep(_LOOK_S)
            now = self._now()
            is_settled, before = now == before, now
            if now == self._mine or not is_settled or (now == refused and loop.time() < again_s):
                continue
            if not (why := await self._why_not(environment())) and self._now() == now:
                return
            if why:
                note(f"the code has changed, and cannot be imported; this goes on with what it has: {why}")
                refused, again_s = now, loop.time() + _AGAIN_S

    async def _why_not(self, environment: Mapping[str, str]) -> str:
        try:
            trial = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", f"import {', '.join(self._modules)}"),
                env=dict(environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as exc:
            return f"it cannot be tried: {exc}"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                _, said = await trial.communicate()
        except TimeoutError:
            return f"its import has not ended within {_PATIENCE_S:g} s"
        finally:
            if trial.returncode is None:
                trial.kill()
        if trial.returncode == 0:
            return ""
        lines = said.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {trial.returncode}"

    def _now(self) -> int:
        return on_disk(self._files)


def wait_with_signals() -> None:
    """Have signals to end wait; whoever has taken our place hears them, when it is there."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def hear_signals() -> None:
    """Hear them, those that have waited as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def begin_anew() -> NoReturn:
    """Become what this process was started as, as it is on disk now: with its arguments and its number."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT__")}
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - ourselves
