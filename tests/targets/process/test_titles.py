"""A program that writes a title over its command line and environment, as servers do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from medic8.errors import RefusedError
from medic8.local.loopback import free_port
from medic8.model.plan import Step, StepClass
from medic8.model.target import ProcessCare, Target
from medic8.targets.kind import Surroundings
from medic8.targets.process.acts.restart import RESTART
from medic8.targets.process.living import living
from medic8.targets.process.setup import Meant, setup_of
from tests.targets.process.diagnosed import KIND
from tests.targets.process.supervised import until
from tests.targets.valkey.debian_server import PROGRAM, needs_redis


@needs_redis
def test_an_environment_under_a_title_is_not_told_and_nothing_is_started_without_it(
    tmp_path: Path, around: Surroundings
) -> None:
    """What is left there is not what it had: it would come back with another one, and nobody would notice."""
    words = (str(PROGRAM), "--port", str(free_port(())), "--save", "", "--dir", str(tmp_path))
    environment = {"PATH": os.defpath, "TZ": "Asia/Tokyo"}
    file = tmp_path / "pid"
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            command_line = Path(f"/proc/{server.pid}/cmdline")
            until(lambda: b" *:" in command_line.read_bytes(), "its title")
            file.write_text(str(server.pid))
            with living(server.pid) as process:
                meant = Meant(process=process.identity, setup=setup_of(process).digests)
            assert set(meant.setup) == {"program", "limits", "working folder", "user"}
            step = Step(
                title="restart",
                action=RESTART,
                arguments=meant.model_dump(mode="json"),
                touches="web",
                step_class=StepClass.ONE_WAY,
            )

            def prepared(*start: str) -> bytes | None:
                target = Target(
                    name="web",
                    kind="process",
                    url=SecretStr(f"pidfile:{file}"),
                    process=ProcessCare(start=start, holds_data=False),
                )
                with KIND.open_session(target, around) as session:
                    return session.prepare(step)

            with pytest.raises(RefusedError, match=r"the environment of .* cannot be told"):
                prepared(*words)
            assert prepared("env", "TZ=Asia/Tokyo", *words) == b"another process"
        finally:
            server.terminate()
