"""Services whose certificates or handshakes are not as they should be, and one that was just renewed."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.accuracy.held_out.fresh_endpoint_answers import flag, network, turn, well
from benchmarks.accuracy.variant import Answer, Cause, RequestSite, Site, Stage, Truth, Variant

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class _Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _issue(
    name: str,
    by: _Issued | None = None,
    *,
    days: tuple[float, float] = (-30, 90),
    names: tuple[str, ...] = (),
) -> _Issued:
    """A certificate from so many days on until so many; an issuer of others if it has no names."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(each) for each in names]), critical=False
        )
    else:
        builder = builder.add_extension(_SIGNS, critical=True)
    return _Issued(builder.sign(signer, hashes.SHA256()), key)


_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _name(word: str) -> x509.GeneralName:
    if word[0].isdigit():
        return x509.IPAddress(ipaddress.ip_address(word))
    return x509.DNSName(word)


_SERVICE = """
import os, socket, ssl, sys, threading, time
flag, good, bad, way_of, strength = sys.argv[1:6]
ANSWER = (
    b"HTTP/1.1 200 OK\\r\\nContent-Length: 16\\r\\nConnection: close\\r\\n\\r\\n" + b'{"status": "up"}'
)
def context(file):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(file)
    return made
well, broken = context(good), context(bad)
if way_of == "old":
    broken.set_ciphers("ALL:@SECLEVEL=0")
    broken.minimum_version = ssl.TLSVersion.TLSv1
    broken.maximum_version = ssl.TLSVersion.TLSv1_1
elif way_of == "asks":
    broken.maximum_version = ssl.TLSVersion.TLSv1_2
    broken.verify_mode = ssl.CERT_REQUIRED
    broken.load_verify_locations(bad)
def one(way):
    is_broken = os.path.exists(flag)
    way.settimeout(30)
    try:
        if is_broken and way_of == "plain":
            way.recv(4096)
            way.sendall(b"HTTP/1.1 400 Bad Request\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n")
            return
        if is_broken and way_of == "mute":
            time.sleep(30)
            return
        if is_broken and way_of == "slow":
            time.sleep(int(strength) / 1000)
        with (broken if is_broken else well).wrap_socket(way, server_side=True) as safe:
            said = b""
            while b"\\r\\n\\r\\n" not in said:
                more = safe.recv(4096)
                if not more:
                    return
                said += more
            safe.sendall(ANSWER)
            safe.unwrap()
    except OSError:
        pass
    finally:
        way.close()
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
while True:
    way, _ = server.accept()
    threading.Thread(target=one, args=(way,), daemon=True).start()
"""

_OWN = "127.0.0.1"


def _file(stage: Stage, name: str, *chain: _Issued) -> str:
    """The key of the first, and all certificates as they are presented."""
    file = stage.folder / f"{name}.pem"
    key = chain[0].key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    file.write_bytes(key + b"".join(each.pem() for each in chain))
    return str(file)


Chain = Callable[[Stage, _Issued, _Issued], tuple[_Issued, ...]]


def _serve(chain: Chain | None, way_of: str, stage: Stage) -> str:
    """A service that is well, and what it will present once it is broken; its address."""
    root = _issue("Shop Root")
    middle = _issue("Shop Issuing", root)
    good = (_issue("shop", middle, names=(_OWN,)), middle)
    (stage.folder / "roots.pem").write_bytes(root.pem())
    bad = chain(stage, root, middle) if chain else good
    files = _file(stage, "good", *good), _file(stage, "bad", *bad)
    stage.keep_going(_SERVICE, str(flag(stage)), *files, way_of, str(stage.strength))
    stage.notes["port"] = stage.said
    return f"https://{_OWN}:{stage.said}/health"


def _is_new(stage: Stage, chain: Chain | None) -> str:
    """A service as it should be, under a certificate that the site knows."""
    url = _serve(chain, "", stage)
    turn(stage)
    return url


