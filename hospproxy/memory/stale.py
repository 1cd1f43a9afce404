"""When a stale response may be served (RFC 5861), and what Cache-Status says about it. Pure."""

from __future__ import annotations

from ..contract.contract import Operation
from ..exchange.exchange import Exchange
from ..http.errors import ProxyError
from ..http.messages import Origin, Response
from .directives import CacheDirectives

FAILURES = frozenset({500, 502, 503, 504})
"""Statuses with which HOSP reports only that it fails (RFC 5861 §4)."""


def wants_fresher(wish: CacheDirectives) -> bool:
    """Whether the client states how fresh a response must be."""
    return wish.no_cache or wish.no_store or wish.max_age is not None or wish.min_fresh > 0


def may_revalidate(operation: Operation, wish: CacheDirectives, over_s: float) -> bool:
    """Whether a stale response may be served at once and revalidated in the background.

    Not to a client that states how fresh a response must be.

    :param over_s: seconds past its freshness.
    """
    return not wants_fresher(wish) and not wish.only_if_cached and over_s < operation.stale_while_revalidate_s


def may_replace(operation: Operation, wish: CacheDirectives, over_s: float) -> bool:
    """Whether a stored response may be served because HOSP fails.

    ``no-cache`` does not forbid it: a user who pulls down a list to refresh it prefers the old list to none. Only
    ``stale-if-error`` in the request does.

    :param over_s: seconds past its freshness; negative if it is still fresh.
    """
    most = operation.stale_if_error_s
    if wish.stale_if_error is not None:
        most = min(most, wish.stale_if_error)
    return most > 0 and over_s < most


def may_stand_in(operation: Operation, wish: CacheDirectives, over_s: float) -> bool:
    """Whether a stored response may be served because HOSP is silent for long, though it may only be slow.

    :param over_s: seconds past its freshness; negative if it is still fresh.
    """
    return not wants_fresher(wish) and not wish.only_if_cached and may_replace(operation, wish, over_s)


def status_of(
    exchange: Exchange, ttl: int, why: bytes, failed: Response | ProxyError | None, *, clean: bool = True
) -> bytes:
    """The Cache-Status of a stale response (RFC 9211): ``fwd`` if HOSP was asked and failed, else ``hit``.

    :param ttl: seconds for which it is still fresh; negative if stale.
    :param why: value of ``detail``.
    :param failed: the failure that it replaces.
    :param clean: no write has invalidated it. An invalidated entry is not fresh, whatever time it had left.
    """
    ttl = ttl if clean else min(0, ttl)
    # A fresh entry was not used at first because the request asked for HOSP's own response.
    forward = b"fwd=request" if ttl > 0 else b"fwd=stale"
    if isinstance(failed, Response):
        begun = forward + b"; fwd-status=%d" % failed.status
    elif failed is not None and exchange.trace.attempts:
        begun = forward
    else:
        begun = b"hit"
    return begun + b"; ttl=%d; detail=" % ttl + why


def status_of_write(response: Response) -> bytes:
    """The Cache-Status of a response to a write (RFC 9211).

    A response that was stored for a retry was not forwarded. One that replaces a lost response has no status of HOSP.
    """
    if response.origin is Origin.MEMORY:
        return b"hit; detail=replayed"
    if response.origin is Origin.PROXY:
        return b"fwd=method; detail=found"
    return b"fwd=method; fwd-status=%d" % response.status
