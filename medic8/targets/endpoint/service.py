"""
Have a standby that a supervisord keeps serve an endpoint: start it, and stop the one that it replaces.

What is compared and put back is whether a program is told to run, not which process it is: one that is
started again holds nothing of what it had in memory. So what is known to hold data is never stopped.
"""

from __future__ import annotations

import time
from typing import Literal

from pydantic import SecretStr

from medic8.errors import ChangedError, ConfigurationError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.target import Target
from medic8.owner import boot_id
from medic8.targets.process.found import called, process_of_keeper, program_of
from medic8.targets.process.keepers.keeper import Kept, KeptState
from medic8.targets.process.keepers.supervisord import Supervisord
from medic8.targets.process.living import GoneError, UntoldError, living
from medic8.targets.process.looks.data import is_data_server
from medic8.targets.process.naming import Supervised, name_of

SET_SERVICE = "set_service"

STARTED, STOPPED = b"started", b"stopped"

#: Nobody has it run, or nobody tries any more. One that ends again and again is told to run all the same.
_NOT_TOLD_TO_RUN = frozenset({KeptState.STOPPED, KeptState.GAVE_UP})

_LOOK_EVERY_S = 0.05


class SetService(Frozen):
    """
    Arguments of the action ``set_service``.

    Attributes:
        role: ``standby`` is started, ``serving`` is stopped.
        program: Which program it was when the plan was made, for people; it has no password in it.
    """

    role: Literal["standby", "serving"]
    program: str


class Service:
    """
    One program of a supervisord, by whether it is told to run.

    Args:
        of: The endpoint that it serves.
        address: As kind ``process`` names it.
        patience_s: Longest that it may take to stop, and to be started.
    """

    def __init__(self, of: Target, address: SecretStr, *, patience_s: float) -> None:
        name = supervised(address)
        self._target = Target(name=of.name, kind="process", url=address, timeout_s=of.timeout_s)
        self._keeper = Supervisord(name, timeout_s=of.timeout_s)
        self._patience_s = patience_s

    @property
    def in_words(self) -> str:
        """For people, without credentials."""
        return called(self._target)

    @property
    def identity(self) -> str:
        """The same as that of the program as a target of kind ``process``."""
        return program_of(self._target)

    def stands_on(self) -> str:
        """The process of its supervisord, with which what it was told goes."""
        pid = int(str(self._keeper.ask("supervisor.getPID")))
        try:
            with living(pid) as process:
                return f"{boot_id()}/{pid}/{process.identity.started_at}"
        except (GoneError, UntoldError):
            return f"{boot_id()}/{pid}"  # it counts in another pid namespace

    def state(self) -> bytes:
        """`STARTED` or `STOPPED`; one that is being stopped is waited for."""
        end = time.monotonic() + self._patience_s
        while (kept := self._keeper.look()).state is KeptState.STOPS and time.monotonic() < end:
            time.sleep(_LOOK_EVERY_S)
        return STOPPED if kept.state in _NOT_TOLD_TO_RUN else STARTED

    def tell(self, *, expected: bytes | None, new: bytes | None) -> None:
        """
        Tell its supervisor to start or stop it; returns at once.

        Raises:
            ChangedError: somebody else has started or stopped it.
            RefusedError: its supervisor would not; nothing was changed.
        """
        if (found := self.state()) != expected:
            raise ChangedError(f"{self.in_words} is {found.decode()} by now")
        if new == STOPPED:
            self._keeper.stop()
        elif new == STARTED:
            self._keeper.start({})

    def await_state(self, wanted: bytes | None) -> None:
        """
        Wait until it has done what it was told.

        Raises:
            VerifyError: it has not in time.
        """
        if self.state() != wanted:
            kept = self._keeper.look()
            raise VerifyError(f"{self.in_words} is {kept.says}, and was to be {(wanted or b'').decode()}")

    def require_no_data(self) -> None:
        """
        See that to stop it loses nothing that Medic8 knows of.

        Raises:
            RefusedError: it is a data server, or nothing tells what it is.
        """
        kept: Kept = self._keeper.look()
        try:
            with process_of_keeper(kept, self.in_words) as process:
                if is_data_server(self._target, process):
                    raise RefusedError(f"{self.in_words} holds data, which it may lose when it is stopped")
        except GoneError:
            return

    def command(self, value: bytes) -> str:
        """The shell command by which a person does it."""
        return self._keeper.command("start" if value == STARTED else "stop")


def supervised(address: SecretStr) -> Supervised:
    """
    The program that *address* names.

    Raises:
        ConfigurationError: it is none of a supervisord on this host; the message repeats no credentials.
    """
    name = name_of(address.get_secret_value())
    if not isinstance(name, Supervised):
        raise ConfigurationError(
            'expected a program of supervisord: "supervisor+unix:///run/supervisor.sock?program=web"'
        )
    return name


def service_problems(address: SecretStr) -> tuple[str, ...]:
    """What is wrong with *address* as the name of a service, one sentence each."""
    try:
        supervised(address)
    except ConfigurationError as exc:
        return (str(exc).removeprefix("field 'url': "),)
    return ()
