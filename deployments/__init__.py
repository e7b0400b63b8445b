"""
What a site installs on a Prefect server: which flows, with which forms, schedules and queues.

Nothing here imports Prefect, which takes more than a second, but for the responder: flows are named, not
imported, and the server is spoken to over HTTP. And the responder, which is there all the time, holds nothing
of what only registers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.registering import register

__all__ = ["register"]


def __getattr__(name: str) -> Any:
    if name != "register":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    return importlib.import_module("deployments.registering").register
