"""What is looked at of a grid's server: whether it takes writes, and what takes its room; no more."""

from __future__ import annotations

from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.targets.kind import Diagnostic, Surroundings
from medic8.targets.valkey.rules import OF_A_GRID

#: The findings about a server that are issues of its grids as well.
_CODES = frozenset(code for rule in OF_A_GRID for code in rule.codes)


def for_a_grid(look: Diagnostic) -> Diagnostic:
    """
    *look*, with those findings alone that a grid shares with its server.

    How a server is set up, and what else is wrong with it, is told by a diagnosis of the server itself.

    Args:
        look: A look at a server.
    """

    def looked(target: Target, around: Surroundings) -> DiagnosticResult:
        result = look(target, around)
        shared = tuple(each for each in result.findings if each.code in _CODES)
        return result.model_copy(update={"findings": shared})

    return looked
