"""The history of one simulated world: typed events in the order in which they happened.

Clients, HOSP, the faults and the end of a run write it. The checker reads it and nothing else. All times are true
virtual seconds since the start of the world.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, field, frozen

Record = Mapping[str, Any]


@frozen
class Premises:
    """What HOSP and the proxy promise in this world; the first event of each history.

    :param late_commit_s: HOSP commits a request at most so many seconds after it received it.
    :param concurrency: the most requests that HOSP may have in hand.
    :param deadline_s: from the end of a request to its response.
    :param visible: ``all``, or ``own``: staff reach only what belongs to their own hospital.
    :param marked: each record in a response names the credentials for which HOSP made it (``made_for``).
    :param shape: ``one``, ``workers`` or ``machines``.
    :param calm_at: when the last fault is over.
    :param filters: which filters HOSP applies: ``all``, or ``own``: `hospital_id` of patients, `patient_id` of notes.
    :param says: unusual features of HOSP's responses: ``no_date``, ``no_cache``, ``ranges``.
    :param fails: ``definitely``: HOSP's only failures are 500s, which it sends when it has finished.
    :param retries: how often requests may be repeated within a minute, whatever their number (`retry.budget_min`).
    :param refuses: whether the proxy refuses what its contract refuses; otherwise it only reports it
        (`validation.mode`).
    """

    late_commit_s: float = 25.0
    concurrency: int = 5
    deadline_s: float = 28.0
    visible: str = "all"
    marked: bool = False
    shape: str = "one"
    calm_at: float = 0.0
    filters: str = "all"
    says: tuple[str, ...] = ()
    fails: str = ""
    retries: int = 50
    refuses: bool = True
    at: float = 0.0


@frozen
class Asked:
    """A client has sent the whole of a request.

    :param op: identifies this request in the history.
    :param intent: identifies what the user wants; each retry has the same.
    :param person: who really sends it, whatever the credentials say.
    :param house: the address of the proxy that was asked.
    """

    at: float
    op: int
    intent: str
    person: str
    name: str
    password: str
    method: str
    target: str
    body: Any = None
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    house: str = ""
    kept_connection: bool = False

    @property
    def request_id(self) -> str:
        """The request id that the client sends; the proxy and HOSP use it too."""
        return next((value for name, value in self.headers if name == "X-Request-Id"), "")


@frozen
class Told:
    """A client has the whole response."""

    at: float
    op: int
    status: int
    headers: Mapping[str, str]
    body: Any = None

    @property
    def request_id(self) -> str:
        """The request id that the proxy returned."""
        return self.headers.get("x-request-id", "")

    @property
    def outcome(self) -> str | None:
        """``unknown``, if the response to a write says that its outcome is unknown."""
        failed = self.status >= 400 and isinstance(self.body, dict)
        found = self.body.get("outcome") if failed else None
        return found if isinstance(found, str) else None

    @property
    def cache(self) -> str:
        """Value of the Cache-Status field."""
        return self.headers.get("cache-status", "")


@frozen
class Broke:
    """A client will get no (whole) response.

    :param why: ``left`` (the client itself), ``patience`` (it waited for too long), ``refused``, ``reset``, ``cut``.
    :param status: of the head, if that came whole.
    """

    at: float
    op: int
    why: str
    status: int | None = None
    request_id: str = ""


@frozen
class Committed:
    """HOSP has changed or created a record.

    :param kind: ``stored``, ``updated``, ``deleted`` or ``screened``.
    :param before: the record as it was; None if there was none.
    :param after: as it is; None once deleted; for a screening, the result.
    :param staff: id of the staff member whose credentials came with it; None for a change that bypassed the proxy.
    :param mark: of those credentials: id and password version.
    :param request_id: id of the request; empty for a change that bypassed the proxy.
    :param sent: the fields in the request.
    :param received: when HOSP had the whole request.
    """

    at: float
    kind: str
    resource: str
    id: int
    before: Record | None = None
    after: Record | None = None
    staff: int | None = None
    mark: str = ""
    request_id: str = ""
    sent: Any = None
    received: float = 0.0


@frozen
class InHand:
    """HOSP has received a whole request (``begins``), its client has left, or it is over.

    :param what: ``begins``, ``deserted`` (the other end closed or reset the connection), ``dropped`` (HOSP itself
        did, and keeps working) or ``ends``.
    :param request: counts HOSP's requests.
    :param via: whether the request said that it came through a proxy.
    :param status: of the whole response that HOSP sent when it ended; 0: it sent none.
    """

    at: float
    request: int
    what: str
    method: str = ""
    target: str = ""
    request_id: str = ""
    via: bool = True
    status: int = 0


@frozen
class Credentials:
    """From now on these credentials are valid (`staff` is whose), or invalid (None)."""

    at: float
    name: str
    password: str
    staff: int | None
    mark: str = ""
    behind: bool = False


@frozen
class Trouble:
    """A fault begins.

    :param kind: as in the plan.
    :param where: which machine, link or server.
    :param until: when it is over; for an instantaneous fault, the same moment.
    """

    at: float
    kind: str
    where: str = ""
    until: float = 0.0


@frozen
class Life:
    """A process of a machine ``started``, ``ended``, was ``killed``, or still ran when the world was ``over``."""

    at: float
    machine: str
    what: str
    pid: int = 0
    exit: int | None = None


@frozen
class CourierLife:
    """The courier of a machine ``started``, ``ended`` or was ``killed``."""

    at: float
    machine: str
    what: str
    pid: int = 0
    exit: int | None = None


@frozen
class Recorded:
    """A line of a machine's audit trail, as found on its disk at the end.

    :param line: its hash; empty for one that cannot be read.
    """

    at: float
    machine: str
    file: str
    number: int
    record: Mapping[str, Any] | None
    line: str = ""


@frozen
class Due:
    """A line that was on a machine's disk long before the end: it has to be in each sink, and in the index if closed.

    :param closed: its file was not the newest of its journal.
    """

    at: float
    machine: str
    file: str
    seq: int
    line: str
    closed: bool


@frozen
class Delivered:
    """A receiver has stored a record.

    :param line: the hash of its line.
    """

    at: float
    machine: str
    sink: str
    journal: str
    seq: int
    line: str


@frozen
class Indexed:
    """A row of a machine's index of the audit trail, as found at the end."""

    at: float
    machine: str
    file: str
    seq: int


