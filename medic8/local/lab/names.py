"""Find what somebody has named, and say what could have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from medic8.errors import ConfigurationError

Named = TypeVar("Named")


def named(what: str, known: Mapping[str, Named], name: str) -> Named:
    """
    The one of *known* called *name*.

    Raises:
        ConfigurationError: there is none; the message names those that are.
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    question = f'; did you mean "{near[0]}"?' if near else ""
    raise ConfigurationError(f'{what} "{name}" is not known; known are {", ".join(known)}{question}')
