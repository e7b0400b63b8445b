"""How a request to an endpoint ended, what that means, and what a person can do."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from medic8.model.frozen import Frozen


class Ending(StrEnum):
    """How one request ended."""

    ANSWERED = "answered"  #: with a status, whatever it says
    UNRESOLVED = "name not found"
    NAME_SERVER = "time-out of the name server"
    REFUSED = "refused"
    NO_ROUTE = "no route"
    DROPPED = "time-out of the connection"
    TLS_SILENT = "time-out of the TLS handshake"
    TLS_EXPIRED = "certificate expired"
    TLS_NOT_YET = "certificate not yet valid"
    TLS_NAME = "certificate of another name"
    TLS_ISSUER = "certificate of an unknown issuer"
    TLS_OTHER = "TLS handshake failed"
    SILENT = "time-out of the answer"
    ENDLESS = "time-out of the body"
    CLOSED = "closed without an answer"
    RESET = "reset"
    CUT = "answer cut off"
    NO_HTTP = "another protocol"
    CIRCLE = "redirects without end"


#: The request never came as far as whoever serves the endpoint.
NOT_REACHED = frozenset(Ending) - {Ending.ANSWERED, Ending.CUT, Ending.ENDLESS, Ending.CIRCLE}


#: What fails may be on our side: our name server, way or trust. Others may be served all the same.
MAY_BE_OURS = frozenset(
    {Ending.UNRESOLVED, Ending.NAME_SERVER, Ending.NO_ROUTE, Ending.TLS_ISSUER, Ending.TLS_NOT_YET}
)


class EndingWords(Frozen):
    """
    One ending in plain words.

    Attributes:
        means: What is true of the endpoint or the way to it.
        advice: What a person can do, one command or setting each.
    """

    means: str
    advice: tuple[str, ...]


_TLS_SHOW = "openssl s_client -connect HOST:PORT -servername HOST -showcerts shows what is presented"

ENDING_WORDS: Mapping[Ending, EndingWords] = {
    Ending.UNRESOLVED: EndingWords(
        means="the name has no address: nothing was sent to anybody",
        advice=("getent hosts NAME on this machine; correct the url, /etc/hosts or the zone",),
    ),
    Ending.NAME_SERVER: EndingWords(
        means="the name server did not answer in time: nothing was sent to anybody",
        advice=("resolvectl status, or /etc/resolv.conf, tells who is asked; dig NAME @SERVER asks one",),
    ),
    Ending.REFUSED: EndingWords(
        means="the machine answers and nobody listens at that port: the service is not running, or listens "
        "elsewhere",
        advice=("on that host: ss -ltnp for the port, and the state of the service",),
    ),
    Ending.NO_ROUTE: EndingWords(
        means="there is no way to that address: the host is down, or a router or firewall says so",
        advice=("ip route get ADDRESS on this machine, and ping ADDRESS",),
    ),
    Ending.DROPPED: EndingWords(
        means="nobody answers the first packet: the host is down, a firewall drops what we send, or the "
        "accept queue is full",
        advice=(
            "ping ADDRESS: if it answers, a firewall drops this port, or the service does not accept",
            "on that host: ss -ltn shows under Recv-Q how many wait to be accepted",
        ),
    ),
    Ending.TLS_SILENT: EndingWords(
        means="the TLS handshake is not answered: the service hangs, or speaks no TLS",
        advice=(_TLS_SHOW,),
    ),
    Ending.TLS_EXPIRED: EndingWords(
        means="the certificate that is presented, or one of its issuers', has expired",
        advice=("renew it, and have the service read it again", _TLS_SHOW),
    ),
    Ending.TLS_NOT_YET: EndingWords(
        means="the certificate that is presented is not valid yet, or a clock is wrong",
        advice=("compare the clocks of both machines: timedatectl", _TLS_SHOW),
    ),
    Ending.TLS_NAME: EndingWords(
        means="the certificate that is presented is for another name than the url's",
        advice=("have it issued for this name, or use a name in the url that it has", _TLS_SHOW),
    ),
    Ending.TLS_ISSUER: EndingWords(
        means="the certificate that is presented is by an issuer that is not trusted here, or those between "
        "it and the issuer are not presented",
        advice=(
            "the service has to present the certificates between its own and the CA's as well",
            "ca_file under [target.request] names a CA of your own",
            _TLS_SHOW,
        ),
    ),
    Ending.TLS_OTHER: EndingWords(
        means="the TLS handshake failed: no version or cipher in common, no TLS there, or a certificate of "
        "ours is wanted",
        advice=(_TLS_SHOW,),
    ),
    Ending.SILENT: EndingWords(
        means="the request was taken and not answered in time: the service hangs, or waits for what it "
        "stands on",
        advice=(
            "look at the service's process and at what it waits for: its database, its queue, its own calls",
            "try from its own host: if it answers there, look at what is between",
        ),
    ),
    Ending.ENDLESS: EndingWords(
        means="the answer began and did not end in time: it streams without end, or very slowly",
        advice=("have the url name a small answer, such as /health", "look what the service waits for"),
    ),
    Ending.CLOSED: EndingWords(
        means="the connection was closed without an answer, as a proxy does whose service is gone, or a "
        "service that dies of the request",
        advice=("look at the service's log and uptime; then at proxies between",),
    ),
    Ending.RESET: EndingWords(
        means="the connection opened and was reset, as a firewall or proxy does, or a service that dies",
        advice=("look at the service's log and uptime; then at firewalls and proxies between",),
    ),
    Ending.CUT: EndingWords(
        means="the answer began, and the connection was closed before its end: the service dies of it, or a "
        "proxy between gives up",
        advice=(
            "look at the service's log and uptime; then at what proxies between allow: time, size, disk",
            "curl -so /dev/null URL tells how much came of how much",
        ),
    ),
    Ending.NO_HTTP: EndingWords(
        means="what answers there is no HTTP, or its headers are larger than a client takes",
        advice=("check host, port and scheme of the url; ss -ltnp on that host tells who listens there",),
    ),
    Ending.CIRCLE: EndingWords(
        means="each answer sends on to another, in a circle or more than five times",
        advice=("curl -sIL --max-redirs 5 URL shows each step; look at the rewriting of proxy and service",),
    ),
}
