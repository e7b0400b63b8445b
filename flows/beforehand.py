"""Import what runs would import one after the other: for a process from which many of them begin."""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - for the address of every server

import fastapi.encoders  # noqa: F401 - with it Prefect writes down what a flow is called with by another one
import sqlalchemy.dialects.sqlite  # noqa: F401 - the journal's, mostly

import flows.run  # noqa: F401 - all flows
from medic8.errors import ConfigurationError
from medic8.settings import load_settings
from medic8.targets.registry import kind_named, kind_names


def _here() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The kinds of which a target is here, and the file that says so; all kinds if nothing right says so."""
    try:
        site = load_settings()
    except (ConfigurationError, OSError):
        return kind_names(), ()
    source = (str(site.source),) if site.source else ()
    return tuple(dict.fromkeys(each.kind for each in site.targets)), source


#: Kinds cost up to 20 MiB each, held for good; `MEDIC8_READS`: when it changes, this is to be imported anew.
_KINDS, MEDIC8_READS = _here()

for _name in _KINDS:
    # What another package brings and cannot be imported, is told by the run that needs it.
    with contextlib.suppress(ConfigurationError, ImportError):
        kind_named(_name)
