"""Close async iterators that hold a resource: a cursor, a file, another iterator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any


async def close(iterator: AsyncIterator[Any]) -> None:
    """Call the iterator's ``aclose``, if it has one."""
    end = getattr(iterator, "aclose", None)
    if end is not None:
        await end()
