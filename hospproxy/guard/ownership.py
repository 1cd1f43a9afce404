"""Set or check the author of a record that is written: HOSP accepts any author, the proxy does not."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import evolve
from zope.interface import implementer

from ..contract.contract import Contract, Operation
from ..exchange.exchange import Call, Exchange, Identified
from ..http.errors import ProxyError, Refused
from ..http.messages import Identity, Json, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import Ask, IProcessor, Proceed


def same_id(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same id: equal and of the same type, so that true is not 1."""
    return type(one) is type(other) and one == other


def judge_claim(operation: Operation, sent: Json, author: int | str | None) -> Refused | None:
    """Return the refusal of a claimed author; None if the document claims none, or an allowed one.

    :param sent: the document as the client sent it.
    :param author: the author that may be named.
    """
    if not isinstance(sent, dict) or operation.author not in sent or sent[operation.author] is None:
        return None
    if same_id(sent[operation.author], author):
        return None
    return Refused("This may not be written in another person's name.", status=403, field=operation.author)


def check_shape(operation: Operation, sent: Json) -> None:
    """Require one flat object whose author, if present, is a whole number. Applies in every mode.

    :raise Refused: 422.
    """
    if not isinstance(sent, dict):
        raise Refused("The body must be one JSON object.", status=422)
    if operation.wrapper is not None and operation.wrapper in sent:
        raise Refused("The fields must be at the top level of the body.", status=422, field=operation.wrapper)
    named = sent.get(operation.author)
    if named is not None and (isinstance(named, bool) or not isinstance(named, int)):
        raise Refused("The author must be a whole number.", status=422, field=operation.author)


@implementer(IProcessor)
class Ownership:
    """Sets the author of written records, or refuses to write in another's name.

    :param policy: "assign" sets the author (on a change it stays as it is), "refuse" refuses another's name.
    :param enforce: False: only record what would have been done, and send the document unchanged.
    """

    def __init__(
        self,
        contract: Contract,
        ask: Ask,
        *,
        policy: str = "assign",
        enforce: bool = True,
    ) -> None:
        self._contract = contract
        self._ask = ask
        self._refuse = policy == "refuse"
        self._enforce = enforce

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        call = exchange.call
        operation = call.operation
        if self.passes(exchange) or operation.author is None:
            return await proceed(exchange)
        check_shape(operation, exchange.sent)
        if exchange.identity is None:
            raise ProxyError(
                "The upstream server did not say who is calling; try again.", status=502, retry_after_s=2
            )
        document = await self._ruled(exchange, operation.author, exchange.identity)
        if self._enforce:
            exchange = exchange.with_call(evolve(call, document=document))
        return await proceed(exchange)

    def passes(self, exchange: Identified) -> bool:
        """A request that names no author."""
        operation = exchange.call.operation
        return operation.author is None or not operation.is_write or operation.check is None

    def repeat(self, exchange: Exchange, _response: Response) -> Repeat | None:
        """Allow shortcuts for reads, which have no author."""
        return ALWAYS if exchange.trace.call is not None and exchange.trace.call.operation.is_read else None

    async def _ruled(self, exchange: Identified, author: str, who: Identity) -> Json:
        """Return the document as the policy wants it.

        :param author: the field that names the author.
        :raise Refused: the policy refuses it.
        """
        call, sent, operation = exchange.call, exchange.sent, exchange.call.operation
        creates = operation.lookup is not None
        names_one = isinstance(sent, dict) and sent.get(author) is not None
        allowed: int | str | None = who.id
        if self._refuse and names_one and not creates:
            allowed = await self._present_author(exchange, call)
        wrong = judge_claim(operation, sent, allowed)
        if wrong is not None:
            exchange.trace.rule_hits.append(f"ownership:{'refuse' if self._refuse else 'assign'}:{author}")
            if self._refuse and self._enforce:
                raise wrong
        document = {name: value for name, value in call.document.items() if name != author}
        if creates:
            document[author] = who.id
        return document

    async def _present_author(self, exchange: Identified, call: Call) -> int | str | None:
        """Ask HOSP who wrote the record that is to be changed.

        :raise ProxyError: HOSP did not say.
        """
        operation = call.operation
        if operation.record is None:
            return None
        reading = Call(
            self._contract.operation(operation.record),
            call.path,
            accept="json",
            authorization=call.authorization,
        )
        response = await self._ask(reading, on_behalf_of=exchange, own="author")
        if response.status == 404:
            raise Refused("There is no such record.", status=404)
        try:
            record = msgspec.json.decode(response.body) if response.status == 200 else None
        except msgspec.DecodeError:
            record = None
        if not isinstance(record, dict):
            raise ProxyError(
                "The upstream server did not say who wrote this record; try again.",
                status=502,
                retry_after_s=2,
            )
        author = record.get(operation.author or "")
        return author if isinstance(author, (int, str)) and not isinstance(author, bool) else None