def _expired(stage: Stage, _: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    return _issue("shop", middle, days=(-90 - stage.strength, -stage.strength), names=(_OWN,)), middle


def _not_yet(stage: Stage, _: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    return _issue("shop", middle, days=(stage.strength / 24, 90), names=(_OWN,)), middle


def _issuer_expired(stage: Stage, root: _Issued, _: _Issued) -> tuple[_Issued, ...]:
    old = _issue("Shop Issuing 1", root, days=(-900, -stage.strength))
    return _issue("shop", old, names=(_OWN,)), old


def _of_another(stage: Stage, _: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    names = (f"{stage.word}.invalid", f"www.{stage.word}.invalid")
    return _issue("shop", middle, names=names), middle


def _of_the_old_address(_: Stage, __: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    return _issue(_OWN, middle, names=("127.0.0.7", "shop.invalid")), middle


def _alone(_: Stage, __: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    return (_issue("shop", middle, names=(_OWN,)),)


def _self_signed(_: Stage, __: _Issued, ___: _Issued) -> tuple[_Issued, ...]:
    return (_issue("localhost", names=(_OWN, "localhost")),)


def _of_another_root(_: Stage, __: _Issued, ___: _Issued) -> tuple[_Issued, ...]:
    root = _issue("Staging Root")
    middle = _issue("Staging Issuing", root)
    return _issue("shop", middle, names=(_OWN,)), middle


def _ends_soon(stage: Stage, _: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    return _issue("shop", middle, days=(-85, stage.strength / 24), names=(_OWN,)), middle


def _renewed(stage: Stage, _: _Issued, middle: _Issued) -> tuple[_Issued, ...]:
    days = (-1 / 24, stage.strength)
    return _issue("shop", middle, days=days, names=("shop.invalid", _OWN)), middle


def _handshake(stage: Stage, timeout_s: float = 6.0) -> str:
    """What a strict client says of the handshake; empty if it is well."""
    trusted = ssl.create_default_context(cafile=str(stage.folder / "roots.pem"))
    try:
        with (
            socket.create_connection((_OWN, int(stage.notes["port"])), timeout=timeout_s) as way,
            trusted.wrap_socket(way, server_hostname=_OWN),
        ):
            return ""
    except ssl.SSLCertVerificationError as exc:
        return exc.verify_message
    except OSError as exc:
        return f"{type(exc).__name__} {exc}"


def _says(*words: str) -> Callable[[Stage], bool]:
    return lambda stage: any(word in _handshake(stage) for word in words)


def _fails(stage: Stage) -> bool:
    said = _handshake(stage, timeout_s=2)
    return bool(said) and "certificate has" not in said


def _is_late(stage: Stage) -> bool:
    return "timed out" in _handshake(stage, timeout_s=1) and not _handshake(stage)


def _days_left(stage: Stage) -> float:
    trusted = ssl.create_default_context(cafile=str(stage.folder / "roots.pem"))
    with (
        socket.create_connection((_OWN, int(stage.notes["port"])), timeout=5) as way,
        trusted.wrap_socket(way, server_hostname=_OWN) as safe,
    ):
        found = safe.getpeercert(binary_form=True)
    assert found is not None
    left = x509.load_der_x509_certificate(found).not_valid_after_utc - dt.datetime.now(dt.UTC)
    return left / _DAY


def _knows_the_root(stage: Stage) -> Site:
    roots = Path(stage.folder, "roots.pem")
    return Site(timeout_s=6.0, request=RequestSite(count=3, ca_file=str(roots) if roots.exists() else ""))


def _knows_and_is_short(stage: Stage) -> Site:
    return Site(timeout_s=1.5, request=_knows_the_root(stage).request)


def _variant(
    name: str,
    truth: Callable[[Stage], Truth],
    is_there: Callable[[Stage], bool],
    *,
    chain: Chain | None = None,
    way_of: str = "",
    strength: tuple[int, int] = (1, 1),
    site: Callable[[Stage], Site] = _knows_the_root,
) -> Variant:
    prepare = partial(_serve, chain, way_of)
    return Variant(name, "endpoint", strength, truth, turn, is_there, site=site, prepare=prepare)


_EXPIRED, _CHAIN, _FAILS = (
    network(Cause.TLS_EXPIRED),
    network(Cause.TLS_CHAIN),
    network(Cause.TLS_FAILS),
)


def _soon(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.CERTIFICATE, also_answer=(Answer.RESOURCE_EXHAUSTION,))


VARIANTS = (
    _variant("fresh_renewal_forgotten", _EXPIRED, _says("expired"), chain=_expired, strength=(1, 40)),
    _variant("fresh_valid_from_tomorrow", _EXPIRED, _says("not yet"), chain=_not_yet, strength=(3, 48)),
    _variant(
        "fresh_issuer_has_expired",
        network(Cause.TLS_EXPIRED, Cause.TLS_CHAIN),
        _says("expired"),
        chain=_issuer_expired,
        strength=(1, 30),
    ),
    _variant("fresh_of_another_shop", network(Cause.TLS_NAME), _says("mismatch"), chain=_of_another),
    _variant(
        "fresh_of_its_old_address", network(Cause.TLS_NAME), _says("mismatch"), chain=_of_the_old_address
    ),
    _variant("fresh_issuing_one_left_out", _CHAIN, _says("unable to get"), chain=_alone),
    _variant("fresh_made_by_the_package", _CHAIN, _says("self-signed", "self signed"), chain=_self_signed),
    _variant(
        "fresh_from_the_staging_root",
        _CHAIN,
        _says("unable to get", "self-signed", "self signed"),
        chain=_of_another_root,
    ),
    _variant("fresh_plain_at_the_tls_port", _FAILS, _fails, way_of="plain"),
    _variant("fresh_only_the_old_protocol", _FAILS, _fails, way_of="old"),
    _variant("fresh_asks_for_a_certificate", _FAILS, _fails, way_of="asks"),
    _variant("fresh_hello_not_answered", _FAILS, _fails, way_of="mute", site=_knows_and_is_short),
    _variant(
        "fresh_no_room_for_randomness",
        lambda _: Truth(Answer.SLOW_OPERATIONS, Cause.SLOW_TLS),
        _is_late,
        way_of="slow",
        strength=(1_500, 4_000),
    ),
    _variant(
        "fresh_ends_within_days",
        _soon,
        lambda stage: _days_left(stage) < 4,
        chain=_ends_soon,
        strength=(8, 84),
    ),
    Variant(
        "fresh_renewed_and_whole",
        "endpoint",
        (60, 365),
        well,
        partial(_is_new, chain=_renewed),
        lambda stage: _days_left(stage) > 50,
        site=_knows_the_root,
        is_healthy=True,
    ),
)
