"""Frames: what comes out is what went in, or damage; never more memory than allowed."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from medic8.backups.errors import BackupDamagedError
from medic8.backups.frames import Secrecy
from medic8.errors import ConfigurationError

KEY = SecretStr("0123456789abcdef" * 4)
FILE = bytes(range(16))
MOST = 1 << 20

secrecies = st.sampled_from([Secrecy(None), Secrecy(KEY)])


@given(secrecy=secrecies, content=st.binary(max_size=5000) | st.integers(0, 100_000).map(bytes))
def test_a_frame_gives_its_content_back(secrecy: Secrecy, content: bytes) -> None:
    """With and without a key, whether it compresses or not."""
    frames = secrecy.file(FILE)
    frame = frames.make(content, 7)
    assert frames.open(frame, most=len(content)) == content
    if content:
        with pytest.raises(BackupDamagedError, match="the limit is"):
            frames.open(frame, most=len(content) - 1)


@given(content=st.binary(min_size=1, max_size=500), at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_of_an_encrypted_frame_is_damage(content: bytes, at: int, bit: int) -> None:
    """Its head is authenticated, too."""
    frames = Secrecy(KEY).file(FILE)
    frame = bytearray(frames.make(content, 3))
    frame[at % len(frame)] ^= 1 << bit
    with pytest.raises(BackupDamagedError):
        frames.open(bytes(frame), most=MOST)


@given(junk=st.binary(max_size=300), secrecy=secrecies)
def test_junk_is_damage(junk: bytes, secrecy: Secrecy) -> None:
    """Nothing but content or damage comes out of any bytes."""
    try:
        content = secrecy.file(FILE).open(junk, most=1000)
    except BackupDamagedError:
        return
    assert len(content) <= 1000


def test_a_frame_that_claims_to_be_huge_costs_no_memory() -> None:
    """A gigabyte of zeros fits into a few kilobytes; it is refused by what it says of itself."""
    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    nameless = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20))
    frames = Secrecy(None).file(FILE)
    tracemalloc.start()
    for payload in (bomb, nameless):
        with pytest.raises(BackupDamagedError, match="the limit is 65536"):
            frames.open(struct.pack("<BI", 1, 0) + payload, most=65_536)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_frames_belong_to_their_file_and_key() -> None:
    """One of another file, of another key or of no key does not open."""
    frame = Secrecy(KEY).file(FILE).make(b"content", 0)
    for other in (Secrecy(KEY).file(bytes(16)), Secrecy(SecretStr("ff" * 32)).file(FILE)):
        with pytest.raises(BackupDamagedError, match="not by this key"):
            other.open(frame, most=MOST)
    with pytest.raises(BackupDamagedError, match="is encrypted, and there is no key"):
        Secrecy(None).file(FILE).open(frame, most=MOST)
    with pytest.raises(BackupDamagedError, match="is not encrypted"):
        Secrecy(KEY).file(FILE).open(Secrecy(None).file(FILE).make(b"content", 0), most=MOST)


def test_equal_content_looks_different_in_two_frames_of_a_file() -> None:
    """Nobody who sees encrypted packs learns which blocks are equal."""
    frames = Secrecy(KEY).file(FILE)
    assert frames.make(b"content" * 100, 0)[5:] != frames.make(b"content" * 100, 1)[5:]


def test_a_key_names_content_so_that_nobody_can_guess_it() -> None:
    """Digests depend on the key, and equal content has equal names under one key."""
    assert Secrecy(KEY).digest(b"x") == Secrecy(KEY).digest(b"x")
    assert len({s.digest(b"x") for s in (Secrecy(KEY), Secrecy(None), Secrecy(SecretStr("ff" * 32)))}) == 3
    assert Secrecy(KEY).key_id != Secrecy(SecretStr("ff" * 32)).key_id
    assert Secrecy(None).key_id == ""


@pytest.mark.parametrize("text", ["", "secret", "ab" * 31, "ab" * 33, "xy" * 32])
def test_a_key_is_32_bytes_in_hexadecimal(text: str) -> None:
    """The message says what is expected, and does not repeat what was given."""
    with pytest.raises(ConfigurationError, match="64 digits") as caught:
        Secrecy(SecretStr(text))
    assert not text or text not in str(caught.value)
