"""
Clients that vanished, a keep-alive that is off, a certificate that waits, and what is exact about them.

*The same*: somebody else closes a client that is to be closed, sets the setting after we did, or has the
certificate read as well. A client that can vanish needs a kernel that lets us break off a connection without
a packet, and TLS needs a server that was built with it; without them the scenes say so and are left out.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from medic8.local.scratch import scratch_valkey
from medic8.targets.valkey.client import options_of
from medic8.targets.valkey.looks.certificate import presented_at
from tests.crash.memory_scenes import ServerScene, meaning
from tests.crash.reader import Ended, Verdict, misplaced
from tests.crash.scenes import Expected, Scene, SceneMaker, Written, around, plain, plan_by
from tests.raw_clients import RawClient, clients_of
from tests.targets.valkey.bad_doors import Certified, certify
from tests.targets.valkey.tls_servers import MISSING as NO_TLS
from tests.targets.valkey.tls_servers import put, tls_server
from tests.targets.valkey.vanishing import MISSING as NO_VANISHING
from tests.targets.valkey.vanishing import VanishingClient

_DEAD = 2
_KEEPALIVE = "tcp-keepalive"


class DeadScene(ServerScene):
    """Two clients that vanished, and a living one beside them that is as silent."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "kill_dead_clients")
        self._dead: list[VanishingClient] = []
        self._bystander = RawClient(url, "job")
        self.stage()
        self._made = plan_by("kill_dead_clients", self.target, around(Path("/nonexistent")))
        self.stage()

    def stage(self) -> None:
        """Have two new clients vanish, and the plan mean them."""
        super().stage()
        self.close()
        self._dead = [VanishingClient(self.target.address, "job").vanish() for _ in range(_DEAD)]
        if hasattr(self, "_made"):
            self.plan = meaning(self._made, self._dead)

    def close(self) -> None:
        """Close what is left of them on the server."""
        while self._dead:
            self._dead.pop().leave()

    def meddle(self, rng: random.Random) -> Written:
        """Somebody else closes one of the two, or both."""
        closed = [rng.choice(self._dead)] if rng.random() < 0.7 else self._dead
        for each in closed:
            each.leave()
        return {f"client {each.id}": "" for each in closed}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """Who is not connected was closed by the plan or by somebody else; the living one is."""
        verdict = super().judge(ended, written)
        connected = clients_of(self.target.address)
        if self._bystander.id not in connected:
            verdict.wrong.append("a client that lives was closed")
        steps = {int(step.arguments["client"]): step for step in ended.steps} if ended else {}
        for each in self._dead:
            theirs = f"client {each.id}" in written
            holds = "saved" if each.id in connected else "other" if theirs else "written"
            if ended is None:
                if holds == "written":
                    verdict.wrong.append(f"client {each.id} was closed, and nothing was begun")
            elif problem := misplaced(steps[each.id], holds, theirs=theirs, ended=ended):
                verdict.wrong.append(f"client {each.id}: {problem}")
        return verdict


