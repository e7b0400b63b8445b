"""Import what runs would import one after the other: for a process from which many of them begin."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - for the address of every server

import fastapi.encoders  # noqa: F401 - with it Prefect writes down what a flow is called with by another one
import sqlalchemy.dialects.sqlite  # noqa: F401 - the journal's, mostly

import flows.run  # noqa: F401 - all flows
from medic8.errors import ConfigurationError
from medic8.targets.registry import kind_named, kind_names

for _name in kind_names():
    # What another package brings and cannot be imported, is told by the run that needs it.
    with contextlib.suppress(ConfigurationError, ImportError):
        kind_named(_name)
