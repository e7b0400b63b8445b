"""Read the configuration in a process that is gone then."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

from medic8.settings.load import load_settings
from medic8.settings.settings import Settings


def load_apart(path: Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """
    The same as `load_settings` gives, for a process that stays and has nothing to do with targets itself.

    To tell what is right of a target, its kind is imported, with all that it needs: 10 MiB for an endpoint,
    and 40 MiB for a grid. Call it while there is one thread.

    Raises:
        ConfigurationError: as `load_settings` does.
    """
    ours, its = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(ours)
            with os.fdopen(its, "wb") as told:
                told.write(pickle.dumps(_loaded(path, environ)))
        finally:
            os._exit(0)  # nothing of what the other one does at its end
    os.close(its)
    with os.fdopen(ours, "rb") as heard:
        said = heard.read()
    os.waitpid(pid, 0)
    loaded: Settings | Exception = pickle.loads(said)  # noqa: S301 - our own words
    if isinstance(loaded, Exception):
        raise loaded
    return loaded


def _loaded(path: Path | None, environ: Mapping[str, str]) -> Settings | Exception:
    try:
        return load_settings(path, environ=environ)
    except Exception as exc:  # noqa: BLE001 - it is raised on the other side
        return exc
