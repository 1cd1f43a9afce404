"""Check the options against the contract for what is risky: an operator should know of it, and the proxy starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..contract.page import JSON_PATH, PAGE_PATH

if TYPE_CHECKING:
    from ..contract.contract import Contract
    from .sections import Settings


def warnings(settings: Settings, contract: Contract) -> Iterator[tuple[str, str]]:
    """Yield key path and text of what is risky with this contract."""
    yield from _hidden_route(settings, contract)


def _hidden_route(settings: Settings, contract: Contract) -> Iterator[tuple[str, str]]:
    """A route of the contract that clients cannot reach while the contract is published under its path."""
    found = contract.route((PAGE_PATH.decode().strip("/"),)) if settings.publish_contract else None
    if found is None:
        return
    route, values = found
    if values and not route.text_ids:  # its parameter is a number, which these paths are not
        return
    yield (
        "publish_contract",
        f"{PAGE_PATH.decode()} and {JSON_PATH.decode()} serve the contract now, so no client reaches the contract's"
        f" own route {route.template} there; switch it off, and give authors of clients the copy on the admin listener",
    )
