"""Where the response to a read is stored."""

from __future__ import annotations

from attrs import frozen

from ..messages import Identity


@frozen(slots=True)
class Place:
    """Where the response to a read is stored, and for how long.

    :param key: its key in this process.
    :param tags: what invalidates it, see staleness.py.
    :param lifetime_s: seconds for which it is fresh.
    :param identity: the principal; None for a public read.
    :param settled: False while a change to the account is open: nothing is read from the cache or stored in it.
    :param name: its key beyond this process.
    """

    key: bytes
    tags: tuple[str, ...]
    lifetime_s: float
    identity: Identity | None
    settled: bool
    name: bytes
