"""Read a grid's backup the slow and obvious way, sharing no code with what wrote it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import zstandard


def frame(content: bytes) -> bytes:
    """What is in a frame that is not encrypted."""
    kind, _ = struct.unpack_from("<BI", content)
    payload = content[5:]
    return zstandard.ZstdDecompressor().decompress(payload) if kind == 1 else payload


def blocks_of(folder: Path, backup_id: str) -> dict[int, tuple[int, bytes]]:
    """Known pages and 64 KiB of every block of the backup in *folder*, which is that of one grid."""
    found = {}
    for part in json.loads((folder / "manifests" / f"{backup_id}.json").read_text())["parts"]:
        body = frame((folder / "index" / f"{part['number']:05d}-{part['file']}.m8i").read_bytes())
        magic, extent, packs, blocks = struct.unpack_from("<4sIII", body)
        assert (magic, extent) == (b"m8bt", part["number"])
        files = []
        for at in range(packs):
            name = body[16 + 20 * at : 32 + 20 * at].hex()
            files.append((folder / "packs" / f"{extent:05d}-{name}.m8p").read_bytes())
        for at in range(blocks):
            place, pages, pack, offset, length = struct.unpack_from(
                "<HHIII", body, 16 + 20 * packs + 176 * at
            )
            found[extent * 1024 + place] = (pages, frame(files[pack][offset : offset + length]))
    return found
