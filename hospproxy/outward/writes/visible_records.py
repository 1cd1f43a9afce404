"""Which records HOSP has shown to whom: a 404 after a lost DELETE proves the deletion only of a record that was there.

HOSP responds with 404 both for a deleted record and for one that the caller may not see.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from ...contract.contract import Contract
from ...exchange.exchange import Call
from ...http.messages import Response
from ...sharing.news import EntriesInvalidated, EverythingStale, News
from .seen_ids import id_of, ids_in

FOR_S = 300.0
"""Seconds for which a record counts as shown: as long as a cache entry may be fresh."""
_MOST_READ = 8
"""Maximum number of lists to parse for one question."""


@frozen(slots=True)
class _Answer:
    """A response as received. It is parsed only when needed.

    :param record: id from its path; None for a list, or for a new record.
    """

    who: bytes = field(repr=False)
    resource: str
    record: str | None
    status: int
    body: bytes = field(repr=False)
    sent: float
    era: object


class VisibleRecords:
    """Stores HOSP's last responses, bounded in number and bytes. A write to a record voids what was shown before it.

    :param key: secret of this process; credentials are stored only as hashes under it.
    :param era: returns a value that changes when writes of other workers may have been missed; None while they may be.
    :param most: maximum number of responses.
    :param most_bytes: maximum bytes of their bodies together.
    """

    def __init__(
        self,
        contract: Contract,
        key: bytes,
        clock: IReactorTime,
        era: Callable[[], object | None] = lambda: 0,
        *,
        most: int = 256,
        most_bytes: int = 8 << 20,
    ) -> None:
        self._contract = contract
        self._key = key
        self._clock = clock
        self._era = era
        self._most = most
        self._most_bytes = most_bytes
        self._answers: deque[_Answer] = deque()
        self._bytes = 0
        self._struck: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._all_struck: dict[str, float] = {}
        operations = contract.operations.values()
        self._deletable = frozenset(one.resource for one in operations if one.action == "delete")

    def saw(self, call: Call, response: Response, sent: float) -> None:
        """Process a response: remember what it shows to its reader.

        :param sent: monotonic seconds at which the request was sent to HOSP.
        """
        operation, era = call.operation, self._era()
        tells = response.status in (200, 404) if operation.is_read else response.status == 201
        resource = operation.resource
        if resource is None or resource not in self._deletable or not tells or era is None:
            return
        record = call.record_id if operation.is_read else None
        if (record is None and response.status == 404) or len(response.body) > self._most_bytes // 4:
            return
        # For a single record, the path has its id, so the body is not needed.
        body = response.body if record is None else b""
        who = self._who(call.authorization)
        self._answers.append(_Answer(who, resource, record, response.status, body, sent, era))
        self._bytes += len(body)
        while len(self._answers) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._answers.popleft().body)

    def heard(self, news: News) -> None:
        """Process news of other workers' writes (``Sharing.listen``)."""
        if isinstance(news, EverythingStale):
            self.strike(None, None)
        elif isinstance(news, EntriesInvalidated) and (news.resource is None or news.record is not None):
            self.strike(news.resource, news.record)  # without an id, the write creates a record

    def strike(self, resource: str | None, record: str | None) -> None:
        """A record is changed or deleted, here or elsewhere: void what was shown of it. None: it may be any record.

        Its dependent records may become hidden too: the notes of a patient, or everything if it is an account.
        """
        now, rule = self._clock.seconds(), self._contract.identity
        if resource is None or record is None or (rule is not None and resource == rule.resource):
            self._all_struck = dict.fromkeys(self._contract.resources, now)
            return
        self._struck[resource, record] = now
        self._struck.move_to_end((resource, record))
        if len(self._struck) > 10 * self._most:
            (oldest, _), moment = self._struck.popitem(last=False)
            self._all_struck[oldest] = max(self._all_struck.get(oldest, moment), moment)
        for operation in self._contract.operations.values():
            if operation.resource == resource:
                self._all_struck |= dict.fromkeys(operation.makes_stale, now)

    def has(self, call: Call) -> bool:
        """Whether the author of this DELETE has seen the record, and no write to it is known since."""
        name, record = call.operation.resource, call.record_id
        if call.operation.action != "delete" or name is None or record is None:
            return False
        who, era, read = self._who(call.authorization), self._era(), 0
        void = max(
            self._clock.seconds() - FOR_S,
            self._struck.get((name, record), float("-inf")),
            self._all_struck.get(name, float("-inf")),
        )
        for answer in reversed(self._answers):
            if (answer.who, answer.resource, answer.era) != (who, name, era) or answer.sent <= void:
                continue
            if answer.record is not None:
                if answer.record == record:
                    return answer.status == 200
                continue
            read += 1
            if id_of(record) in ids_in(answer.body, self._contract.resources[name].id):
                return True
            if read == _MOST_READ:
                break
        return False

    def _who(self, authorization: bytes | None) -> bytes:
        # An upstream without credentials shows the same to everybody.
        return hashlib.blake2b(authorization or b"", key=self._key, digest_size=16).digest()
