from __future__ import annotations

import re
from pathlib import Path

import pytest

from medic8.local.scratch import ScratchValkey

GUIDE = Path(__file__).parents[3] / "docs" / "grid-library.md"


def test_the_guide_s_examples_run(
    valkey_url: str, valkey_server: ScratchValkey, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block of the guide, one after the other, inside the block that the first one opens."""
    assert valkey_url
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    lines = "\n".join(blocks[1:]).splitlines()
    inner = "".join(f"    {line}\n" if line else "\n" for line in lines)
    source = blocks[0].replace("unix:///run/valkey/valkey.sock", valkey_server.socket_url) + inner
    exec(compile(source, str(GUIDE), "exec"), {})  # noqa: S102  # the guide's own examples
    assert capsys.readouterr().out.startswith("440\n")
