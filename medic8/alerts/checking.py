"""Whether a request comes from whom it says, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from medic8.model.alerting import AlertSource

_BEARER = "bearer "


def is_from(source: AlertSource, body: bytes, headers: Mapping[str, str], *, has_certificate: bool) -> bool:
    """
    Whether a request comes from *source*: everything that the source is to show, it shows.

    Args:
        source: Who it says it is.
        body: Byte for byte as it came.
        headers: Of the request, their names in lower case.
        has_certificate: Whether the connection showed a certificate that the gateway trusts.
    """
    if source.problem:
        return False
    shown = list[bool]()
    if source.token is not None:
        shown.append(_has_token(headers.get("authorization", ""), source.token.get_secret_value()))
    if source.key is not None:
        shown.append(_is_signed(body, headers.get(source.signed_in, ""), source.key.get_secret_value()))
    if source.client_certificate:
        shown.append(has_certificate)
    return bool(shown) and all(shown)


def _has_token(said: str, token: str) -> bool:
    given = said[len(_BEARER) :] if said.lower().startswith(_BEARER) else ""
    return hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())


def _is_signed(body: bytes, said: str, key: str) -> bool:
    """Senders write ``<hex>``, ``sha256=<hex>`` or ``v1=<hex>,v1=<hex>`` while they change keys."""
    expected = hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode()
    given = [
        each.rpartition("=")[2].strip().lower().encode(errors="replace") for each in said[:1024].split(",")
    ]
    fits = [hmac.compare_digest(each, expected) for each in given]
    return any(fits)
