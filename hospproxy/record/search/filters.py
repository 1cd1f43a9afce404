"""The filters of a search in the audit trail, as read from a query string or a command line."""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True, kw_only=True)
class Filters:
    """A record must match every filter that is given; None matches everything.

    :param staff: id or exact name of a member of staff whose credentials HOSP accepted; also matches requests
        that the proxy made on their behalf. Not matched: attempts that only claimed this name (see
        ``claimed``), and auditors of the same name.
    :param claimed: exact name that a client claimed but did not prove: wrong password, or refused before the
        check.
    :param auditor: exact name of a person who looked at the audit trail.
    :param patient: patient id; also matches records whose disclosure set holds the patient.
    :param action: "create", "read", …, "log-in failure".
    :param outcome: as listed in docs/audit.md.
    :param route: a path template.
    :param resource: "notes", …
    :param record_id: id of the resource.
    :param request_id: as clients get it in ``X-Request-Id``; also matches requests made on its behalf.
    :param address: of the client.
    :param kind: "request", "alert", …; None means all kinds that people ask about (all but begin, digest,
        tombstone, disclosure and intent).
    :param status: of the response.
    :param since: seconds since the epoch, inclusive.
    :param until: seconds since the epoch, exclusive.
    :param own: include the proxy's own requests.
    :param trouble: only failed log-ins, refusals and alerts.
    """

    staff: str | None = None
    claimed: str | None = None
    auditor: str | None = None
    patient: str | None = None
    action: str | None = None
    outcome: str | None = None
    route: str | None = None
    resource: str | None = None
    record_id: str | None = None
    request_id: str | None = None
    address: str | None = None
    kind: str | None = None
    status: int | None = None
    since: float | None = None
    until: float | None = None
    own: bool = False
    trouble: bool = False
