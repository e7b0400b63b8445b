"""
Medic8 troubleshoots and heals Mem|8 memory grids and what they stand on.

What is listed here is public: the grid as a library, a diagnosis without
Prefect, and the errors. Names are loaded when they are first used, so that
``import medic8`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from medic8.errors import (
    ChangedError,
    ConfigurationError,
    FencedError,
    Medic8Error,
    RefusedError,
    TransientError,
    UndoError,
    UnreachableError,
    VerifyError,
)

if TYPE_CHECKING:
    from medic8.settings import load_settings
    from medic8.targets.grid.diagnose import diagnose_grid
    from medic8.targets.grid.errors import (
        GridDamagedError,
        GridExistsError,
        LockBusyError,
        LockLostError,
        NotAGridError,
        OutdatedError,
    )
    from medic8.targets.grid.format import CELL, amplitude_code, amplitude_of, cells
    from medic8.targets.grid.grid import Grid
    from medic8.targets.grid.scrub import ScrubOptions, scrub
    from medic8.targets.valkey.client import connection

__all__ = [
    "CELL",
    "ChangedError",
    "ConfigurationError",
    "FencedError",
    "Grid",
    "GridDamagedError",
    "GridExistsError",
    "LockBusyError",
    "LockLostError",
    "Medic8Error",
    "NotAGridError",
    "OutdatedError",
    "RefusedError",
    "ScrubOptions",
    "TransientError",
    "UndoError",
    "UnreachableError",
    "VerifyError",
    "amplitude_code",
    "amplitude_of",
    "cells",
    "connection",
    "diagnose_grid",
    "load_settings",
    "scrub",
]

_LATER = {
    "CELL": "medic8.targets.grid.format",
    "Grid": "medic8.targets.grid.grid",
    "GridDamagedError": "medic8.targets.grid.errors",
    "GridExistsError": "medic8.targets.grid.errors",
    "LockBusyError": "medic8.targets.grid.errors",
    "LockLostError": "medic8.targets.grid.errors",
    "NotAGridError": "medic8.targets.grid.errors",
    "OutdatedError": "medic8.targets.grid.errors",
    "ScrubOptions": "medic8.targets.grid.scrub",
    "amplitude_code": "medic8.targets.grid.format",
    "amplitude_of": "medic8.targets.grid.format",
    "cells": "medic8.targets.grid.format",
    "connection": "medic8.targets.valkey.client",
    "diagnose_grid": "medic8.targets.grid.diagnose",
    "load_settings": "medic8.settings",
    "scrub": "medic8.targets.grid.scrub",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
