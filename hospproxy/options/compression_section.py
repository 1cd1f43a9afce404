"""The section [compression]; sections.py has the others."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen

from .fields import listed, names, switch, whole

CODINGS = ("gzip", "zstd")
ZSTD_MODULES = ("compression.zstd", "backports.zstd")
"""Where zstd may come from: Python 3.14, or a package."""
MiB = 1 << 20


def _coding(text: str) -> str:
    if text not in CODINGS:
        raise ValueError(f"it is not one of {', '.join(CODINGS)}")
    return text


def _operation(text: str) -> str:
    if not text:
        raise ValueError("it is empty")
    return text


@frozen(slots=True, kw_only=True)
class CompressionSettings:
    """Compresses responses that everybody may know, for clients that accept it ([how](clients.md#compression))."""

    LIVE: ClassVar = names("enabled codings min_bytes kept_bytes further_operations")
    RESTART: ClassVar = names("")

    enabled: bool = field(
        default=False,
        metadata=switch(
            "Compress the published contract, and the responses of operations that the contract marks as"
            " `compressible`: in HOSP's, the list of hospitals."
        ),
    )
    codings: tuple[str, ...] = field(
        default=("gzip",),
        metadata=listed(
            "Codings in the order in which they are preferred. `zstd` needs Python 3.14, or `hospproxy[zstd]`.",
            '"gzip" or "zstd"',
            _coding,
        ),
    )
    min_bytes: int = field(
        default=1024,
        metadata=whole("bytes", 200, 16 * MiB, "Shorter responses are sent as they are."),
    )
    kept_bytes: int = field(
        default=16 * MiB,
        metadata=whole(
            "bytes",
            0,
            1 << 40,
            "Most memory for compressed content, kept beside the cache entries that it was made from. 0: compress anew"
            " each time.",
        ),
    )
    further_operations: tuple[str, ...] = field(
        default=(),
        metadata=listed(
            "Reads, by the contract's `operationId`, that are compressed although not everybody may know what they"
            " say. [Their length gives some of it away](security.md#what-remains).",
            "names of operations",
            _operation,
        ),
    )
