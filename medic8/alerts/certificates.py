"""Whose certificate a connection shows: what the server's protocol knows, and its requests do not say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Where the names stand in the state of a request.
STATE = "certificate_names"


class TellingProtocol(H11Protocol):
    """HTTP/1.1 that gives each request the names of the certificate that its connection has shown."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent
        """Remember whose connection it is; the handshake is over by now, and what was not trusted is gone."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, STATE: names_of(transport.get_extra_info("peercert") or {})}


def names_of(certificate: Mapping[str, Any]) -> frozenset[str]:
    """
    Every name that a certificate has, as `ssl.SSLSocket.getpeercert` reads it, in lower case.

    Its common name and its alternative ones: of hosts, addresses, mail and URIs.
    """
    subject = (pair for part in certificate.get("subject", ()) for pair in part)
    common = (value for key, value in subject if key == "commonName")
    others = (value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str))
    return frozenset(each.lower() for each in (*common, *others))
