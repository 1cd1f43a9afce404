"""When an answer that is past its time may be given all the same (RFC 5861), and what is said of it. Pure rules."""

from __future__ import annotations

from ..contract import Operation
from ..errors import ProxyError
from ..messages import Exchange, Origin, Response
from .directives import Wish

FAILURES = frozenset({500, 502, 503, 504})
"""HOSP's answers that say only that it fails (RFC 5861 §4)."""


def wants_fresher(wish: Wish) -> bool:
    """Whether the client says how fresh it wants an answer."""
    return wish.no_cache or wish.no_store or wish.max_age is not None or wish.min_fresh > 0


def may_revalidate(operation: Operation, wish: Wish, over_s: float) -> bool:
    """Whether an answer may be given at once and renewed behind the client's back.

    Not to a client that says how fresh it wants it.

    :param over_s: seconds that it is past its time.
    """
    return not wants_fresher(wish) and not wish.only_if_cached and over_s < operation.stale_while_revalidate_s


def may_replace(operation: Operation, wish: Wish, over_s: float) -> bool:
    """Whether an answer may be given because HOSP fails.

    ``no-cache`` does not forbid it: whoever pulls down a list to renew it wants the old one rather than none. Only
    ``stale-if-error`` in the request does.

    :param over_s: seconds that it is past its time; negative if it is not.
    """
    most = operation.stale_if_error_s
    if wish.stale_if_error is not None:
        most = min(most, wish.stale_if_error)
    return most > 0 and over_s < most


def may_stand_in(operation: Operation, wish: Wish, over_s: float) -> bool:
    """Whether an answer may be given because HOSP is silent for longer than usual, though it may only be slow.

    :param over_s: seconds that it is past its time; negative if it is not.
    """
    return not wants_fresher(wish) and not wish.only_if_cached and may_replace(operation, wish, over_s)


def status_of(
    exchange: Exchange, ttl: int, why: bytes, failed: Response | ProxyError | None, *, clean: bool = True
) -> bytes:
    """What Cache-Status says of it (RFC 9211): ``fwd`` where HOSP was asked and failed, ``hit`` where it was not.

    :param ttl: seconds that it is still fresh; negative past its time.
    :param failed: what it stands for.
    :param clean: no write has struck it. What was struck is not fresh, whatever time it had left.
    """
    ttl = ttl if clean else min(0, ttl)
    # What is still fresh was passed over because the request wanted HOSP's own word.
    forward = b"fwd=request" if ttl > 0 else b"fwd=stale"
    if isinstance(failed, Response):
        begun = forward + b"; fwd-status=%d" % failed.status
    elif failed is not None and exchange.attempts:
        begun = forward
    else:
        begun = b"hit"
    return begun + b"; ttl=%d; detail=" % ttl + why


def status_of_write(response: Response) -> bytes:
    """What Cache-Status says of the answer to a write (RFC 9211).

    An answer that was kept for whoever asks again was not forwarded. One that stands in the place of HOSP's, whose own
    was lost, has no status of HOSP.
    """
    if response.origin is Origin.MEMORY:
        return b"hit; detail=replayed"
    if response.origin is Origin.PROXY:
        return b"fwd=method; detail=found"
    return b"fwd=method; fwd-status=%d" % response.status
