"""Serve the contract to clients, where ``publish_contract`` is on."""

from __future__ import annotations

from zope.interface import implementer

from ..contract.page import PATHS, ContractPage
from ..exchange.exchange import Exchange
from ..http.messages import Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import IProcessor, ProceedTo


@implementer(IProcessor)
class PublishedContract:
    """Responds to requests for the contract; it needs no credentials, and HOSP is not asked."""

    def __init__(self, page: ContractPage) -> None:
        self._page = page

    def passes(self, exchange: Exchange) -> bool:
        """Return whether something else is asked for."""
        return exchange.request.path not in PATHS

    async def process(self, exchange: Exchange, _proceed: ProceedTo[Exchange]) -> Response:
        response = exchange.trace.kept = self._page.answer(exchange.request)
        return response

    def repeat(self, _exchange: Exchange, _response: Response) -> Repeat:
        """What passes here does so by its path alone."""
        return ALWAYS
