"""
Frames: pieces of content, compressed and, with a key, encrypted, each readable alone.

A frame is a byte that says how it was made, its number in the file (u32,
little-endian), and the payload. Encryption is AES-256-GCM (NIST SP 800-38D). Its
key is derived for each file by HKDF-SHA-256 (RFC 5869) from the site's key and
the file's random 16 bytes; the nonce is the frame's number, so no nonce is
used twice under one key.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
import threading

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from medic8.backups.errors import BackupDamagedError
from medic8.backups.place import KEY_BYTES, key_bytes

#: Bytes of a file's random part, of which its key is derived and its name made.
FILE_ID_BYTES = 16
DIGEST_BYTES = 32

_HEAD = struct.Struct("<BI")
_PLAIN, _ZSTD = 0, 1
_ENCRYPTED = 0x80

#: Fast rather than small: writing keeps up with a scrub, and waves compress little beyond that.
_LEVEL = 1

_OF_THREAD = threading.local()


class Secrecy:
    """
    What a site's key does: names content, seals manifests, encrypts files. Without a key, only names.

    Attributes:
        key_id: Tells keys apart without saying anything about them; empty without a key.
    """

    def __init__(self, key: SecretStr | None) -> None:
        self._key = None if key is None else key_bytes(key.get_secret_value())
        self.key_id = "" if self._key is None else self._derived(b"id", length=8).hex()
        self._naming = b"" if self._key is None else self._derived(b"naming")
        self._sealing = b"" if self._key is None else self._derived(b"sealing")

    def digest(self, content: bytes | memoryview) -> bytes:
        """The name of *content*: SHA-256; with a key HMAC-SHA-256, so that nobody can guess content by it."""
        if self._key is None:
            return hashlib.sha256(content).digest()
        return hmac.digest(self._naming, content, "sha256")

    def seal(self, content: bytes) -> str:
        """What shows that a manifest is whole and, with a key, ours."""
        if self._key is None:
            return f"sha256:{hashlib.sha256(content).hexdigest()}"
        return f"hmac-sha256:{hmac.digest(self._sealing, content, 'sha256').hex()}"

    def file(self, file_id: bytes) -> Frames:
        """What makes and opens the frames of the file with this id."""
        return Frames(None if self._key is None else AESGCM(self._derived(b"file", salt=file_id)))

    def _derived(self, purpose: bytes, *, salt: bytes | None = None, length: int = KEY_BYTES) -> bytes:
        hkdf = HKDF(algorithm=SHA256(), length=length, salt=salt, info=b"medic8 backup " + purpose)
        return hkdf.derive(self._key or b"")


class Frames:
    """Makes and opens the frames of one file; from several threads at once, if need be."""

    def __init__(self, cipher: AESGCM | None) -> None:
        self._cipher = cipher

    def make(self, content: bytes, number: int) -> bytes:
        """The frame of *content*; no two frames of a file may have the same *number*."""
        packed = _compressor().compress(content)
        how, payload = (_ZSTD, packed) if len(packed) < len(content) else (_PLAIN, content)
        if self._cipher is None:
            return _HEAD.pack(how, number) + payload
        head = _HEAD.pack(how | _ENCRYPTED, number)
        return head + self._cipher.encrypt(_nonce(number), payload, head)

    def open(self, frame: bytes, *, most: int) -> bytes:
        """
        The content of *frame*.

        Args:
            frame: As `make` returned it.
            most: Longest content in bytes; no more memory is asked for, whatever the frame says.
        Raises:
            BackupDamagedError: it is not what was made, longer than *most*, or encrypted by another key.
        """
        if len(frame) < _HEAD.size:
            raise BackupDamagedError(f"a frame has {len(frame)} bytes; the limit is {_HEAD.size} at least")
        how, number = _HEAD.unpack_from(frame)
        payload = frame[_HEAD.size :]
        if bool(how & _ENCRYPTED) != (self._cipher is not None):
            raise BackupDamagedError(
                "a frame is encrypted, and there is no key"
                if how & _ENCRYPTED
                else "a frame is not encrypted"
            )
        if self._cipher is not None:
            try:
                payload = self._cipher.decrypt(_nonce(number), payload, frame[: _HEAD.size])
            except InvalidTag as exc:
                raise BackupDamagedError("a frame is not what was encrypted, or not by this key") from exc
        if how & ~_ENCRYPTED == _PLAIN:
            content = payload
        elif how & ~_ENCRYPTED == _ZSTD:
            content = _decompressed(payload, most)
        else:
            raise BackupDamagedError(f"a frame is of kind {how}; known are {_PLAIN} and {_ZSTD}")
        if len(content) > most:
            raise BackupDamagedError(f"a frame holds {len(content)} bytes; the limit is {most}")
        return content


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def _compressor() -> zstandard.ZstdCompressor:
    # A compressor must not be used by two threads at once, and making one costs more than a block.
    found: zstandard.ZstdCompressor | None = getattr(_OF_THREAD, "compressor", None)
    if found is None:
        found = _OF_THREAD.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return found


def _decompressed(payload: bytes, most: int) -> bytes:
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= most:
            raise BackupDamagedError(f"a frame says that it holds {size} bytes; the limit is {most}")
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=size)
    except zstandard.ZstdError as exc:
        raise BackupDamagedError(f"a frame cannot be decompressed: {exc}") from exc
