"""Have a server read its certificate and key again: harmless, the files and their paths stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from medic8.errors import ChangedError, RefusedError, UnreachableError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.facts import Facts
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.client import connection, options_of, setting
from medic8.targets.valkey.looks.certificate import presented_at
from medic8.targets.valkey.looks.certificate_files import Files, read_certificate, rehearse
from medic8.targets.valkey.looks.certificate_trust import TRUST, started_at_s, why_trust_may_change

RELOAD_CERTIFICATE = "reload_certificate"


class ReloadCertificate(Frozen):
    """
    Arguments of the action ``reload_certificate``.

    Attributes:
        certificate: Path of the certificate's file, as the server is told it.
        key: Path of its key's.
        presented: Serial number of the certificate that the server presented, in hexadecimal digits.
        renewed: The same of the one in the file.
    """

    certificate: str
    key: str
    presented: str
    renewed: str


class CertificateAct(Act):
    """``CONFIG SET tls-cert-file`` and ``tls-key-file``, in one command, to what they are."""

    name = RELOAD_CERTIFICATE

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is changed that could be saved: the old certificate is on no disk any more."""
        del server, step
        return None

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is written; the files must still be those that the plan is for, and fit."""
        ask = _arguments(step)
        _require_it_is_meant(server, ask)
        rehearse(Files(ask.certificate, ask.key), server.target.address)
        _require_nobody_is_shut_out(server)
        return None

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Reload, guarded by the claim; a server that finds the files unfit keeps what it has and says so."""
        if expected is not None or new is not None:
            raise RefusedError("a reload writes nothing and puts nothing back")
        _require_nobody_is_shut_out(server)
        with server.guarded(claim, step) as pipe:
            told = {name: str(setting(pipe, name)) for name in ("tls-cert-file", "tls-key-file")}
            pipe.multi()
            pipe.execute_command("CONFIG", "SET", *(word for pair in told.items() for word in pair))
            server.carry_out(pipe, claim, step)

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """A new handshake presents the renewed certificate, and a client that verifies it gets in."""
        for step in steps:
            wanted, found = _arguments(step).renewed, _presented(server)
            if found != wanted:
                raise VerifyError(f"the server presents certificate {found}, and not {wanted}")
        try:
            with connection(server.target.address, timeout_s=server.target.timeout_s) as another:
                another.ping()
        except UnreachableError as exc:
            raise VerifyError(f"with the renewed certificate no client gets in: {exc}") from exc


def _require_it_is_meant(server: ActedOn, ask: ReloadCertificate) -> None:
    told = [setting(server.client, name) or "" for name in ("tls-cert-file", "tls-key-file")]
    folder = Path(setting(server.client, "dir") or "/")
    if [str(folder / each) for each in told] != [ask.certificate, ask.key]:
        raise ChangedError(f"the server uses other files by now: {told[0]!r} and {told[1]!r}")
    on_disk = f"{read_certificate(ask.certificate).serial_number:x}"
    if on_disk != ask.renewed:
        raise ChangedError(f"certificate {ask.certificate} has serial {on_disk} by now, not {ask.renewed}")


def _require_nobody_is_shut_out(server: ActedOn) -> None:
    told = {name: setting(server.client, name) for name in ("dir", *TRUST)}
    info = cast("Mapping[str, object]", server.client.info("server"))
    facts = Facts({name: str(value) for name, value in info.items()})
    if why := why_trust_may_change(told.get, started_at_s(facts)):
        raise RefusedError(why)


def _presented(server: ActedOn) -> str:
    options = options_of(server.target.address)
    peer = (str(options.get("host", "localhost")), int(options.get("port") or 6379))
    found = presented_at(server.target.address, peer, timeout_s=server.target.timeout_s)
    return f"{found.serial_number:x}"


def _arguments(step: Step) -> ReloadCertificate:
    return ReloadCertificate.model_validate(step.arguments)
