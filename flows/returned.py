"""What a run of a subflow returned, also where its state says that it ended badly."""

from __future__ import annotations

from typing import Protocol, TypeVar

Record = TypeVar("Record")


class Ended(Protocol):
    """The state in which a run ended."""

    def result(self, raise_on_failure: bool = True) -> object:
        """What it returned, or its error."""


def returned(state: Ended, of: type[Record]) -> Record:
    """
    The record of type *of* that a run returned.

    A recovery that was undone has failed, and says in its record how it ended.

    Raises:
        Exception: the run ended without a record; this is its error.
    """
    result = state.result(raise_on_failure=False)
    if isinstance(result, of):
        return result
    raise result if isinstance(result, BaseException) else TypeError(f"no {of.__name__} but {result!r}")
