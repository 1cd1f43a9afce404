"""Iterators that hold something: a cursor, a file, another iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any


async def close(iterator: AsyncIterator[Any]) -> None:
    """Let an iterator give back what it holds, if it has something to give back."""
    end = getattr(iterator, "aclose", None)
    if end is not None:
        await end()
