"""Keep out of processes that stay what libraries load by the way, and nobody there asks for."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

#: The command line of httpx, with rich, pygments and click under it; httpx does without, and says so.
_COMMAND_LINE = "httpx._main"

#: A table of 4 MiB that says how all of Unicode is spelt in ASCII. Prefect makes names of classes by it.
_SPELLING = "text_unidecode"


def leave_out() -> None:
    """Call it before anything else is imported; what is loaded by then stays."""
    if "httpx" not in sys.modules:
        sys.modules.setdefault(_COMMAND_LINE, None)  # type: ignore[arg-type]  # as Python has it: not there
    if _SPELLING not in sys.modules:
        small = ModuleType(_SPELLING)
        small.unidecode = _spelt  # type: ignore[attr-defined]
        sys.modules[_SPELLING] = small


def _spelt(text: str) -> str:
    """`text_unidecode.unidecode`, which is loaded by the first text that has need of it."""
    if text.isascii():
        return text
    if (small := sys.modules[_SPELLING]).__spec__ is None:
        del sys.modules[_SPELLING]
        small.unidecode = importlib.import_module(_SPELLING).unidecode  # type: ignore[attr-defined]
    return str(small.unidecode(text))
