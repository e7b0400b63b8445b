"""What a server says that answers and does not let us in."""

from __future__ import annotations

from medic8.analysis.analyzer import UNREACHABLE
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.wording import shown
from medic8.targets.valkey.looks.error_words import ERROR_WORDS

#: By what the client library leaves of the message of a server that does not let us in.
_NOT_LET_IN = (
    ("max number of clients", "CLIENTS"),
    ("Authentication required", "NOAUTH"),
    ("protected mode", "DENIED"),
    ("DENIED", "DENIED"),
    ("invalid username-password", "WRONGPASS"),
    ("invalid password", "WRONGPASS"),
    ("user is disabled", "WRONGPASS"),
)

_OUR_ADVICE = {
    "CLIENTS": (
        "end clients that nobody needs: CLIENT LIST and CLIENT KILL over a connection that is open still",
        "CONFIG SET maxclients N, as far as the open files of the server's process allow",
    ),
    "NOAUTH": ("put user and password into the target's url",),
    "WRONGPASS": (
        "set the user and password in the target's url to those that the server knows",
        "ACL LIST on the server tells which users there are and which are off; ACL LOG tells who was refused",
    ),
    "DENIED": ERROR_WORDS["DENIED"].advice,
}


def judge_not_let_in(message: str) -> tuple[Finding, ...]:
    """
    What keeps us out; nothing if the message says nothing that we know.

    A limit of connections that is reached keeps others out as well: that is an
    exhaustion of its own, and that we are not let in follows from it.

    Args:
        message: What the client library says.
    """
    known = next((word for sign, word in _NOT_LET_IN if sign in message), None)
    if known is None:
        return ()
    means = (
        "as many clients are connected as maxclients allows"
        if known == "CLIENTS"
        else ERROR_WORDS[known]
        .means.replace("somebody logs in", "we log in")
        .replace("somebody sends commands without having", "we have not")
    )
    finding = Finding(
        code=UNREACHABLE,
        severity=Severity.CRITICAL,
        text=f"{shown(message, 300)}: {means}",
        about="connection",
        evidence=(Evidence(what="connection", seen=shown(message, 300)),),
        advice=_OUR_ADVICE[known],
    )
    if known != "CLIENTS":
        return (finding,)
    full = finding.model_copy(
        update={
            "code": "clients.rejected",
            "about": "clients",
            "text": f"connections are turned away: {means}",
        }
    )
    return full, finding
