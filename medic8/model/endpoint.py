"""What an endpoint is asked for, and how it comes to be served by another server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from medic8.model.frozen import Frozen


class HttpRequest(Frozen):
    """
    What an endpoint is asked for, and what counts as well.

    Attributes:
        method: ``GET``, or ``HEAD`` for an answer without a body.
        status: The good ones; empty = 200 to 299.
        body: What the first 256 KiB of the answer must contain; empty = anything will do.
        follows: Whether redirects to the same host are followed; else a redirect is no good answer unless its
            status is named.
        count: How many requests a look makes to each address of the host.
        ca_file: File of issuers to trust beside the system's; None = the system's alone.
    """

    method: Literal["GET", "HEAD"] = "GET"
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    body: str = Field(default="", max_length=1000)
    follows: bool = False
    count: int = Field(default=5, ge=2, le=20)
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _can_be_seen(self) -> Self:
        if self.method == "HEAD" and self.body:
            raise ValueError("body cannot be looked at with method HEAD, whose answer has none")
        return self


class FailOver(Frozen):
    """
    How an endpoint comes to be served by another server: by a text in a file, or by HAProxy.

    Attributes:
        standby: Url of whoever is to serve then, asked before anything is changed; may hold a secret, and is
            never printed.
        file: A file that says who serves, absolute.
        active: The text in it that says who serves now; it must be there exactly once.
        spare: What takes its place.
        reload: The command by which the file is read again, and its arguments; no shell reads them.
        haproxy: The runtime socket of HAProxy, absolute; needs level ``admin``.
        backend: The name of its backend.
        server: The name of the server there that is taken out (state ``maint``).
        timeout_s: Longest that *reload* may take, and that the endpoint may take to be served again.
    """

    standby: SecretStr
    file: Path | None = None
    active: str = Field(default="", max_length=1000)
    spare: str = Field(default="", max_length=1000)
    reload: tuple[str, ...] = ()
    haproxy: Path | None = None
    backend: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]*$")
    server: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]*$")
    timeout_s: float = Field(default=30.0, gt=0, le=90)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.file is None) == (self.haproxy is None):
            raise ValueError("needs either file or haproxy")
        if self.file is not None and not (self.active and self.spare):
            raise ValueError(
                "file needs active and spare, the texts for who serves now and who is to serve then"
            )
        if self.file is not None and self.active in self.spare:
            raise ValueError(
                f"spare {self.spare!r} contains active {self.active!r}, so that nobody can tell them apart"
            )
        if self.haproxy is not None and not (self.backend and self.server):
            raise ValueError("haproxy needs backend and server")
        path = self.file or self.haproxy
        if path is not None and not path.is_absolute():
            raise ValueError(f"{str(path)!r} must be an absolute path")
        return self
