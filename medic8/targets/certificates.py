"""What can be wrong with a certificate, and for how long it is good."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

_DAY = timedelta(days=1)


class Fault(StrEnum):
    """Why a certificate is not accepted."""

    EXPIRED = "certificate expired"
    NOT_YET = "certificate not yet valid"
    NAME = "certificate of another name"
    ISSUER = "certificate of an unknown issuer"


#: Verdicts of OpenSSL on a certificate. Source: OpenSSL, x509_vfy.h.
_FAULTS = {
    2: Fault.ISSUER,
    9: Fault.NOT_YET,
    10: Fault.EXPIRED,
    18: Fault.ISSUER,
    19: Fault.ISSUER,
    20: Fault.ISSUER,
    21: Fault.ISSUER,
    62: Fault.NAME,
    64: Fault.NAME,
}


def fault_of(error: ssl.SSLCertVerificationError) -> Fault | None:
    """What *error* found wrong with a certificate; None if it is none of these."""
    return _FAULTS.get(error.verify_code)


def days_left(certificate: x509.Certificate, now: datetime) -> float:
    """How many days it is good from *now* on; less than 0 = it has expired."""
    return (certificate.not_valid_after_utc - now) / _DAY
