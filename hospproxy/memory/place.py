"""Where the answer to a read is kept."""

from __future__ import annotations

from attrs import frozen

from ..messages import Identity


@frozen(slots=True)
class Place:
    """Where the answer to a read is kept.

    :param name: its key beyond this process.
    :param settled: False while what is known of the account is in doubt: nothing is read and nothing kept.
    """

    key: bytes
    tags: tuple[str, ...]
    lifetime_s: float
    identity: Identity | None
    settled: bool
    name: bytes
