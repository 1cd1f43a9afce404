"""The messages between the supervisor and a worker. A `Channel` carries them."""

from __future__ import annotations

from typing import Final

import msgspec

from ..process.channel import MOST_BYTES, WorkerLogLine
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
    :param taking_over: an old proxy has the state folder: build everything, answer with ``WorkerPrepared``, and open
        nothing until ``OpenState``. The worker has inherited the lifeline too; see ``successor_process``.
    :param relays: number of sockets on which old processes will relay requests; they follow the others.
    """

    slot: int
    settings: bytes
    listeners: int
    admin: int
    taking_over: bool = False
    relays: int = 0

    def __repr__(self) -> str:  # the settings contain secrets
        return f"Start(slot={self.slot})"


class ReloadWorker(msgspec.Struct, frozen=True, tag="reload"):
    """To a worker: read certificates and secrets again."""


class PrepareReload(msgspec.Struct, frozen=True, tag="prepare"):
    """To a worker: do what can fail before these options are applied; answer with ``StepReply``.

    :param settings: the settings, pickled as those of ``StartWorker``.
    """

    id: int
    settings: bytes

    def __repr__(self) -> str:  # the settings contain secrets
        return f"PrepareReload(id={self.id})"


class CommitReload(msgspec.Struct, frozen=True, tag="commit"):
    """To a worker: apply the options that were prepared last; answer with ``StepReply``."""

    id: int


class AbandonReload(msgspec.Struct, frozen=True, tag="abandon"):
    """To a worker: forget the options that were prepared; another worker cannot apply them."""


class OptionsNews(msgspec.Struct, frozen=True, tag="options"):
    """To worker 0: what has become of the options, for metrics and the status page; see ``OptionsState``."""

    generation: int
    applied_at: float
    refused_at: float


class OpenState(msgspec.Struct, frozen=True, tag="open"):
    """To a worker that takes over: the state folder is closed; open it, and answer with ``WorkerReady``."""


class ServeClients(msgspec.Struct, frozen=True, tag="serve"):
    """To a worker that takes over: accept connections, and respond to what old processes relay."""


class HoldRequests(msgspec.Struct, frozen=True, tag="hold"):
    """To a worker: begin no request, and finish those in flight; answer with ``StepReply``.

    :param quiet_s: seconds that those may take.
    """

    id: int
    quiet_s: float


class ReleaseRequests(msgspec.Struct, frozen=True, tag="release"):
    """To a worker: the replacement is given up; let the requests go on."""


class CloseState(msgspec.Struct, frozen=True, tag="close"):
    """To a worker that holds its requests: end all that uses the state folder; answer with ``StepReply``."""

    id: int


class ReopenState(msgspec.Struct, frozen=True, tag="reopen"):
    """To a worker that has closed the state folder: open it again, and serve; answer with ``StepReply``."""

    id: int


class LeaveToSuccessor(msgspec.Struct, frozen=True, tag="leave"):
    """To a worker that has closed the state folder: relay all requests, and end once no client is connected."""


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


class WorkerPrepared(msgspec.Struct, frozen=True, tag="prepared"):
    """From a worker that takes over: everything is built; it could open the state folder."""


class SnapshotReply(msgspec.Struct, frozen=True, tag="told"):
    """From a worker: its snapshot; the reply to ``SnapshotQuestion``."""

    id: int
    snapshot: Snapshot


class StepReply(msgspec.Struct, frozen=True, tag="step"):
    """From a worker: the reply to a step of a reload or of a replacement.

    :param trouble: why the step cannot be done; "" if it is done.
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
    | OpenState
    | ServeClients
    | HoldRequests
    | ReleaseRequests
    | CloseState
    | ReopenState
    | LeaveToSuccessor
    | StopWorker
    | SnapshotQuestion
    | GatherReply
    | FileReloadReply
)
FromWorker = (
    WorkerPrepared
    | WorkerReady
    | WorkerLogLine
    | SnapshotReply
    | StepReply
    | GatherQuestion
    | FileReloadQuestion
)
