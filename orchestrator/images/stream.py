"""Bytes on their way: what a blob is compressed with, undone piece by piece; digests taken as the bytes pass.

Memory stays the same whatever the size of the blob. gzip (RFC 1952), zstd (RFC 8878) and plain are told apart by their
first bytes: media types have been known to be wrong.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol

PIECE = 1 << 17  # bytes read at a time
MOST = 1 << 20  # bytes that one step of a decompressor may give

Read = Callable[[int], bytes]


class Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


class Digested:
    """Reads through, and knows the digest of what passed."""

    def __init__(self, read: Read, algorithm: str = "sha256") -> None:
        self._read = read
        self._hash = hashlib.new(algorithm)
        self.count = 0

    def read(self, count: int) -> bytes:
        piece = self._read(count)
        self._hash.update(piece)
        self.count += len(piece)
        return piece

    @property
    def digest(self) -> str:
        return f"{self._hash.name}:{self._hash.hexdigest()}"


class Plain:
    """`read(count)` of what `source` holds compressed. Raises ValueError where that is damaged."""

    def __init__(self, source: Read) -> None:
        self._source = source
        self._buffer = memoryview(b"")
        first = source(PIECE)
        self._kind = "gzip" if first[:2] == b"\x1f\x8b" else "zstd" if _is_zstd(first) else "plain"
        self._pending = first
        self._decompressor = self._fresh()

    def read(self, count: int) -> bytes:
        if not self._buffer:
            self._buffer = memoryview(self._next())
        piece, self._buffer = self._buffer[:count], self._buffer[count:]
        return bytes(piece)

    def _next(self) -> bytes:
        """Some more bytes, b"" at the end."""
        if self._decompressor is None:
            found, self._pending = self._pending, b""
            return found or self._source(PIECE)
        while True:
            if self._decompressor.eof:  # further members or frames may follow, and zeros that pad it
                self._pending = self._decompressor.unused_data.lstrip(b"\0") or self._source(PIECE).lstrip(b"\0")
                if not self._pending:
                    return b""
                self._decompressor = self._fresh()
            made = self._step()
            if made:
                return made

    def _step(self) -> bytes:
        over = False
        if not self._pending and self._hungry():
            self._pending = self._source(PIECE)
            over = not self._pending  # what the decompressor still holds may come all the same
        try:
            made: bytes = self._decompressor.decompress(self._pending, MOST)
        except Exception as error:  # zlib.error, IsalError, ZstdError: three libraries, three classes
            raise ValueError(f"its {self._kind} stream is damaged: {error}") from None
        self._pending = getattr(self._decompressor, "unconsumed_tail", b"")
        if over and not made and not self._decompressor.eof:
            raise ValueError(f"its {self._kind} stream ends in the middle")
        return made

    def _hungry(self) -> bool:
        return bool(getattr(self._decompressor, "needs_input", True))

    def _fresh(self) -> Any:
        if self._kind == "gzip":
            return gunzip()
        return _unzstd() if self._kind == "zstd" else None


def _is_zstd(first: bytes) -> bool:
    """A frame, or one to be skipped (RFC 8878, 3.1.2)."""
    return first[:4] == b"\x28\xb5\x2f\xfd" or (first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50)


def gunzip() -> Any:
    """A decompressor of one gzip member: isal's where it is installed (twice as fast), else zlib's."""
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.decompressobj(31)
    return isal_zlib.decompressobj(31)


def _unzstd() -> Any:
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        from backports.zstd import ZstdDecompressor
    return ZstdDecompressor()


def gzip_into(read: Read, target: IO[bytes]) -> tuple[str, int]:
    """Compress everything that `read` gives into `target`; returns (digest, size) of what was written.

    Fast rather than small: it is written once and read from a page cache. No time and no name in it: the same content
    has the same digest, whenever it is compressed.
    """
    compressor = _gzip()
    digest, size = hashlib.sha256(), 0
    while True:
        piece = read(1 << 18)
        made = compressor.compress(piece) if piece else compressor.flush()
        digest.update(made)
        size += len(made)
        target.write(made)
        if not piece:
            return f"sha256:{digest.hexdigest()}", size


def _gzip() -> Any:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    return isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
