"""Services with certificates: expired, not yet valid, of another name or issuer, and handshakes that fail."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from math import isnan
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import nothing_wrong, told
from benchmarks.accuracy.variants.opened_aside_service import asked, fetch

_SERVICE = """
import os, socket, ssl, sys, threading, time
folder = sys.argv[1]
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
def mode():
    try:
        with open(folder + "/mode") as file:
            return file.read().split()
    except OSError:
        return ["plain-tls"]
def serve(connection):
    connection.settimeout(20)
    how = mode()
    try:
        if how[0] == "mute":
            time.sleep(600)
        if how[0] == "slow":
            time.sleep(float(how[1]) / 10)
        if how[0] != "without":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder + "/chain.pem", folder + "/key.pem")
            if how[0] == "callers":
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(folder + "/issuer.pem")
            connection = context.wrap_socket(connection, server_side=True)
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
        connection.close()
    except OSError:
        connection.close()
while True:
    accepted, _ = server.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
"""

_Key = ec.EllipticCurvePrivateKey
_Made = tuple[x509.Certificate, _Key]


def _certificate(
    name: str,
    issuer: _Made | None = None,
    *,
    starts: timedelta = timedelta(days=-40),
    ends: timedelta = timedelta(days=300),
    is_issuer: bool = False,
    address: str = "127.0.0.1",
) -> _Made:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=is_issuer, path_length=None), critical=True)
    )
    if not is_issuer:
        names: list[x509.GeneralName] = [x509.DNSName(f"{name}.invalid")]
        if address:
            names.append(x509.IPAddress(ip_address(address)))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _write(stage: Stage, key: _Key, *chain: x509.Certificate) -> None:
    encoding = serialization.Encoding.PEM
    (stage.folder / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (stage.folder / "chain.pem").write_bytes(b"".join(each.public_bytes(encoding) for each in chain))


def _serve(stage: Stage, make: Callable[[_Made, _Made], tuple[_Key, tuple[x509.Certificate, ...]]]) -> str:
    root = _certificate(f"root of {stage.word}", is_issuer=True)
    between = _certificate(f"issuer of {stage.word}", root, is_issuer=True)
    (stage.folder / "issuer.pem").write_bytes(root[0].public_bytes(serialization.Encoding.PEM))
    key, chain = make(root, between)
    _write(stage, key, *chain)
    stage.keep_going(_SERVICE, str(stage.folder))
    stage.notes["url"] = f"https://127.0.0.1:{stage.said}/health"
    return stage.notes["url"]


def _of(
    starts_days: float = -40, ends_days: float = 300, *, address: str = "127.0.0.1"
) -> Callable[[Stage], str]:
    """Serve with a certificate of that time; ``nan`` stands for what the strength says."""

    def serve(stage: Stage) -> str:
        def make(_: _Made, between: _Made) -> tuple[_Key, tuple[x509.Certificate, ...]]:
            starts = starts_days if not isnan(starts_days) else stage.strength
            ends = ends_days if not isnan(ends_days) else stage.strength
            days = (timedelta(days=starts), timedelta(days=ends, hours=7))
            made, key = _certificate(stage.word, between, starts=days[0], ends=days[1], address=address)
            return key, (made, between[0])

        return _serve(stage, make)

    return serve


def _expired(stage: Stage) -> str:
    def make(_: _Made, between: _Made) -> tuple[_Key, tuple[x509.Certificate, ...]]:
        ends = timedelta(hours=-stage.strength)
        made, key = _certificate(stage.word, between, starts=timedelta(days=-90), ends=ends)
        return key, (made, between[0])

    return _serve(stage, make)


def _without_issuer(stage: Stage) -> str:
    def make(_: _Made, between: _Made) -> tuple[_Key, tuple[x509.Certificate, ...]]:
        made, key = _certificate(stage.word, between)
        return key, (made,)

    return _serve(stage, make)


def _own_seal(stage: Stage) -> str:
    """After it was set up anew it has what its packager made for a trial."""
    made, key = _certificate(stage.word)
    _write(stage, key, made)
    return ""


def _mode(words: str) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        (stage.folder / "mode").write_text(words.replace("#", str(stage.strength)))
        return ""

    return break_it


def _fails(words: str) -> Callable[[Stage], bool]:
    """Whether a plain client that trusts the issuer gets this word in its error."""

    def is_there(stage: Stage) -> bool:
        name, text, _ = fetch(stage, 3.0, str(stage.folder / "issuer.pem"))
        return words.lower() in f"{name} {text}".lower()

    return is_there


def _works(stage: Stage) -> bool:
    return fetch(stage, 5.0, str(stage.folder / "issuer.pem"))[0] == "200"


def _slow_handshake(stage: Stage) -> bool:
    url = urlsplit(stage.notes["url"])
    context = ssl.create_default_context(cafile=str(stage.folder / "issuer.pem"))
    with socket.create_connection((url.hostname, url.port), timeout=8) as client:
        then = time.monotonic()
        with context.wrap_socket(client, server_hostname=url.hostname):
            return time.monotonic() - then > stage.strength / 10 - 0.1


_NAN = float("nan")
_SITE = asked(ca_file="issuer.pem", count=3)
_EXPIRED = told(
    Answer.NETWORK, Cause.TLS_EXPIRED, also_answer=(Answer.SYNCHRONIZATION,), also_cause=(Cause.CERTIFICATE,)
)
_CHAIN = told(Answer.NETWORK, Cause.TLS_CHAIN)
_FAILS = told(Answer.NETWORK, Cause.TLS_FAILS, also_cause=(Cause.CLOSED, Cause.NOT_HTTP))

VARIANTS = (
    Variant("renewal_forgotten", "endpoint", (1, 900), _EXPIRED, _expired, _fails("has expired"), site=_SITE),
    Variant(
        "seal_of_the_day_after",
        "endpoint",
        (1, 9),
        told(
            Answer.NETWORK,
            Cause.TLS_EXPIRED,
            also_answer=(Answer.SYNCHRONIZATION,),
            also_cause=(Cause.CLOCK,),
        ),
        _of(_NAN, 300),
        _fails("not yet valid"),
        site=_SITE,
    ),
    Variant(
        "seal_ends_this_week",
        "endpoint",
        (0, 5),
        told(Answer.NETWORK, Cause.CERTIFICATE, also_answer=(Answer.RESOURCE_EXHAUSTION,)),
        _of(-84, _NAN),
        _works,
        site=_SITE,
    ),
    Variant(
        "seal_of_another_house",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.TLS_NAME),
        _of(address="127.0.0.9"),
        _fails("mismatch"),
        site=_SITE,
    ),
    Variant(
        "issuer_not_sent_along",
        "endpoint",
        (1, 1),
        _CHAIN,
        _without_issuer,
        _fails("unable to get local issuer"),
        site=_SITE,
    ),
    Variant(
        "seal_of_the_packager",
        "endpoint",
        (1, 1),
        _CHAIN,
        _own_seal,
        _fails("self-signed"),
        site=_SITE,
        prepare=_of(),
    ),
    Variant(
        "speaks_in_the_clear",
        "endpoint",
        (1, 1),
        _FAILS,
        _mode("without"),
        _fails("ssl"),
        site=_SITE,
        prepare=_of(),
    ),
    Variant(
        "asks_callers_for_a_seal",
        "endpoint",
        (1, 1),
        _FAILS,
        _mode("callers"),
        _fails("ssl"),
        site=_SITE,
        prepare=_of(),
    ),
    Variant(
        "handshake_not_answered",
        "endpoint",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.TLS_FAILS,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.SILENT, Cause.SLOW_TLS),
        ),
        _mode("mute"),
        _fails("timed out"),
        site=asked(ca_file="issuer.pem", count=2, timeout_s=2.0),
        prepare=_of(),
    ),
    Variant(
        "handshake_takes_its_time",
        "endpoint",
        (20, 40),
        told(Answer.SLOW_OPERATIONS, Cause.SLOW_TLS, also_cause=(Cause.SLOW_ANSWER,)),
        _mode("slow #"),
        _slow_handshake,
        site=asked(ca_file="issuer.pem", count=2, timeout_s=8.0),
        prepare=_of(),
    ),
    Variant(
        "seal_of_ninety_days",
        "endpoint",
        (60, 88),
        nothing_wrong,
        _of(-2, _NAN),
        _works,
        site=_SITE,
        is_healthy=True,
    ),
)
