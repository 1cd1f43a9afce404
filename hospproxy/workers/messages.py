"""The messages between the supervisor and a worker. A `Channel` carries them."""

from __future__ import annotations

from typing import Final

import msgspec

from ..channel import MOST_BYTES, WorkerLogLine
from ..watch.merge import Overview, Snapshot
from ..watch.reload_page import ReloadOutcome

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


class PrepareReload(msgspec.Struct, frozen=True, tag="prepare"):
    """To a worker: do what can fail before these options are applied; answer with ``ReloadStep``.

    :param settings: the settings, pickled as those of ``StartWorker``.
    """

    id: int
    settings: bytes

    def __repr__(self) -> str:  # the settings contain secrets
        return f"PrepareReload(id={self.id})"


class CommitReload(msgspec.Struct, frozen=True, tag="commit"):
    """To a worker: apply the options that were prepared last; answer with ``ReloadStep``."""

    id: int


class AbandonReload(msgspec.Struct, frozen=True, tag="abandon"):
    """To a worker: forget the options that were prepared; another worker cannot apply them."""


class OptionsNews(msgspec.Struct, frozen=True, tag="options"):
    """To worker 0: what has become of the options, for metrics and the status page; see ``OptionsState``."""

    generation: int
    applied_at: float
    refused_at: float


class StopWorker(msgspec.Struct, frozen=True, tag="stop"):
    """To a worker: finish the requests in flight, then exit."""


class SnapshotQuestion(msgspec.Struct, frozen=True, tag="ask"):
    """To a worker: send a snapshot of your metrics and health."""

    id: int


class GatherReply(msgspec.Struct, frozen=True, tag="gathered"):
    """To a worker: the snapshots of all workers; the reply to ``GatherQuestion``."""

    id: int
    overview: Overview


class FileReloadReply(msgspec.Struct, frozen=True, tag="reloaded"):
    """To worker 0: what became of the reload; the reply to ``FileReloadQuestion``."""

    id: int
    outcome: ReloadOutcome


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """From a worker: it accepts connections now."""


class SnapshotReply(msgspec.Struct, frozen=True, tag="told"):
    """From a worker: its snapshot; the reply to ``SnapshotQuestion``."""

    id: int
    snapshot: Snapshot


class ReloadStep(msgspec.Struct, frozen=True, tag="step"):
    """From a worker: the reply to ``PrepareReload`` and ``CommitReload``.

    :param trouble: why the options cannot be applied; "" if they can.
    """

    id: int
    trouble: str = ""


class GatherQuestion(msgspec.Struct, frozen=True, tag="gather"):
    """From a worker: collect the snapshots of all others; its own is included."""

    id: int
    own: Snapshot


class FileReloadQuestion(msgspec.Struct, frozen=True, tag="reload file"):
    """From worker 0, which has the admin listener: apply the options file as it is now to all workers.

    :param user: who has logged in there; None: nobody needs to.
    :param address: of the client.
    :param request_id: of its request.
    """

    id: int
    user: str | None = None
    address: str | None = None
    request_id: str | None = None


ToWorker = (
    StartWorker
    | ReloadWorker
    | PrepareReload
    | CommitReload
    | AbandonReload
    | OptionsNews
    | StopWorker
    | SnapshotQuestion
    | GatherReply
    | FileReloadReply
)
FromWorker = WorkerReady | WorkerLogLine | SnapshotReply | ReloadStep | GatherQuestion | FileReloadQuestion