@frozen
class Left:
    """A file in a machine's audit folder at the end, so unfinished packing is seen."""

    at: float
    machine: str
    name: str


@frozen
class Unhandled:
    """An error that was not handled, or that was logged as critical."""

    at: float
    process: str
    text: str


@frozen
class Measured:
    """A number about a machine at some moment: a metric, or open entries in its ledger."""

    at: float
    machine: str
    name: str
    value: float


Event = (
    Premises
    | Asked
    | Told
    | Broke
    | Committed
    | InHand
    | Credentials
    | Trouble
    | Life
    | CourierLife
    | Recorded
    | Due
    | Delivered
    | Indexed
    | Left
    | Unhandled
    | Measured
)
Kind = TypeVar("Kind")
_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Premises, Asked, Told, Broke, Committed, InHand, Credentials, Trouble, Life, CourierLife, Recorded, Due,
        Delivered, Indexed, Left, Unhandled, Measured,
    )
}  # fmt: skip


@frozen
class History:
    """All events so far; add with `add`, query with `of`."""

    events: list[Event] = field(factory=list)
    _by_kind: dict[type[Any], list[Any]] = field(factory=dict, init=False, repr=False, eq=False)
    _sorted: list[Event] = field(factory=list, init=False, repr=False, eq=False)

    def add(self, event: Event) -> None:
        """Append an event."""
        self.events.append(event)

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """All events of a kind, oldest first."""
        for event in islice(self.events, len(self._sorted), None):
            self._by_kind.setdefault(type(event), []).append(event)
            self._sorted.append(event)
        return iter(self._by_kind.get(kind, ()))

    @property
    def premises(self) -> Premises:
        """The promises in this world."""
        return next(self.of(Premises), Premises())

    @property
    def end(self) -> float:
        """The moment of the last event."""
        return max((event.at for event in self.events), default=0.0)

    def write(self, path: Path) -> None:
        """Write it as JSON Lines, for people to read."""
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps({"event": type(event).__name__, **asdict(event)}, default=str) + "\n")

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a history that `write` has written."""
        events: list[Event] = []
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            events.append(_KINDS[fields.pop("event")](**fields))
        return cls(events)
