"""Compress content in slices, by the codings that this Python can make."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from typing import Any

from ..http.content_coding import GZIP, ZSTD
from ..options.compression_section import ZSTD_MODULES

SLICE_BYTES = 64 << 10
"""Content that is compressed at a time: about a millisecond."""
GZIP_LEVEL = 6
ZSTD_LEVEL = 3
_GZIP_FORMAT = zlib.MAX_WBITS | 16

Coder = Callable[[bytes], Generator[None, None, bytes]]
"""Compresses content; yields after each slice. Equal content gives equal bytes."""


def _compressed(content: bytes, compressor: Any) -> Generator[None, None, bytes]:
    pieces = []
    for at in range(0, len(content), SLICE_BYTES):
        pieces.append(compressor.compress(content[at : at + SLICE_BYTES]))
        yield
    pieces.append(compressor.flush())
    return b"".join(pieces)


def gzip(content: bytes) -> Generator[None, None, bytes]:
    """Compress to the gzip format. Its header has no name and no time."""
    return _compressed(content, zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT))


def _zstd(module: Any) -> Coder:
    # The window of this level is far below the 8 MiB that RFC 9659 allows.
    return lambda content: _compressed(content, module.ZstdCompressor(level=ZSTD_LEVEL))


def coders(load: Callable[[str], Any] = import_module) -> Mapping[bytes, Coder]:
    """Return the coders that there are: zstd comes with Python 3.14, or with a package.

    :param load: imports a module, or raises ImportError.
    """
    found: dict[bytes, Coder] = {GZIP: gzip}
    for name in ZSTD_MODULES:
        try:
            found[ZSTD] = _zstd(load(name))
        except ImportError:
            continue
        break
    return found
