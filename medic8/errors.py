"""
Every error a caller may catch, and what it promises about the target.

Medic8Error
├── ConfigurationError  the configuration or the call is wrong; nothing was read or changed
├── RefusedError        a limit, policy or precondition said no; nothing was changed
│   ├── ChangedError    what was saved is no longer there; nothing was changed
│   └── ClaimedError    a recovery of another journal holds the target; nothing was changed
├── UnreachableError    the target did not answer; nothing was changed
├── TransientError      unknown whether changed; the same call may be repeated
├── FencedError         another run owns the target now; this one must stop
│   └── ClaimGoneError  the target holds no claim at all any more; nothing was changed
├── VerifyError         changed, and still unhealthy or worse: undo
└── UndoError           undo stopped; lists what is left for a person
"""

from __future__ import annotations


class Medic8Error(Exception):
    """Base of all errors of this project; ``str()`` is fit for a person."""


class ConfigurationError(Medic8Error):
    """The configuration or the call is wrong; nothing was read or changed."""


class RefusedError(Medic8Error):
    """A limit, policy or precondition said no; nothing was changed."""


class ChangedError(RefusedError):
    """What was saved is no longer there, somebody else changed it; nothing was changed."""


class ClaimedError(RefusedError):
    """A recovery of another journal holds the target; nothing was changed."""


class UnreachableError(Medic8Error):
    """The target did not answer or did not let us in; nothing was changed."""


class TransientError(Medic8Error):
    """Unknown whether changed; the same call may be repeated."""


class FencedError(Medic8Error):
    """Another run owns the target now; this one must stop."""


class ClaimGoneError(FencedError):
    """The target holds no claim at all any more: lapsed, evicted or deleted; nothing was changed."""


class VerifyError(Medic8Error):
    """Changed, and still unhealthy or worse: undo."""


class WorseError(VerifyError):
    """
    Something became worse that a recovery must not make worse.

    Attributes:
        verdicts: What was judged, good and bad, each a `medic8.model.guard.GuardVerdict`.
    """

    def __init__(self, message: str, verdicts: tuple[object, ...] = ()) -> None:
        super().__init__(message, verdicts)
        self.verdicts = verdicts

    def __str__(self) -> str:
        return str(self.args[0])


class UndoError(Medic8Error):
    """
    Undo stopped before its end.

    Attributes:
        left: What is left for a person, one line each, the nearest first.
    """

    def __init__(self, message: str, left: tuple[str, ...] = ()) -> None:
        super().__init__(message, left)
        self.left = left

    def __str__(self) -> str:
        return "\n".join((str(self.args[0]), *self.left))
