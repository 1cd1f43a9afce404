"""Every failure: its status, its public text, and whether another try may help.

"Could not connect" and "failed after sending" are different errors because their safety differs: what was never sent
may be sent again whatever it is, the rest only if the contract says that it is repeatable or a look shows it absent.
"""

from __future__ import annotations

from http import HTTPStatus

from .messages import Headers


def reason(status: int) -> str:
    """The reason phrase of a status, as Rails spells it in its error bodies."""
    if status == 422:
        return "Unprocessable Content"
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


class ProxyError(Exception):
    """A failure that becomes an answer.

    :param detail: one sentence for the client; it never holds what HOSP or another client sent.
    :param status: the status to answer with.
    :param field: key path of the offending field, where there is one.
    :param retry_after_s: seconds after which another try is worth while; None says nothing of it.
    :param headers: further fields of the answer (``Allow``, …).
    :param errors: each mistake of a body as (key path, sentence), the first few; the first is ``field`` and ``detail``.

    ``limit`` names the limit of arrival that was reached, where it was one.
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
    """The request may not pass: malformed, not in the contract, not allowed. Nothing reached HOSP."""

    status = 400
    outcome = "refused"


class Unauthorized(Refused):
    """Credentials missing or malformed: HOSP's own 401 is the answer."""

    status = 401


class TooMany(Refused):
    """One client asks too often, or has guessed wrongly too often (RFC 6585 §4). Nothing reached HOSP."""

    status = 429


class OverCapacity(ProxyError):
    """No place at HOSP in time, or none left in the queue. Nothing was sent."""

    status = 503
    outcome = "over capacity"

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NothingKept(ProxyError):
    """HOSP cannot be asked, and there is nothing in memory that may be given instead."""

    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class OwnWriteHidden(ProxyError):
    """HOSP fails, and what is in memory does not show what this very person was told to be stored."""

    status = 503

    def __init__(self, detail: str, *, retry_after_s: int = 5) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class BreakerOpen(OverCapacity):
    """HOSP is gone: attempt after attempt found nobody there, so nothing is sent until a probe is answered.

    Nothing was sent. Whoever has an answer in memory may give that instead, as for any OverCapacity.
    """

    outcome = "hosp is away"

    def __init__(
        self, detail: str = "The upstream server is away; nothing was sent.", *, retry_after_s: int = 5
    ) -> None:
        super().__init__(detail, retry_after_s=retry_after_s)


class NotSent(ProxyError):
    """No byte reached HOSP (connect failed): certainly not carried out, so any request may be tried again."""

    status = 502
    can_retry = True
    outcome = "not sent"


class FailedAfterSending(ProxyError):
    """The request was sent and no whole answer came: whether HOSP carried it out is unknown.

    :param head_status: the status if a whole head came and the body was cut; None without one.
    :param timed_out: no answer in time, as opposed to a connection that broke.
    """

    status = 502
    can_retry = True
    outcome = "failed after sending"

    def __init__(self, detail: str, *, head_status: int | None = None, timed_out: bool = False) -> None:
        super().__init__(detail, status=504 if timed_out else 502)
        self.head_status = head_status
        self.timed_out = timed_out


class BadAnswer(ProxyError):
    """HOSP answered with what may not be passed on (too large, badly framed, encoded).

    :param head_status: the status if a whole head came, which says that HOSP has finished; None without one.
    """

    status = 502
    outcome = "bad answer"

    def __init__(self, detail: str, *, head_status: int | None = None) -> None:
        super().__init__(detail)
        self.head_status = head_status


class OutcomeUnknown(ProxyError):
    """A write may or may not have been carried out and it cannot be known in time.

    :param reference: names the write in the record.
    :param hopeless: no later look can tell either.
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
    """The record of one of the proxy's own requests could not be kept, so its answer is not used.

    It may have been sent: an own write counts as one whose outcome is not known.
    """

    status = 503
    outcome = "not recorded"


class RecordFailed(Exception):
    """The record of a request could not be kept. The connection is closed unanswered: no answer without a record."""
