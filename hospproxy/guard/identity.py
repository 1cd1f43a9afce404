"""Find out who is calling: never from the claimed name alone, always from HOSP's own response to these credentials."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from attrs import field, frozen
from zope.interface import implementer

from ..contract.contract import Contract, IdentityRule, Operation
from ..contract.identity_response import identity_in
from ..exchange.exchange import Call, Called, Exchange, Identified, Trace
from ..http.errors import NothingCached, ProxyError, Unauthorized
from ..http.messages import Identity, Origin, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import Ask, IMeter, IProcessor, Proceed
from ..keys.mac import Mac
from ..memory.accounts import Accounts
from ..memory.directives import seconds
from ..process.single_flight import SingleFlight
from .admission.refusals import NoRefusalCache, RefusalCache
from .credentials import Credentials, parse_basic

MAX_NAMES = 10_000
_FAILURES = frozenset({500, 502, 503, 504})


class _SaidOtherwise(ProxyError):
    """HOSP answered the identity request, but not with a name: so HOSP is not away."""


@frozen(slots=True, eq=False)
class _Claim:
    """A request with credentials, before HOSP has said whose they are.

    :param call: its call, which carries them in their canonical form.
    :param credentials: their HMAC.
    """

    exchange: Called
    call: Call
    credentials: bytes = field(repr=False)

    @property
    def trace(self) -> Trace:
        return self.exchange.trace

    def identified(self, identity: Identity | None, *, offline: bool = False) -> Identified:
        return self.exchange.identified(self.credentials, identity, call=self.call, offline=offline)


@implementer(IProcessor)
class IdentityCheck:
    """Finds out who is calling, and remembers it for a while.

    :param ask: ``OwnRequests.ask``.
    :param key: key of the HMAC under which credentials are remembered.
    :param refusals: what HOSP has just refused; without it HOSP is asked each time.
    :param accepted: called with the identity and the canonical credentials whenever HOSP has accepted them.
    :param certain: whether no other worker can have revoked credentials without this one knowing.
    """

    def __init__(
        self,
        contract: Contract,
        accounts: Accounts,
        ask: Ask,
        key: bytes,
        meter: IMeter,
        accepted: Callable[[Identity, bytes | None], None] = lambda _identity, _authorization: None,
        refusals: RefusalCache | None = None,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        if contract.identity is None:
            raise ValueError("the contract has no x-hospproxy.identity")
        self._rule: IdentityRule = contract.identity
        self._certain = certain
        self._operations = contract.operations
        self._lookup = contract.operation(self._rule.operation)
        self._accounts = accounts
        self._ask = ask
        self._mac = Mac(key)
        self._accepted = accepted
        self._refusals = NoRefusalCache() if refusals is None else refusals
        self._meter = meter
        self._questions: SingleFlight[Response] = SingleFlight()
        self._names: OrderedDict[str, None] = OrderedDict()

    def has_accepted(self, name: str) -> bool:
        """Whether HOSP has accepted credentials of this name since the start: it is not a typing error then."""
        return name in self._names

    async def process(self, exchange: Called, proceed: Proceed) -> Response:
        given = exchange.request.headers.get(b"authorization")
        credentials = parse_basic(given)
        if exchange.call.operation.public:
            return await proceed(exchange.identified())
        if credentials is None:
            exchange.trace.rule_hits.append("identity:" + ("malformed" if given else "missing"))
            raise Unauthorized("Credentials are missing or malformed.")
        claim = self._claim(exchange, credentials)
        known = self._recalled(claim)
        if known is None:
            self._refuse_again(claim)
        if known is None and exchange.call.operation is not self._lookup:
            try:
                told = await self._find_out(claim)
            except ProxyError as error:
                return await self._offline(claim, proceed, error)
            if isinstance(told, Response):
                return told
            known = told
        ticket, mark = self._accounts.ticket(), self._refusals.ticket()
        if known is None:
            exchange.aftermath.learn_by(lambda late: self._learn(claim, late, ticket, mark))
        try:
            response = await proceed(claim.identified(known))
        except ProxyError as error:
            if known is not None:
                raise
            return await self._offline(claim, proceed, error)
        if known is None and response.status in _FAILURES:
            return await self._offline(claim, proceed, response)
        self._learn(claim, response, ticket, mark)
        return response

    def _recalled(self, claim: _Claim) -> Identity | None:
        """Return the remembered identity, if it may be used.

        Without the lease (``certain`` is false) it is used for reads only: those reach HOSP with these credentials,
        while the outcome of a write, or the response to a repeated write, may come from this process without HOSP
        checking them.
        """
        return self._accounts.recall(claim.credentials) if self._may_recall(claim.call.operation) else None

    def _may_recall(self, operation: Operation) -> bool:
        return self._certain() or (operation.is_read and operation.id in self._operations)

    def repeat(self, exchange: Exchange, _response: Response) -> Repeat | None:
        """An equal request passes while its credentials are remembered as this account's."""
        call, identity = exchange.trace.call, exchange.trace.identity
        if call is None:
            return None
        operation = call.operation
        if operation.public:
            return ALWAYS
        if identity is None:
            return None
        accounts, credentials, certain = self._accounts, identity.credentials, self._certain
        always = operation.is_read and operation.id in self._operations  # as in _may_recall

        def holds(now: float) -> bool:
            known = accounts.recall(credentials, now) if always or certain() else None
            return known is identity or known == identity

        return Repeat(holds)

    async def _offline(self, claim: _Claim, proceed: Proceed, failed: ProxyError | Response) -> Response:
        """HOSP cannot say who is calling.

        Clients that it accepted within the grace period may read cached responses, nothing else.

        :raise ProxyError: the original failure, if the client is unknown or nothing is cached.
        """
        told = isinstance(failed, _SaidOtherwise) or failed.status < 500
        known = None
        if claim.call.operation.is_read and not told:
            known = await self._accounts.grace(claim.credentials)
        if known is not None:
            claim.trace.rule_hits.append("identity:offline-grace")
            self._meter.count("identity_events_total", event="offline_grace")
            try:
                return await proceed(claim.identified(known, offline=True))
            except NothingCached:
                claim.trace.identity = None
        if isinstance(failed, ProxyError):
            raise failed
        return failed

    def _claim(self, exchange: Called, credentials: Credentials) -> _Claim:
        exchange.trace.claimed_name = credentials.name
        given = exchange.call
        call = Call(
            given.operation, given.path, given.query, given.document, given.accept, credentials.canonical
        )
        return _Claim(exchange, call, self._mac.of(credentials.canonical))

    async def _find_out(self, claim: _Claim) -> Identity | Response:
        """Ask HOSP who these credentials belong to; equal questions at the same time are asked once.

        :return: HOSP's 401 if it refuses them.
        :raise ProxyError: HOSP did not say. This is never a 401.
        """
        self._meter.count("identity_events_total", event="asked")
        ticket, mark = self._accounts.ticket(), self._refusals.ticket()
        exchange = claim.identified(None)
        call = Call(self._lookup, accept="json", authorization=claim.call.authorization)
        # While this worker may have missed a revocation, do not join a question that was asked earlier: its response
        # may predate the revocation.
        alone = None if self._certain() else object()

        def told(response: Response) -> Identity | None:
            return self._told(claim, response, ticket, mark)

        # Learn from the response even if it arrives after every waiting client has left.
        exchange.aftermath.learn_by(told)
        response = await self._questions.join(
            (claim.credentials, ticket, mark, alone),
            lambda: self._ask(call, on_behalf_of=exchange, own="identity", aftermath=exchange.aftermath),
        )
        exchange.aftermath.forget(told)
        identity = told(response)
        if identity is not None:
            return identity
        if response.status == 401:
            return response
        kind = ProxyError if response.status in _FAILURES else _SaidOtherwise
        raise kind("The upstream server did not say who is calling; try again.", status=502, retry_after_s=2)

    def _told(self, claim: _Claim, response: Response, ticket: int, mark: int) -> Identity | None:
        """Learn from the response to the identity request; return the identity if it names one."""
        if response.status == 401:
            self._refused(claim, mark)
            return None
        identity = identity_in(self._rule, response, claim.credentials)
        if identity is not None:
            self._remember(claim, identity, ticket, _ago_s(response))
        return identity

    def _remember(self, claim: _Claim, identity: Identity, ticket: int, ago_s: float = 0.0) -> None:
        self._accounts.remember(identity, ticket, ago_s)
        self._accepted(identity, claim.call.authorization)
        self._names[identity.name] = None
        self._names.move_to_end(identity.name)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)

    def _learn(self, claim: _Claim, response: Response, ticket: int, mark: int) -> None:
        """Learn from HOSP's own response whether it still accepts these credentials."""
        trace = claim.trace
        told_another = response.origin is Origin.MEMORY and _ago_s(response) > 0
        if response.origin is not Origin.UPSTREAM and (trace.identity is not None or not told_another):
            return
        if response.status == 401:
            self._refused(claim, mark)
            return
        if not 200 <= response.status < 300:
            return
        if trace.identity is None and claim.call.operation is self._lookup:
            trace.identity = identity_in(self._rule, response, claim.credentials)
        if trace.identity is not None:
            self._remember(claim, trace.identity, ticket, _ago_s(response))

    def _refuse_again(self, claim: _Claim) -> None:
        """Answer from memory what HOSP has just said.

        :raise Unauthorized: HOSP refused these credentials a moment ago.
        """
        if self._refusals.lately(claim.credentials):
            self._meter.count("identity_events_total", event="refused_again")
            claim.trace.rule_hits.append("identity:refused-lately")
            raise Unauthorized("These credentials were refused a moment ago.")

    def _refused(self, claim: _Claim, mark: int) -> None:
        self._meter.count("identity_events_total", event="refused")
        claim.trace.rule_hits.append("identity:refused")
        claim.trace.identity = None
        self._accounts.forget(claim.credentials)
        self._refusals.refused(claim.credentials, mark)


def _ago_s(response: Response) -> float:
    """Return an upper bound on the seconds since HOSP gave this response; another worker may have cached it."""
    age = None if response.origin is Origin.UPSTREAM else seconds(response.headers.get(b"age"))
    return 0.0 if age is None else age + 1.0
