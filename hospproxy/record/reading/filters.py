"""What somebody asks of the trail: one frozen value, read from a query string or from a command line."""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True, kw_only=True)
class Filters:
    """All that are given must hold; None asks for nothing.

    :param staff: id or exact name of a member of staff whom HOSP has accepted, also of one on whose behalf the proxy
        asked. Attempts in this name are not among them (``claimed``), nor are auditors who are called so.
    :param claimed: exact name that was claimed and not proved: a wrong password, or a request that was refused first.
    :param auditor: exact name of somebody who has looked at the trail.
    :param patient: id; also records whose disclosure set holds the patient.
    :param action: "create", "read", …, "log-in failure".
    :param outcome: as docs/audit.md names them.
    :param route: a path template.
    :param resource: "notes", …
    :param record_id: of the resource.
    :param request_id: as clients have it in ``X-Request-Id``; also what was asked on its behalf.
    :param address: of the client.
    :param kind: "request", "alert", …; None stands for all that people ask about (not begin, digest,
        disclosure, intent).
    :param status: of the answer.
    :param since: seconds since the epoch, included.
    :param until: seconds since the epoch, not included.
    :param own: the proxy's own requests too.
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
