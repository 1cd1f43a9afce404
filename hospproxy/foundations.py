"""What every part of a process stands on. It is complete before the first part is built."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .config import Settings
from .contract.contract import Contract
from .exchange.answers import ProxyResponses
from .keys.secrets import MasterKey
from .own_requests import OwnRequests
from .process.host import Host
from .process.slices import SliceQueue
from .process.worker import TaskRunner
from .sharing.kinds import ALONE, Sharing
from .watch.metrics import Metrics

if TYPE_CHECKING:
    from .sharing.member import SharingMember


@frozen(slots=True, kw_only=True)
class Foundations:
    """The settings, the system, and the objects that most parts are given.

    :param host: the system that the process runs on.
    :param key: the master key; each part gets its own derived key.
    :param slot: of this process among the workers of its machine.
    :param shared: this worker among the others; None: it is alone.
    :param turns: runs long work in slices.
    """

    settings: Settings
    reactor: Any
    host: Host
    key: MasterKey
    slot: int
    metrics: Metrics
    contract: Contract
    answers: ProxyResponses
    own_requests: OwnRequests
    turns: SliceQueue
    shared: SharingMember | None

    @property
    def sharing(self) -> Sharing:
        """How this process learns what others have changed, and tells them what it changes."""
        return ALONE if self.shared is None else self.shared

    @property
    def late_commit_s(self) -> float:
        """Seconds after which a write whose response was lost was carried out or never will be."""
        late = self.settings.writes.late_commit_s
        return self.contract.late_commit_s if late is None else late

    def certain(self) -> bool:
        """Whether no other worker can have made a write that this one has not learned of."""
        return self.sharing.may_serve

    def reference(self) -> str:
        """Return a random name for a write or a screening result."""
        return "hp-" + self.host.token(10)

    def worker(self, name: str) -> TaskRunner:
        """Return a new thread of this process."""
        return self.host.worker(self.reactor, name)


def foundations_of(settings: Settings, reactor: Any, key: MasterKey, slot: int, host: Host) -> Foundations:
    """Build what the parts of one process are given, and the connection to other workers, not yet open.

    :raise ContractError: the contract document is not usable.
    """
    metrics = Metrics(version("hospproxy"))
    shared = None
    if settings.redis.enabled:
        # Imported here: a process without Redis does not need it.
        from .sharing.build_sharing import shared_of

        shared = shared_of(settings, reactor, key, metrics, host)
    contract = host.load_contract(settings.contract_file)
    return Foundations(
        settings=settings,
        reactor=reactor,
        host=host,
        key=key,
        slot=slot,
        metrics=metrics,
        contract=contract,
        answers=ProxyResponses(contract),
        own_requests=OwnRequests(reactor, host.wall),
        turns=SliceQueue(reactor),
        shared=shared,
    )
