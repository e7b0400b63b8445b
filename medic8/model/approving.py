"""For how long a person is waited for, and where they are asked: ``[approvals]`` of a configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from medic8.model.frozen import Frozen


def _address(url: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise ValueError("it must begin with http:// or https://")
    return url.rstrip("/")


class Approvals(Frozen):
    """
    For how long a person is waited for: ``[approvals]``.

    Attributes:
        expires_s: Seconds after which a request that nobody decided is denied.
        quiet_s: Seconds for which a plan that was denied is not asked for again; 0 = the next run asks.
        link_s: Seconds for which a link can be used, at most until the request expires.
        keep_days: Days for which a request is kept after it was decided, and at least as long as a no counts.
        url: Where the gateway is reached by whoever gets a link, without a path; empty = where the last one
            that was started listens.
    """

    expires_s: int = Field(default=3600, ge=1, le=7 * 86_400)
    quiet_s: int = Field(default=4 * 3600, ge=0, le=30 * 86_400)
    link_s: int = Field(default=1800, ge=1, le=7 * 86_400)
    keep_days: int = Field(default=90, ge=1, le=3650)
    url: Annotated[str, AfterValidator(_address)] = ""
