"""Leave the process, also where Prefect's own threads would still wait for its server."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


class _Leaving:
    """Whether to leave without what Prefect still wants to tell its server."""

    at_once = False


def leave_at_once() -> None:
    """
    Wait for nothing when the process ends: Prefect's server is gone.

    Otherwise its threads try, for ten seconds each, to tell it of every event
    that is left, before Python lets the process end.
    """
    _Leaving.at_once = True


def leave(code: int) -> NoReturn:
    """End the process with *code*."""
    if _Leaving.at_once:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
