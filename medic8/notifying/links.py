"""Where people see a run in Prefect's interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medic8.errors import ConfigurationError
from medic8.local.prefect_access import PrefectAccess, is_at, prefect_access
from medic8.local.records import read_record
from medic8.local.status import way_to_own


def access_now(home: Path, environ: Mapping[str, str]) -> PrefectAccess | None:
    """
    The Prefect server that is there now: the user's own, or the local stack's; None if neither is.

    Raises:
        ConfigurationError: what the user has set for Prefect is wrong.
    """
    named, own = prefect_access(environ), read_record(home).prefect
    if named is not None and not named.is_presumed and (own is None or not is_at(named.api_url, own.api_url)):
        return named
    return named if own is None else way_to_own(home, own.api_url, environ)


def runs_page(home: Path, environ: Mapping[str, str]) -> str:
    """The address below which every run has its page; empty if that is not known."""
    if pages := environ.get("PREFECT_UI_URL", "").rstrip("/"):
        return f"{pages}/runs/flow-run"
    try:
        access = access_now(home, environ)
    except ConfigurationError:
        return ""
    return "" if access is None or not access.ui_url else f"{access.ui_url}/runs/flow-run"