class KeepaliveScene(ServerScene):
    """A server that asks nobody whether he lives, with a client that vanished."""

    exact_before = False

    def __init__(self, url: str) -> None:
        super().__init__(url, "keep_connections_alive")
        self._dead = VanishingClient(url, "job").vanish()
        self.stage()
        self.plan = plan_by("keep_connections_alive", self.target, around(Path("/nonexistent")))

    def stage(self) -> None:
        """Put it off."""
        super().stage()
        with plain(self.target.address) as client:
            client.config_set(_KEEPALIVE, "0")

    def close(self) -> None:
        """Close what is left of the client on the server."""
        self._dead.leave()

    def meddle(self, rng: random.Random) -> Written:
        """A value of theirs."""
        value = str(rng.randrange(400, 500))
        with plain(self.target.address) as client:
            client.config_set(_KEEPALIVE, value)
        return {f"setting {_KEEPALIVE}": value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """It is off, or as planned, or as somebody else set it last."""
        verdict = super().judge(ended, written)
        with plain(self.target.address) as client:
            now = client.config_get(_KEEPALIVE)[_KEEPALIVE]
        theirs = written.get(f"setting {_KEEPALIVE}")
        if theirs not in {None, now}:
            verdict.lost.append(f"setting {_KEEPALIVE}")
        holds = {"0": "saved", "300": "written"}.get(now, "other")
        if ended is None:
            if holds != "saved" and theirs is None:
                verdict.wrong.append(f"{_KEEPALIVE} is {now}, and nothing was begun")
        elif problem := misplaced(ended.steps[0], holds, theirs=theirs is not None, ended=ended):
            verdict.wrong.append(f"{_KEEPALIVE} is {now}: {problem}")
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All keys, and the setting."""
        with plain(self.target.address) as client:
            return {**super().contents(), _KEEPALIVE: client.config_get(_KEEPALIVE)[_KEEPALIVE].encode()}


class CertificateScene(ServerScene):
    """A server that presents an old certificate while a renewed one lies in its file."""

    def __init__(self, url: str, used: Certified, old: Certified, new: Certified) -> None:
        super().__init__(url, "reload_certificate")
        self._used, self._old, self._new = used, old, new
        self.stage()
        self.plan = plan_by("reload_certificate", self.target, around(Path("/nonexistent")))

    def stage(self) -> None:
        """Have it present the old one, then renew the files."""
        super().stage()
        put(self._old, self._used)
        self._reload()
        put(self._new, self._used)

    def meddle(self, rng: random.Random) -> Written:
        """Somebody else has it read the files, and sets a key."""
        self._reload()
        return {**super().meddle(rng), "certificate new": ""}

    def _reload(self) -> None:
        with plain(self.target.address) as client:
            told = client.config_get("tls-*-file")
            words = [word for name in ("tls-cert-file", "tls-key-file") for word in (name, told[name])]
            client.execute_command("CONFIG", "SET", *words)

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """What is healthy presents the new one; nothing begun and nobody else, the old one."""
        verdict = super().judge(ended, written)
        options = options_of(self.target.address)
        peer = (str(options["host"]), int(options["port"]))
        found = presented_at(self.target.address, peer, timeout_s=10).serial_number
        is_new = found == self._new.made.serial_number
        if not is_new and found != self._old.made.serial_number:
            verdict.wrong.append("it presents a certificate that nobody gave it")
        is_ours = ended is not None and ended.steps[0].state in {"done", "committed"}
        if is_ours and not is_new:
            verdict.wrong.append(
                f"a step is {ended.steps[0].state if ended else ''}, and the old one is presented"
            )
        if is_new and ended is None and "certificate new" not in written:
            verdict.wrong.append("it was read again, and nothing was begun")
        return verdict


@contextlib.contextmanager
def _certificate(folder: Path) -> Iterator[Scene]:
    folder.mkdir(parents=True)
    issuer = certify(folder, "issuer")
    used, new = (certify(folder, name, by=issuer, days=90) for name in ("used", "new"))
    old = certify(folder, "old", by=issuer, days=40)
    put(old, used)
    with tls_server(folder, used, issuer) as url:
        yield CertificateScene(url, used, old, new)


def _on_a_server(make: Callable[[str], DeadScene | KeepaliveScene]) -> SceneMaker:
    @contextlib.contextmanager
    def scene(folder: Path) -> Iterator[Scene]:
        (folder / "server").mkdir(parents=True)
        with scratch_valkey(folder / "server") as server:
            made = make(server.url)
            try:
                yield made
            finally:
                made.close()

    return scene


SCENES: dict[str, Expected] = {
    "reload_certificate": Expected(_certificate, missing=NO_TLS),
    "keep_connections_alive": Expected(_on_a_server(KeepaliveScene), missing=NO_VANISHING),
    "kill_dead_clients": Expected(_on_a_server(DeadScene), missing=NO_VANISHING),
}
