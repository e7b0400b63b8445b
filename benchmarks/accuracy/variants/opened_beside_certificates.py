"""Certificates of one's own, and services that present them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.accuracy.variant import Answer, Cause, RequestSite, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_beside_means import HTTP, get

#: Serves "all is well"; while the file named third is there, it takes so many seconds to begin a handshake.
SECURE = (
    HTTP
    + """
class Answers(Plain):
    def do_GET(self): self.say(200, "all is well")

class Secure(Server):
    def finish_request(self, request, address):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        if os.path.exists(sys.argv[3]): time.sleep(float(sys.argv[4]))
        with context.wrap_socket(request, server_side=True) as secure:
            secure.settimeout(20)
            Answers(secure, address, self)

server = Secure(("127.0.0.1", 0), Answers)
print(server.server_port, flush=True)
server.serve_forever()
"""
)


class _Issuer(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def _issue(name: str, days: float, issuer: _Issuer | None, *, is_leaf: bool = False) -> _Issuer:
    """Issue a certificate that began 90 days ago and ends in so many days; without an issuer, its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    by, signs = (issuer.certificate.subject, issuer.key) if issuer else (subject, key)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not is_leaf,
        crl_sign=not is_leaf,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signs.public_key()), critical=False)
    )
    if is_leaf:
        names = x509.SubjectAlternativeName(
            [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
        )
        builder = builder.add_extension(names, critical=False)
    return _Issuer(builder.sign(signs, hashes.SHA256()), key)


def serve(stage: Stage, days: float, *, presents: bool = True, late_s: float = 0.0) -> str:
    """
    Start a service with a certificate for so many days more; its address.

    Args:
        stage: Where; ``root.pem`` in its folder is what a client has to trust.
        days: Until the certificate ends.
        presents: Whether it presents the intermediate issuer too, as it has to.
        late_s: What a handshake takes while there is a file ``late``.
    """
    root = _issue(f"{stage.word} root", 3000, None)
    middle = _issue(f"{stage.word} issuing", 1500, root)
    leaf = _issue(f"{stage.word}.example", days, middle, is_leaf=True)
    pem = serialization.Encoding.PEM
    shown = (leaf, middle) if presents else (leaf,)
    (stage.folder / "root.pem").write_bytes(root.certificate.public_bytes(pem))
    (stage.folder / "cert.pem").write_bytes(b"".join(each.certificate.public_bytes(pem) for each in shown))
    (stage.folder / "key.pem").write_bytes(
        leaf.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    names = ("cert.pem", "key.pem", "late")
    stage.keep_going(SECURE, *(str(stage.folder / each) for each in names), str(late_s))
    stage.notes.update(url=f"https://127.0.0.1:{stage.said}/health", port=stage.said)
    return stage.notes["url"]


def trusts(stage: Stage) -> Site:
    """A site that knows the issuer."""
    return Site(request=RequestSite(ca_file=str(stage.folder / "root.pem"), count=3))


def asked(stage: Stage) -> tuple[int, str, float]:
    """Ask as a client does that knows the issuer."""
    return get(stage.notes["url"], ca_file=str(stage.folder / "root.pem"), timeout_s=6)


def days_left(stage: Stage) -> float:
    """Days until the presented certificate ends."""
    text = ssl.get_server_certificate(("127.0.0.1", int(stage.notes["port"])), timeout=5)
    ends = x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc
    return (ends - datetime.now(UTC)) / timedelta(days=1)


def ends_soon(stage: Stage) -> bool:
    """Whether the certificate is good, for days only."""
    return "url" in stage.notes and asked(stage)[0] == 200 and days_left(stage) < 10


def is_not_trusted(stage: Stage) -> bool:
    """Whether a client refuses the certificate."""
    return "url" in stage.notes and "CERTIFICATE_VERIFY_FAILED" in asked(stage)[1]


def prepare_secure(stage: Stage) -> str:
    """Start a service that shakes hands at once."""
    return serve(stage, 200, late_s=stage.strength / 1000)


def hesitate(stage: Stage) -> str:
    """From now on it waits for something else before each handshake."""
    (stage.folder / "late").touch()
    return ""


def shakes_late(stage: Stage) -> bool:
    """Whether it answers, and takes long."""
    code, _, took = asked(stage)
    return (stage.folder / "late").exists() and code == 200 and took >= stage.strength / 1000


VARIANTS = (
    Variant(
        "renewal_did_not_run",
        "endpoint",
        (1, 6),
        lambda _: Truth(Answer.NETWORK, Cause.CERTIFICATE, also_answer=(Answer.RESOURCE_EXHAUSTION,)),
        lambda stage: serve(stage, stage.strength + 0.5),
        ends_soon,
        site=trusts,
    ),
    Variant(
        "bundle_without_the_middle",
        "endpoint",
        (60, 300),
        lambda _: Truth(Answer.NETWORK, Cause.TLS_CHAIN),
        lambda stage: serve(stage, stage.strength, presents=False),
        is_not_trusted,
        site=trusts,
    ),
    Variant(
        "hands_shaken_late",
        "endpoint",
        (1500, 3500),
        lambda _: Truth(Answer.SLOW_OPERATIONS, Cause.SLOW_TLS),
        hesitate,
        shakes_late,
        site=trusts,
        prepare=prepare_secure,
    ),
    Variant(
        "chain_of_three_long_good",
        "endpoint",
        (120, 380),
        lambda _: Truth(Answer.NONE),
        lambda stage: serve(stage, stage.strength),
        lambda stage: "url" in stage.notes and asked(stage)[0] == 200 and days_left(stage) > 100,
        site=trusts,
        is_healthy=True,
    ),
)
