"""Every failure: its status, its public text, and whether another attempt may help.

``NotSent`` and ``FailedAfterSending`` are different errors because their retry safety differs: what was never sent
may always be sent again; the rest only if the contract says that it is repeatable or a look shows the record absent.
"""

from __future__ import annotations

from http import HTTPStatus

from .messages import Headers


def reason(status: int) -> str:
    """Return the reason phrase of a status, as Rails spells it in its error bodies."""
    if status == 422:
        return "Unprocessable Content"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class ProxyError(Exception):
    """A failure that becomes a response.

    :param detail: one sentence for the client; it never contains what HOSP or another client sent.
    :param status: status of the response.
    :param field: key path of the offending field, if there is one.
    :param retry_after_s: seconds after which another attempt is worth while; None sends no Retry-After.
    :param headers: further fields of the response (``Allow``, …).
    :param errors: the first few mistakes of a body as (key path, sentence); the first is ``field`` and ``detail``.

    ``limit`` names the field of ArrivalSettings that was exceeded, if one was.
    """

    status = 500
    limit = ""
    can_retry = False
    outcome = "failed"

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        field: str | None = None,
        retry_after_s: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
        errors: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s
        self.headers = Headers(headers)
        self.errors = errors
        if status is not None:
            self.status = status


class Refused(ProxyError):
    """The request is refused: malformed, not in the contract, not allowed. Nothing was sent to HOSP."""

    status = 400
    outcome = "refused"


class Unauthorized(Refused):
    """Credentials are missing or malformed; the response is HOSP's own 401."""

    status = 401


class TooMany(Refused):
    """A client sends too many requests, or guessed wrong passwords too often (RFC 6585 §4).

    Nothing was sent to HOSP.
    """

    status = 429


class OverCapacity(ProxyError):
    """No slot at HOSP became free in time, the queue was full, or memory is used up. Nothing was sent."""

    status = 503
    outcome = "over capacity"

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NothingCached(ProxyError):
    """HOSP cannot be asked, and no cached response may be used instead."""

    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class OwnWriteHidden(ProxyError):
    """HOSP fails, and the cached response lacks a write that this caller was told is stored."""

    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class BreakerOpen(OverCapacity):
    """HOSP is away: several attempts found it unreachable, so nothing is sent until a probe is answered.

    Nothing was sent. As for any OverCapacity, a cached response may be used instead.
    """

    outcome = "hosp is away"

    def __init__(
        self, detail: str = "The upstream server is away; nothing was sent.", *, retry_after_s: int = 5
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NotSent(ProxyError):
    """No byte reached HOSP (connecting failed). It was certainly not carried out, so any request may be sent again."""

    status = 502
    can_retry = True
    outcome = "not sent"


class FailedAfterSending(ProxyError):
    """The request was sent, and no complete response came: whether HOSP carried it out is unknown.

    :param head_status: the status if a complete head came and the body was cut off; None without one.
    :param timed_out: no response in time, as opposed to a connection that broke.
    """

    status = 502
    can_retry = True
    outcome = "failed after sending"

    def __init__(self, detail: str, *, head_status: int | None = None, timed_out: bool = False) -> None:
        super().__init__(detail, status=504 if timed_out else 502)
        self.head_status = head_status
        self.timed_out = timed_out


class BadAnswer(ProxyError):
    """HOSP sent a response that must not be passed on (too large, badly framed, encoded).

    :param head_status: the status if a complete head came, which shows that HOSP has finished; None without one.
    """

    status = 502
    outcome = "bad answer"

    def __init__(self, detail: str, *, head_status: int | None = None) -> None:
        super().__init__(detail)
        self.head_status = head_status


class OutcomeUnknown(ProxyError):
    """A write may or may not have been carried out, and this cannot be found out in time.

    :param reference: names the write in the audit record.
    :param hopeless: no later look can find out either.
    """

    status = 502
    outcome = "unknown"

    def __init__(
        self, detail: str, *, reference: str, timed_out: bool = False, hopeless: bool = False
    ) -> None:
        super().__init__(detail, status=504 if timed_out else 502)
        self.reference = reference
        self.hopeless = hopeless


class OwnNotRecorded(ProxyError):
    """The audit record of one of the proxy's own requests could not be kept, so its response is not used.

    The request may have been sent: a write then counts as one whose outcome is unknown.
    """

    status = 503
    outcome = "not recorded"


class RecordFailed(Exception):
    """The audit record of a request could not be kept. The connection is closed: no response without a record."""
