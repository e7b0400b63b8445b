"""What an endpoint is asked for, and how it comes to be served by another server."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

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


class Vantage(Frozen):
    """
    Another place from which an endpoint is asked.

    Attributes:
        name: How people call it.
        source: An address of this host from which it is asked (``from`` in a configuration).
        proxy: Url of an HTTP proxy through which it is asked; may hold a secret, and is never printed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    source: str | None = Field(default=None, alias="from")
    proxy: SecretStr | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.source is None) == (self.proxy is None):
            raise ValueError(f"vantage {self.name!r} needs either from or proxy")
        if self.source is not None:
            try:
                ipaddress.ip_address(self.source)
            except ValueError:
                raise ValueError(f"from {self.source!r} of vantage {self.name!r} is no address") from None
        return self


class FailOver(Frozen):
    """
    How an endpoint comes to be served by another server: by a text in a file, by HAProxy, or by a service.

    Attributes:
        standby: Url of whoever is to serve then, asked before anything is changed; may hold a secret, and is
            never printed. None = it cannot be asked before it serves, as a *service* at the same address.
        file: A file that says who serves, absolute.
        active: The text in it that says who serves now; it must be there exactly once.
        spare: What takes its place.
        reload: The command by which the file is read again, and its arguments; no shell reads them.
        haproxy: The runtime socket of HAProxy, absolute; needs level ``admin``.
        backend: The name of its backend.
        server: The name of the server there that is taken out (state ``maint``).
        service: The program of supervisord that is started to serve, named as kind ``process`` does; may hold
            a password, and is never printed.
        replaces: The one that is stopped for it; None = none is.
        timeout_s: Longest that *reload* or a service may take, and the endpoint to be served again.
    """

    standby: SecretStr | None = None
    file: Path | None = None
    active: str = Field(default="", max_length=1000)
    spare: str = Field(default="", max_length=1000)
    reload: tuple[str, ...] = ()
    haproxy: Path | None = None
    backend: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]*$")
    server: str = Field(default="", pattern=r"^[A-Za-z0-9_.:-]*$")
    service: SecretStr | None = None
    replaces: SecretStr | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=90)

    @model_validator(mode="after")
    def _is_one_of_three(self) -> Self:
        if sum(each is not None for each in (self.file, self.haproxy, self.service)) != 1:
            raise ValueError("needs either file, haproxy or service")
        if self.standby is None and self.service is None:
            raise ValueError("needs standby, the url of whoever is to serve then")
        if self.replaces is not None and self.service is None:
            raise ValueError("replaces goes with service, which is started for what it names")
        if self.replaces is not None and self.replaces == self.service:
            raise ValueError("service and replaces name the same program")
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
