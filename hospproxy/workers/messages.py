"""The messages between the supervisor and a worker. A `Channel` carries them."""

from __future__ import annotations

from typing import Final

import msgspec

from ..channel import MOST_BYTES, WorkerLogLine
from ..watch.merge import Overview, Snapshot

MOST_OF_ALL: Final = 65 * MOST_BYTES
"""The same for a message with all snapshots: of 64 workers, and the merged one of workers that have exited."""


class StartWorker(msgspec.Struct, frozen=True, tag="start"):
    """To a worker: start to serve.

    :param settings: the settings, pickled. Paths in them are absolute, and secrets are included that the environment
        no longer has. This goes from parent to child only.
    :param listeners: number of inherited client sockets; those of the admin listener follow them.
    :param admin: number of inherited sockets of the admin listener.
    """

    slot: int
    settings: bytes
    listeners: int
    admin: int

    def __repr__(self) -> str:  # the settings contain secrets
        return f"Start(slot={self.slot})"


class ReloadWorker(msgspec.Struct, frozen=True, tag="reload"):
    """To a worker: read certificates and secrets again."""


class StopWorker(msgspec.Struct, frozen=True, tag="stop"):
    """To a worker: finish the requests in flight, then exit."""


class SnapshotQuestion(msgspec.Struct, frozen=True, tag="ask"):
    """To a worker: send a snapshot of your metrics and health."""

    id: int


class GatherReply(msgspec.Struct, frozen=True, tag="gathered"):
    """To a worker: the snapshots of all workers; the reply to ``GatherQuestion``."""

    id: int
    overview: Overview


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """From a worker: it accepts connections now."""


class SnapshotReply(msgspec.Struct, frozen=True, tag="told"):
    """From a worker: its snapshot; the reply to ``SnapshotQuestion``."""

    id: int
    snapshot: Snapshot


class GatherQuestion(msgspec.Struct, frozen=True, tag="gather"):
    """From a worker: collect the snapshots of all others; its own is included."""

    id: int
    own: Snapshot


ToWorker = StartWorker | ReloadWorker | StopWorker | SnapshotQuestion | GatherReply
FromWorker = WorkerReady | WorkerLogLine | SnapshotReply | GatherQuestion
