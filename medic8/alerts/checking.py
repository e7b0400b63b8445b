"""Whether a request comes from whom it says, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping

from medic8.model.alerting import AlertSource

_BEARER = "bearer "
_DIGEST_CHARACTERS = hashlib.sha256().digest_size * 2


def may_speak(
    source: AlertSource, headers: Mapping[str, str], *, certificate: Collection[str] | None
) -> bool:
    """
    Whether a request may come from *source*, so that its body is worth reading: before that is.

    Everything that the source is to show is shown; whether a signature fits, only the body says.

    Args:
        source: Who it says it is.
        headers: Of the request, their names in lower case.
        certificate: The names of the certificate that the connection showed, if the gateway trusts it; None =
            it showed none.
    """
    if source.problem:
        return False
    shown = list[bool]()
    if source.token is not None:
        shown.append(_has_token(headers.get("authorization", ""), source.token.get_secret_value()))
    if source.key is not None:
        shown.append(any(len(each) == _DIGEST_CHARACTERS for each in _digests(_said(source, headers))))
    if source.client_certificate:
        shown.append(
            certificate is not None
            and (not source.certificate_name or source.certificate_name.lower() in certificate)
        )
    return bool(shown) and all(shown)


def is_signed(source: AlertSource, body: bytes, headers: Mapping[str, str]) -> bool:
    """
    Whether *body* is signed as those of *source* are; true as well if they are not.

    Args:
        source: Who may speak.
        body: Byte for byte as it came.
        headers: Of the request, their names in lower case.
    """
    return source.key is None or _is_signed(body, _said(source, headers), source.key.get_secret_value())


def _has_token(said: str, token: str) -> bool:
    given = said[len(_BEARER) :] if said.lower().startswith(_BEARER) else ""
    return hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())


def _is_signed(body: bytes, said: str, key: str) -> bool:
    expected = hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode()
    fits = [hmac.compare_digest(each, expected) for each in _digests(said)]
    return any(fits)


def _said(source: AlertSource, headers: Mapping[str, str]) -> str:
    return headers.get(source.signed_in, "")


def _digests(said: str) -> list[bytes]:
    """Senders write ``<hex>``, ``sha256=<hex>`` or ``v1=<hex>,v1=<hex>`` while they change keys."""
    return [
        each.rpartition("=")[2].strip().lower().encode(errors="replace") for each in said[:1024].split(",")
    ]
