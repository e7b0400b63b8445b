"""What it means if a server cannot be reached, and what a person can do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from medic8.model.frozen import Frozen


class Ending(StrEnum):
    """How an attempt to reach a server ended."""

    ANSWERS = "answers"  #: it answers after all
    UNRESOLVED = "name not found"
    REFUSED = "refused"
    NO_ROUTE = "no route"
    NO_SOCKET = "no socket"
    DROPPED = "time-out of the connection"
    QUEUE_FULL = "accept queue full"
    SILENT = "time-out of the answer"
    CLOSED = "closed at once"
    RESET = "reset"
    OTHER = "another protocol"
    WANTS_TLS = "TLS is wanted"
    NO_TLS = "no TLS there"
    TLS_EXPIRED = "certificate expired"
    TLS_NOT_YET = "certificate not yet valid"
    TLS_NAME = "certificate of another name"
    TLS_ISSUER = "certificate of an unknown issuer"
    TLS_CLIENT = "our certificate refused"
    TLS_OTHER = "TLS handshake failed"


class DoorWords(Frozen):
    """
    One ending in plain words.

    Attributes:
        means: What is true of the server or the way to it.
        advice: What a person can do, one command or setting each.
    """

    means: str
    advice: tuple[str, ...]


_TLS_SHOW = "openssl s_client -connect HOST:PORT -showcerts shows the certificate that the server presents"

DOOR_WORDS: Mapping[Ending, DoorWords] = {
    Ending.UNRESOLVED: DoorWords(
        means="the name in the address has no address: nothing was sent to any server",
        advice=("getent hosts NAME on this machine; correct the url, /etc/hosts or the name server",),
    ),
    Ending.REFUSED: DoorWords(
        means="the machine answers and nobody listens at that port: the server is not running, listens at "
        "another port, or is bound to another address",
        advice=(
            "look on the server's host whether it runs: systemctl status valkey, and ss -ltn for its port",
            "CONFIG GET bind there: an address that it is not bound to refuses",
        ),
    ),
    Ending.NO_ROUTE: DoorWords(
        means="there is no way to that address: the host is down, or a router or firewall says so",
        advice=("ip route get ADDRESS on this machine, and ping ADDRESS",),
    ),
    Ending.NO_SOCKET: DoorWords(
        means="there is no Unix socket at that path, or our user may not use it",
        advice=("CONFIG GET unixsocket and unixsocketperm on the server; ls -l PATH",),
    ),
    Ending.DROPPED: DoorWords(
        means="nobody answers the first packet: the host is down, or a firewall drops what we send",
        advice=(
            "ping ADDRESS: if it answers, a firewall or security group drops this port",
            "tcpdump on the server's host tells whether our packets arrive",
        ),
    ),
    Ending.QUEUE_FULL: DoorWords(
        means="the server's accept queue is full: it does not take new connections, since it is stopped, "
        "hangs, or more come at once than it can take",
        advice=(
            "look at its process: a state of T is stopped (kill -CONT PID), 100 % CPU is a long command",
            "tcp-backlog and net.core.somaxconn bound the queue; raise both for bursts of connections",
        ),
    ),
    Ending.SILENT: DoorWords(
        means="the connection opens and nothing is answered: the kernel is there and the server's process "
        "hangs or is stopped, or something between swallows the answer",
        advice=(
            "look at its process: a state of T is stopped, D waits for a disk, 100 % CPU is a long command",
            "try from the server's own host: if it answers there, look at what is between",
        ),
    ),
    Ending.CLOSED: DoorWords(
        means="the connection is closed at once and without a word, as a proxy does whose server is gone",
        advice=("try from the server's own host, around proxies and load balancers; look at their logs",),
    ),
    Ending.RESET: DoorWords(
        means="the connection opens and is reset, as a firewall or proxy does, or a server that dies",
        advice=("look at the server's log and uptime; then at firewalls and proxies between",),
    ),
    Ending.OTHER: DoorWords(
        means="something answers that is no Valkey or Redis server",
        advice=("check host and port of the url; ss -ltnp on that host tells who listens there",),
    ),
    Ending.WANTS_TLS: DoorWords(
        means="the server speaks TLS at that port, and the url says no TLS",
        advice=("valkeys:// in the target's url, with ssl_ca_certs=FILE for a CA of your own",),
    ),
    Ending.NO_TLS: DoorWords(
        means="the server answers without TLS at that port, and the url asks for TLS",
        advice=("valkey:// in the target's url, or the port of CONFIG GET tls-port",),
    ),
    Ending.TLS_EXPIRED: DoorWords(
        means="the certificate that the server presents, or one of its issuers', has expired",
        advice=(
            "renew it; then CONFIG SET tls-cert-file FILE tls-key-file FILE has the server read it again",
            _TLS_SHOW,
        ),
    ),
    Ending.TLS_NOT_YET: DoorWords(
        means="the certificate that the server presents is not valid yet, or a clock is wrong",
        advice=("compare the clocks of both machines: timedatectl", _TLS_SHOW),
    ),
    Ending.TLS_NAME: DoorWords(
        means="the certificate that the server presents is for another name than the url's",
        advice=("use a name in the url that the certificate has, or have it issued for this one", _TLS_SHOW),
    ),
    Ending.TLS_ISSUER: DoorWords(
        means="the certificate that the server presents is by an issuer that is not trusted here",
        advice=(
            "ssl_ca_certs=FILE in the target's url names a CA of your own",
            "the server has to send certificates between its own and the CA's in tls-cert-file",
            _TLS_SHOW,
        ),
    ),
    Ending.TLS_CLIENT: DoorWords(
        means="the server wants a certificate from us, and got none or one that it does not trust",
        advice=(
            "ssl_certfile=FILE and ssl_keyfile=FILE in the target's url",
            "CONFIG GET tls-auth-clients: no lets clients in without one",
        ),
    ),
    Ending.TLS_OTHER: DoorWords(
        means="the TLS handshake failed: no version or cipher in common, or a certificate not accepted",
        advice=("CONFIG GET tls-protocols, tls-ciphers and tls-ciphersuites on the server", _TLS_SHOW),
    ),
}
