"""The history of one simulated world: typed events in the order in which they happened.

Clients, HOSP, the faults and the end of a run write it; the checker reads it and nothing else. All times are true
virtual seconds since the start of the world.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, field, frozen

Record = Mapping[str, Any]


@frozen
class Premises:
    """What HOSP and the proxy promise in this world; the first event of each history.

    :param late_commit_s: HOSP commits a request at most so many seconds after it received it.
    :param concurrency: the most requests that HOSP may have in hand.
    :param deadline_s: from the end of a request to its answer.
    :param visible: ``all``, or ``own``: staff reach only what belongs to their own hospital.
    :param marked: each record in an answer names the credentials for which HOSP made it (``made_for``).
    :param shape: ``one``, ``workers`` or ``machines``.
    :param calm_at: when the last fault is over.
    :param filters: which filters HOSP applies: ``all``, or ``own``: `hospital_id` of patients, `patient_id` of notes.
    :param says: what HOSP's answers say besides: ``no_date``, ``no_cache``, ``ranges``.
    :param fails: ``definitely``: HOSP's only failures are 500s, which it gives when it has finished.
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
    at: float = 0.0


@frozen
class Asked:
    """A client has sent the whole of a request.

    :param op: names this request in the history.
    :param intent: names what the user wants; each retry of it has the same.
    :param person: who it is, whatever the credentials say.
    :param house: the address that was asked.
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
        """What the client calls its request; the proxy and HOSP do so too."""
        return next((value for name, value in self.headers if name == "X-Request-Id"), "")


@frozen
class Told:
    """A client has the whole answer."""

    at: float
    op: int
    status: int
    headers: Mapping[str, str]
    body: Any = None

    @property
    def request_id(self) -> str:
        """What the proxy calls the request."""
        return self.headers.get("x-request-id", "")

    @property
    def outcome(self) -> str | None:
        """``unknown``, if the answer to a write says that its outcome is."""
        failed = self.status >= 400 and isinstance(self.body, dict)
        found = self.body.get("outcome") if failed else None
        return found if isinstance(found, str) else None

    @property
    def cache(self) -> str:
        """The Cache-Status field."""
        return self.headers.get("cache-status", "")


@frozen
class Broke:
    """A client will get no (whole) answer.

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
    """HOSP has changed or made something.

    :param kind: ``stored``, ``updated``, ``deleted`` or ``screened``.
    :param before: the record as it was; None if there was none.
    :param after: as it is; None once deleted; of a screening, the result.
    :param staff: id of the staff member whose credentials came with it; None behind the proxy's back.
    :param mark: of those credentials: id and password version.
    :param request_id: that the request bore; empty behind the proxy's back.
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
    """HOSP has received a whole request (``begins``), or its client is gone, or it is over.

    :param what: ``begins``, ``deserted`` (the other end closed or reset the connection), ``dropped`` (HOSP itself
        did, and works on) or ``ends``.
    :param request: counts HOSP's requests.
    :param via: whether the request said that it came through a proxy.
    """

    at: float
    request: int
    what: str
    method: str = ""
    target: str = ""
    request_id: str = ""
    via: bool = True


@frozen
class Credentials:
    """From now on these credentials are good (`staff` is whose), or good for nothing (None)."""

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
    :param until: when it is over; the same moment for what happens at once.
    """

    at: float
    kind: str
    where: str = ""
    until: float = 0.0


@frozen
class Life:
    """A process of a machine ``started``, ``ended``, was ``killed``, or there when all was ``over``."""

    at: float
    machine: str
    what: str
    pid: int = 0
    exit: int | None = None


@frozen
class Recorded:
    """A line of a machine's audit trail, as it was found on its disk at the end."""

    at: float
    machine: str
    file: str
    number: int
    record: Mapping[str, Any] | None


@frozen
class Unhandled:
    """An error that nobody has handled, or that was logged as critical."""

    at: float
    process: str
    text: str


@frozen
class Measured:
    """A number about a machine at some moment: a metric, or rows that stand open in its ledger."""

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
    | Recorded
    | Unhandled
    | Measured
)
Kind = TypeVar("Kind")
_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Premises, Asked, Told, Broke, Committed, InHand, Credentials, Trouble, Life, Recorded, Unhandled, Measured,
    )
}  # fmt: skip


@frozen
class History:
    """All events so far; add with `add`, look with `of`."""

    events: list[Event] = field(factory=list)

    def add(self, event: Event) -> None:
        """Append an event."""
        self.events.append(event)

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        """All events of a kind, oldest first."""
        return (event for event in self.events if isinstance(event, kind))

    @property
    def premises(self) -> Premises:
        """What was promised in this world."""
        return next(self.of(Premises), Premises())

    @property
    def end(self) -> float:
        """The moment of the last event."""
        return max((event.at for event in self.events), default=0.0)

    def write(self, path: Path) -> None:
        """Keep it as JSON Lines, for people to read."""
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps({"event": type(event).__name__, **asdict(event)}, default=str) + "\n")

    @classmethod
    def read(cls, path: Path) -> History:
        """A history that `write` has kept."""
        events: list[Event] = []
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            events.append(_KINDS[fields.pop("event")](**fields))
        return cls(events)
