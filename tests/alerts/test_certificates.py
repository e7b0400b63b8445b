"""Senders that are known by their certificates: real ones, at a gateway in a process of its own."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from medic8.alerts.inbox import Inbox
from medic8.local.loopback import free_port
from medic8.recovery.journal import Journal
from medic8.settings import load_settings
from tests.alerts.gateway_process import wait_for

CONFIGURATION = """
[[alerts.source]]
name = "any"
format = "generic"
client_certificate = true

[[alerts.source]]
name = "ann"
format = "generic"
certificate_name = "Ann.example"

[[alerts.source]]
name = "bob"
format = "generic"
certificate_name = "bob"
token_env = "TOKEN"
"""
TOKEN = {"Authorization": "Bearer a token of 24 characters"}
ALERT = {"target": "cache-1"}


class Authority:
    """Issues certificates for the loopback interface into *folder*."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._pem(self._signed(name, self._key, is_authority=True)))

    def issue(self, name: str, host: str = "") -> tuple[Path, Path]:
        """A certificate and its key; of a *host* with that as its alternative name."""
        key = ec.generate_private_key(ec.SECP256R1())
        files = self._folder / f"{self._name}-{name}.pem", self._folder / f"{self._name}-{name}.key"
        files[0].write_bytes(self._pem(self._signed(name, key, host)))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _signed(
        self, name: str, key: ec.EllipticCurvePrivateKey, host: str = "", *, is_authority: bool = False
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(_named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.DNSName(host)] if host else names), critical=False
            )
        )
        return built.sign(self._key, hashes.SHA256())

    @staticmethod
    def _pem(certificate: x509.Certificate) -> bytes:
        return certificate.public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


class Served:
    """A gateway that asks for certificates, and the two authorities of which it trusts one."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.theirs = Authority(folder, "ours"), Authority(folder, "theirs")
        self.port = free_port(())
        self.site = folder / "medic8.toml"
        self.home = folder / "home"

    def post(
        self, source: str, shown: tuple[Path, Path] | None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        context = ssl.create_default_context(cafile=str(self.ours.file))
        if shown is not None:
            context.load_cert_chain(*shown)
        url = f"https://127.0.0.1:{self.port}/v1/alerts/{source}"
        with httpx.Client(verify=context, trust_env=False, timeout=30) as client:
            return client.post(url, json=ALERT, headers=headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("certificates")
    made = Served(folder)
    certificate, key = made.ours.issue("gateway")
    made.site.write_text(CONFIGURATION)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environ |= {"MEDIC8_HOME": str(made.home), "MEDIC8_CONFIG": str(made.site)}
    environ |= {"TOKEN": TOKEN["Authorization"].removeprefix("Bearer "), "PREFECT_API_URL": ""}
    words = [sys.executable, "-c", "from medic8.cli import main; main()", "gateway", "--port", str(made.port)]
    words += ["--certificate", str(certificate), "--key", str(key), "--client-ca", str(made.ours.file)]
    child = subprocess.Popen(words, env=environ, stderr=subprocess.DEVNULL)
    shown = made.ours.issue("looks")
    try:

        def answers() -> bool:
            assert child.poll() is None
            try:
                return made.post("none", shown).status_code == 404
            except httpx.TransportError:
                return False

        wait_for(answers)
        yield made
    finally:
        child.terminate()
        child.wait(30)


def test_who_has_no_certificate_of_ours_gets_no_answer(served: Served) -> None:
    """Whatever else is known to whoever asks; nothing is taken in from them."""
    for shown in (None, served.theirs.issue("ann.example", "ann.example")):
        for source in ("any", "ann", "bob"):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                served.post(source, shown, TOKEN)
    site = load_settings(served.site, environ={"MEDIC8_HOME": str(served.home), "TOKEN": "x" * 24})
    assert not Inbox(Journal(site.journal_url)).rows(limit=1)


def test_a_source_is_known_by_its_own_certificate(served: Served) -> None:
    """By an alternative name or the common one; what it is to show besides is asked for as well."""
    ann, bob = served.ours.issue("a host of hers", "ann.example"), served.ours.issue("bob")
    stranger = served.ours.issue("bob.example", "xann.example")

    def statuses(shown: tuple[Path, Path], headers: dict[str, str] | None = None) -> list[int]:
        return [served.post(source, shown, headers).status_code for source in ("any", "ann", "bob")]

    assert statuses(ann, TOKEN) == [200, 200, 401]
    assert statuses(bob) == [200, 401, 401]
    assert statuses(bob, TOKEN) == [200, 401, 200]
    assert statuses(stranger, TOKEN) == [200, 401, 401]
