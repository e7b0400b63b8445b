"""
Whether another server has taken over from a data server, so that a restart of the process loses nothing.

A replica that only follows is not enough: clients write to the process until it stops, and what they write
last may not have arrived. One that was promoted has all of it if the process took nothing since: either the
process follows it by now, or its history ends where the other one's begins. Source: Valkey documentation,
Replication; INFO, section replication: ``master_replid2``, ``second_repl_offset``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from medic8.errors import Medic8Error
from medic8.model.target import Target
from medic8.model.wording import shown, size
from medic8.targets.facts import Facts
from medic8.targets.process.found import care_of
from medic8.targets.process.living import Living

#: A process that follows may be so far behind: it holds nothing that the other one does not. Our choice.
MOST_BEHIND_BYTES = 1 << 20


def why_not_taken_over(target: Target, process: Living) -> str:
    """
    Why a restart of *process* may lose data that no other server has; empty if one has taken over.

    Both servers are asked, and nothing is changed.
    """
    care = care_of(target)
    if care.data_at is None or care.promoted is None:
        return 'no "promoted" names a server that took over'
    try:
        theirs = _asked(care.promoted.get_secret_value(), target.timeout_s)[0]
        ours, clients = _asked(care.data_at.get_secret_value(), target.timeout_s)
        # Asked again: what the process follows goes on meanwhile.
        after = _asked(care.promoted.get_secret_value(), target.timeout_s)[0]
    except Medic8Error as exc:
        return f"it cannot be told whether another server took over: {exc}"
    if ours.whole("process_id") != process.pid:
        found = ours.text("process_id") or "of an unknown number"
        return f'the server at "data_at" is process {found}, and not {process.pid}'
    if theirs.get("run_id") != after.get("run_id"):
        return 'the server at "promoted" was started again while it was looked at'
    return judge_taking_over(ours, after, clients)


def is_told_who_took_over(target: Target) -> bool:
    """Whether the configuration names a server that may have taken over."""
    return care_of(target).promoted is not None


def judge_taking_over(ours: Facts, theirs: Facts, clients: Sequence[Mapping[str, Any]]) -> str:
    """
    Why the promoted server may lack something; empty if it has all.

    Args:
        ours: Sections ``server`` and ``replication`` of INFO, of the process that is to be restarted.
        theirs: The same of the promoted server, asked later.
        clients: Ordinary ones of the process, as ``CLIENT LIST`` has them, but for the one that asked.
    """
    if ours.get("run_id") == theirs.get("run_id"):
        return '"data_at" and "promoted" lead to the same server'
    if theirs.get("role") != "master":
        return "the other server is still a replica: it was not promoted"
    if replicas := ours.whole("connected_slaves"):
        return f"{replicas} replicas still follow the process, and would lose their copy with it"
    if ours.get("role") == "slave":
        return _behind(ours, theirs)
    return _apart(ours, theirs) or _used(clients)


def _behind(ours: Facts, theirs: Facts) -> str:
    """Of a process that is a replica by now."""
    if ours.get("master_replid") != theirs.get("master_replid"):
        return "the process follows another server than the promoted one"
    if ours.get("master_link_status") != "up":
        return "the process follows the promoted server, and the link is down"
    if ours.get("slave_read_only") != "1":
        return "the process is a replica that takes writes of its own"
    told, known = theirs.whole("master_repl_offset"), ours.whole("slave_repl_offset")
    if told is None or known is None:
        return "the servers do not tell how far they are"
    if not 0 <= told - known <= MOST_BEHIND_BYTES:
        return (
            f"the process is {size(abs(told - known))} away from the promoted server; the limit is "
            f"{size(MOST_BEHIND_BYTES)}"
        )
    return ""


def _apart(ours: Facts, theirs: Facts) -> str:
    """Of a process that still counts itself a primary: its history must end where the other one's begins."""
    if not ours.get("master_replid") or theirs.get("master_replid2") != ours.get("master_replid"):
        return "the other server was never a replica of the process, or is one of an earlier history"
    begins, ends = theirs.whole("second_repl_offset"), ours.whole("master_repl_offset")
    if begins is None or ends is None:
        return "the servers do not tell how far they are"
    if ends >= begins:
        return f"the process took {size(ends - begins + 1)} since the other server was promoted"
    return ""


def _used(clients: Sequence[Mapping[str, Any]]) -> str:
    # Whatever they are called: programs that write grids by `medic8.connection` have the name of our looks.
    if not clients:
        return ""
    one = shown(str(clients[0].get("addr", "")), 60)
    return (
        f"{len(clients)} clients are still connected to the process, such as {one}: have them go to the other"
    )


def _asked(url: str, timeout_s: float) -> tuple[Facts, list[Mapping[str, Any]]]:
    from medic8.targets.valkey import client as server  # noqa: PLC0415 - it is heavy, and seldom needed

    with server.connection(url, timeout_s=timeout_s) as client:
        facts = {**server.info(client, "server"), **server.info(client, "replication")}
        ours = str(client.client_id())
        clients = cast("list[Mapping[str, Any]]", client.client_list(_type="normal"))
    others = [each for each in clients if str(each.get("id")) != ours]
    return Facts({name: str(value) for name, value in facts.items()}), others


def server_problems(target: Target) -> tuple[str, ...]:
    """What is wrong with the addresses of both servers, one sentence each, without credentials."""
    from medic8.errors import ConfigurationError  # noqa: PLC0415
    from medic8.targets.valkey.client import options_of  # noqa: PLC0415 - as above

    care, wrong = care_of(target), []
    for name, address in (("data_at", care.data_at), ("promoted", care.promoted)):
        try:
            if address is not None:
                options_of(address.get_secret_value())
        except ConfigurationError as exc:
            wrong.append(f"field 'process.{name}': {exc}")
    return tuple(wrong)
