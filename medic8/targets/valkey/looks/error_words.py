"""What a server's error messages mean, and what a person can do: errors are symptoms."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.model.frozen import Frozen
from medic8.model.issue import IssueType, Severity


class ErrorWords(Frozen):
    """
    One kind of error in plain words.

    Attributes:
        means: What the server refuses, and why.
        advice: What a person can do, one command or setting each.
        issue: What such errors are a sign of; None where the caller errs and the server is well.
        severity: How urgent it is while such errors are being answered.
    """

    means: str
    advice: tuple[str, ...] = ()
    issue: IssueType | None = None
    severity: Severity = Severity.WARNING


#: By the word that the message begins with. Source: Valkey's source, ``createSharedObjects`` in server.c.
ERROR_WORDS: Mapping[str, ErrorWords] = {
    "MISCONF": ErrorWords(
        means="writes are refused because the last snapshot or append-only file could not be written to disk",
        advice=(
            "look at the server's log for the reason: no space, no permission, no memory for the fork",
            "make room, or let the server's user write to the folder that CONFIG GET dir names",
            "then BGSAVE; writes are accepted again after the first snapshot that works",
        ),
        issue=IssueType.RESOURCE_EXHAUSTION,
        severity=Severity.ERROR,
    ),
    "READONLY": ErrorWords(
        means="somebody writes to a replica, which takes writes from its primary only",
        advice=(
            "point the writers at the primary: ROLE says where it is",
            "let clients ask Sentinel or the cluster for it, so that they follow a fail-over",
        ),
        issue=IssueType.SYNCHRONIZATION,
        severity=Severity.ERROR,
    ),
    "OOM": ErrorWords(
        means="writes are refused because memory is at maxmemory and nothing may be evicted",
        advice=(
            "see which keys are large or never expire: the diagnostic keys",
            "CONFIG SET maxmemory BYTES to a higher limit, if the host has the memory",
            "or let it evict, if it is a cache: CONFIG SET maxmemory-policy allkeys-lru",
        ),
        issue=IssueType.RESOURCE_EXHAUSTION,
        severity=Severity.ERROR,
    ),
    "LOADING": ErrorWords(
        means="the server is reading its data from disk and answers almost nothing until it has done so",
        advice=("wait: INFO persistence tells loading_eta_seconds",),
        issue=IssueType.SLOW_OPERATIONS,
        severity=Severity.ERROR,
    ),
    "BUSY": ErrorWords(
        means="a script or function runs for longer than busy-reply-threshold, and nothing else is answered",
        advice=(
            "SCRIPT KILL ends a script, FUNCTION KILL a function, as long as it has written nothing",
            "one that has written can only be waited for, or ended with the server and what it did not save",
        ),
        issue=IssueType.SLOW_OPERATIONS,
        severity=Severity.CRITICAL,
    ),
    "NOREPLICAS": ErrorWords(
        means="writes are refused because fewer replicas are in step than min-replicas-to-write asks for",
        advice=(
            "bring the replicas back: INFO replication lists those that are left",
            "CONFIG SET min-replicas-to-write N lowers the demand, and with it what a fail-over keeps",
        ),
        issue=IssueType.SYNCHRONIZATION,
        severity=Severity.ERROR,
    ),
    "MASTERDOWN": ErrorWords(
        means="this replica has lost its primary, and is told to give no stale data meanwhile",
        advice=(
            "bring the primary or the network to it back: INFO replication names its address",
            "CONFIG SET replica-serve-stale-data yes lets it answer from what it has",
        ),
        issue=IssueType.SYNCHRONIZATION,
        severity=Severity.ERROR,
    ),
    "WRONGPASS": ErrorWords(
        means="somebody logs in with a user or password that the server does not know, or a user that is off",
        advice=(
            "ACL LOG tells who tries, and from where",
            "ACL LIST tells which users there are and which are off",
        ),
        issue=IssueType.NETWORK,
    ),
    "NOAUTH": ErrorWords(
        means="somebody sends commands without having logged in",
        advice=("give the client the password that the server asks for",),
        issue=IssueType.NETWORK,
    ),
    "NOPERM": ErrorWords(
        means="a user sends a command, or names a key or channel, that its ACL does not allow",
        advice=(
            "ACL LOG tells which user and which command; ACL GETUSER NAME tells what it may do",
            "ACL SETUSER NAME +COMMAND allows one command; then ACL SAVE, or the next restart forgets it",
        ),
        issue=IssueType.NETWORK,
    ),
    "DENIED": ErrorWords(
        means="the server is in protected mode: without a password it answers its own host only",
        advice=("set a password, bind the addresses it is meant to answer on, then protected-mode no",),
        issue=IssueType.NETWORK,
    ),
    "CLUSTERDOWN": ErrorWords(
        means="the cluster does not serve this slot: its primary is gone, or it is nobody's",
        advice=("CLUSTER INFO and CLUSTER SHARDS tell which part is missing; bring it back",),
        issue=IssueType.SYNCHRONIZATION,
        severity=Severity.ERROR,
    ),
    "TRYAGAIN": ErrorWords(means="keys of one command are on both sides of a slot that is being moved"),
    "MOVED": ErrorWords(means="the slot is on another node; a client of a cluster follows by itself"),
    "ASK": ErrorWords(
        means="the slot is being moved to another node; a client of a cluster follows by itself"
    ),
    "CROSSSLOT": ErrorWords(means="keys of one command are in several slots of a cluster"),
    "EXECABORT": ErrorWords(means="a transaction was dropped because one of its commands was refused"),
    "NOSCRIPT": ErrorWords(means="a script is not known yet; clients send it and go on"),
    "UNKILLABLE": ErrorWords(means="a script has written already and cannot be ended"),
    "WRONGTYPE": ErrorWords(means="a command was used on a key of another type"),
    "BUSYGROUP": ErrorWords(means="a consumer group was created that is there already"),
    "NOGROUP": ErrorWords(means="a stream or consumer group does not exist"),
    "BUSYKEY": ErrorWords(means="a key was to be restored where one is already"),
    "NOPROTO": ErrorWords(means="a client asked for a version of the protocol that the server lacks"),
    "ERR": ErrorWords(means="a command was unknown, wrongly written or not possible"),
}


def explain(message: str) -> str:
    """*message* with what it means, if its first word is one we know and not the general ``ERR``."""
    words = ERROR_WORDS.get(message.split(" ", 1)[0])
    return message if words is None or message.startswith("ERR") else f"{message} ({words.means})"
