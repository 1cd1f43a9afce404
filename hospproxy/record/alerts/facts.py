"""What the alert rules read from an audit record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

LOGIN_FAILURE = "log-in failure"
"""The ``action`` of a record whose credentials were rejected."""

BREAK_GLASS = "permissions:break-glass"
"""In the ``rule_hits`` of a record whose break-glass reason was accepted."""


@define(slots=True)  # not frozen: each record makes one, and that would cost three times as much
class RecordFacts:
    """One record, reduced to what the rules need.

    :param request_id: of the record.
    :param who: its ``who``.
    :param address: of the client.
    :param failed_login: the request had credentials, and they were rejected.
    :param person: id of the staff record, only if HOSP confirmed who this is.
    :param patient: whose data was read or written with success: the id, or the name of a disclosure set.
    :param anothers_name: the record sent names another person as its author.
    :param break_glass: the reason given for passing where a rule refuses.
    """

    request_id: str
    who: Mapping[str, Any]
    address: str
    failed_login: bool = False
    person: int | str | None = None
    patient: str | None = None
    anothers_name: bool = False
    break_glass: str | None = None

    @property
    def called(self) -> str:
        """The person in a sentence: the name as HOSP gives it, and the id."""
        name = self.who.get("name")
        return f"{name} (id {self.person})" if name else f"the member of staff with the id {self.person}"

    def of(self, request_id: str) -> RecordFacts:
        """Return the facts of another record, which says the same."""
        return RecordFacts(
            request_id, self.who, self.address, self.failed_login, self.person, self.patient,
            self.anothers_name, self.break_glass,
        )  # fmt: skip


def facts_of(record: Mapping[str, Any]) -> RecordFacts | None:
    """The facts of a record; None if it tells nothing about a person.

    That is so for the proxy's own requests, findings and gaps. A request without credentials is not a failed
    log-in: every browser sends one first.
    """
    kind = record["kind"]
    if kind == "look":
        failed = record.get("action") == LOGIN_FAILURE
        return _facts(record, record.get("who") or {}, failed_login=True) if failed else None
    if kind != "request":
        return None
    who, status = record["who"], record["status"]
    if who["certainty"] != "verified":
        refused = status == 401 or record["action"] == LOGIN_FAILURE
        return _facts(record, who, failed_login=refused and who["certainty"] == "claimed")
    return _facts(
        record,
        who,
        person=who["id"],
        patient=_patient(record) if status is not None and status < 400 else None,
        anothers_name=any(hit.startswith("ownership:") for hit in record["rule_hits"]),
        break_glass=record.get("break_glass") if BREAK_GLASS in record["rule_hits"] else None,
    )


def _facts(record: Mapping[str, Any], who: Mapping[str, Any], **more: Any) -> RecordFacts:
    address = (record.get("client") or {}).get("address") or ""
    return RecordFacts(record.get("request_id") or "", who, address, **more)


def _patient(record: Mapping[str, Any]) -> str | None:
    """A single patient by id; a list by its set, so that it counts as one, however long it is."""
    patient: str | None = record["patient_id"]
    if patient is not None:
        return patient
    disclosed = record.get("disclosed")
    return f"set {disclosed['set']}" if disclosed else None
