"""Compressed journal files that can be read from any offset: gzip members of 64 KiB, each stating its own size.

``gunzip`` and ``gzip.open`` read them like any other gzip file. The sizes are in the extra field of each member's
header (RFC 1952 §2.3.1.1), so hopping from header to header finds the member that holds an offset. Files that
older versions packed are one member without such a field; they can only be read from their start.
"""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

MEMBER: Final = 1 << 16
"""Bytes of the plain file in one member; the last member may hold fewer."""

LEVEL: Final = 1
"""Level 6 takes 2.3 times as long, and saves an eighth of the size."""

_HEADER: Final = struct.Struct("<4sIBBH2sHII")
_START: Final = b"\x1f\x8b\x08\x04"
_UNIX: Final = 3
_FIELD: Final = b"HP"
_TRAILER: Final = struct.Struct("<II")


def write_packed(source: BinaryIO, draft: Path) -> None:
    """Compress a file into a new one (0600), which is on disk when this returns.

    :raise OSError: it cannot be read or written.
    """
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while block := source.read(MEMBER):
            file.write(member(block))
        file.flush()
        os.fsync(descriptor)


def member(block: bytes) -> bytes:
    """One gzip member.

    :param block: at most MEMBER bytes.
    """
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(block) + deflate.flush()
    size = _HEADER.size + len(body) + _TRAILER.size
    header = _HEADER.pack(_START, 0, 4, _UNIX, 12, _FIELD, 8, size, len(block))
    return header + body + _TRAILER.pack(zlib.crc32(block), len(block))


def open_at(path: Path, offset: int) -> BinaryIO:
    """Open a compressed file at an offset into its plain content.

    :raise OSError: it cannot be read, or is not compressed.
    :raise EOFError, zlib.error: it is damaged before the offset.
    """
    raw = path.open("rb")
    try:
        plain, at = _member_of(raw, offset)
        raw.seek(at)
        content = gzip.GzipFile(fileobj=raw, mode="rb")
        content.myfileobj = cast(Any, raw)  # closing the content closes the file too
        while plain < offset and (block := content.read(min(1 << 18, offset - plain))):
            plain += len(block)
    except BaseException:
        raw.close()
        raise
    return cast(BinaryIO, content)


def _member_of(raw: BinaryIO, offset: int) -> tuple[int, int]:
    """The last member before an offset that can be hopped to: where it begins in the plain and the packed file."""
    end = os.fstat(raw.fileno()).st_size
    plain = at = 0
    while True:
        header = raw.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return plain, at
        start, _, _, _, length, name, _, size, holds = _HEADER.unpack(header)
        stated = (start, length, name) == (_START, 12, _FIELD) and _HEADER.size < size <= end - at
        if not stated or plain + holds > offset or at + size == end:
            return plain, at
        plain, at = plain + holds, at + size
        raw.seek(at)
