"""Run a responder in this process, whose environment says which server, configuration and home it has."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from medic8.errors import Medic8Error

#: Most runs at a time: each is a process.
LIMIT = 16


def main(words: Sequence[str] | None = None) -> None:
    """Work for a pool until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="deployments.responder", description=__doc__)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--queue", action="append", default=[])
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=LIMIT)
    parser.add_argument("--poll", type=float, default=5.0)
    parser.add_argument("--drain", type=float, default=5.0)
    parser.add_argument("--grace", type=float, default=120.0)
    parser.add_argument("--import", dest="modules", action="append", default=[])
    said = parser.parse_args(words)
    try:
        _serve(said)
    except Medic8Error as exc:
        sys.exit(f"medic8: {exc}")


def _serve(said: argparse.Namespace) -> None:
    serve(
        said.pool,
        queues=said.queue,
        name=said.name,
        folder=said.folder,
        limit=said.limit,
        poll_s=said.poll,
        drain_s=said.drain,
        grace_s=said.grace,
        modules=said.modules,
    )


def serve(
    pool: str,
    *,
    queues: Sequence[str],
    name: str,
    folder: Path,
    limit: int = LIMIT,
    poll_s: float = 5.0,
    drain_s: float = 5.0,
    grace_s: float = 120.0,
    modules: Sequence[str] = (),
) -> None:
    """Work for *pool* until SIGTERM or Ctrl-C; the arguments are those of `Responder`."""
    # Who asks for help need not wait for Prefect.
    from deployments.responder.code import begin_anew  # noqa: PLC0415
    from deployments.responder.warm import MODULES  # noqa: PLC0415
    from deployments.responder.worker import Responder  # noqa: PLC0415

    async def work() -> bool:
        responder = Responder(
            pool,
            queues=queues,
            name=name,
            folder=folder,
            limit=limit,
            poll_s=poll_s,
            drain_s=drain_s,
            grace_s=grace_s,
            modules=modules or MODULES,
        )
        await responder.start()
        return responder.is_renewed

    if asyncio.run(work()):
        begin_anew()


if __name__ == "__main__":
    main()
