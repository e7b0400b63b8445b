"""Tell whoever started a flow in this process how far its long work has come."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from medic8.targets.kind import Progress, no_progress

_LISTENER: ContextVar[Progress] = ContextVar("progress", default=no_progress)


def listener() -> Progress:
    """Whom to tell; nobody, if the flow was started elsewhere."""
    return _LISTENER.get()


@contextlib.contextmanager
def telling(progress: Progress) -> Iterator[None]:
    """Have long work inside the body tell *progress*."""
    token = _LISTENER.set(progress)
    try:
        yield
    finally:
        _LISTENER.reset(token)
