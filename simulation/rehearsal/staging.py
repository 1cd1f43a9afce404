"""What a rehearsal needs besides the requests: options that run in the simulation, people, HOSP's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from attrs import evolve, field, frozen

from hospproxy.config import ListenerSettings, Settings
from hospproxy.options.front_section import FrontSettings, OriginSettings

from ..clients.people import Person, Wish
from ..hosp.server import Hosp
from .visits import Visit

HOSP_ADDRESS, CLIENTS_ADDRESS, MACHINE_ADDRESS = "10.0.0.1", "10.0.1.1", "10.0.2.1"
_RESOURCES = ("hospitals", "staffs", "patients", "notes")
_CREATED: Mapping[str, Mapping[str, object]] = {
    "notes": {"title": "rehearsed", "patient_id": 1},
    "patients": {"name": "rehearsed", "hospital_id": 1, "birthdate": "2020-01-01"},
    "staffs": {"name": "rehearsed", "hospital_id": 1, "password": "rehearsed"},
    "hospitals": {"name": "rehearsed"},
}
_CHANGED = {"notes": "title", "patients": "name", "staffs": "name", "hospitals": "name"}


def staged(settings: Settings) -> Settings:
    """The same options for one process in the simulation: what is outside it is off or replaced.

    Kept as they are: deadlines, validation, ownership, permissions, cache, writes, retry, gate, breaker, admission.
    """
    own = Settings(upstream=evolve(settings.upstream, url=f"http://{HOSP_ADDRESS}:3000", ca_file=None))
    return evolve(
        own,
        **{
            name: getattr(settings, name)
            for name in (
                "contract_file", "deadline_s", "arrival", "validation", "identity", "ownership", "permissions",
                "answers", "screening", "cache", "writes", "retry", "gate", "breaker",
            )
        },
        admission=settings.admission,
        listeners=(ListenerSettings(url=f"http://{MACHINE_ADDRESS}:8000", plain="serve"),),
        trusted_proxies=(ip_network(f"{CLIENTS_ADDRESS}/32"),),
        front=FrontSettings(),
        origin=OriginSettings(),
        audit=evolve(own.audit, commit="thread"),
        admin=evolve(own.admin, enabled=False),
        status=evolve(own.status, enabled=False),
        audit_database=evolve(own.audit_database, enabled=False),
    )  # fmt: skip


@frozen
class Cast:
    """Who and what occurs in a day.

    :param people: by `Visit.who`.
    :param ids: of the records that existed, by resource.
    :param filters: the `hospital_id` that stands for a list's filter, by the set of patients that it showed.
    """

    people: dict[str, Person] = field(factory=dict)
    ids: dict[str, set[int]] = field(factory=lambda: defaultdict(set))
    filters: dict[str, int] = field(factory=dict)

    @classmethod
    def of(cls, visits: Iterable[Visit]) -> Cast:
        """Everybody and every record that a day's requests name. A record that was never found does not exist."""
        cast = cls()
        for visit in visits:
            if visit.who and visit.who not in cast.people:
                id_ = int(visit.who) if visit.who.isdigit() else 0
                cast.people[visit.who] = Person(f"staff-{visit.who[:16]}", id_, f"password-{visit.who[:16]}")
                if id_:
                    cast.ids["staffs"].add(id_)
            if visit.disclosed and visit.route.startswith("/patients"):
                cast.filters.setdefault(visit.disclosed, len(cast.filters) + 1)
            if visit.status != 404:
                resource = visit.route.strip("/").partition("/")[0].partition(".")[0]
                if resource in _RESOURCES and visit.record_id.isdigit():
                    cast.ids[resource].add(int(visit.record_id))
                if visit.patient_id.isdigit():
                    cast.ids["patients"].add(int(visit.patient_id))
        cast.ids["hospitals"].add(1)
        return cast

    def furnish(self, hosp: Hosp) -> None:
        """Create the records at the simulated HOSP."""
        names = {person.id: person for person in self.people.values() if person.id}
        patients = sorted(self.ids["patients"]) or [1]
        for resource in _RESOURCES:
            for id_ in sorted(self.ids[resource]):
                fields: dict[str, Any] = dict(_CREATED[resource])
                if resource == "staffs" and id_ in names:
                    fields |= {"name": names[id_].name, "password": names[id_].password}
                elif resource == "staffs":
                    fields["name"] = f"staff-{id_}"
                elif resource == "notes":
                    fields |= {"patient_id": patients[id_ % len(patients)], "staff_id": min(names, default=1)}
                hosp.import_record(resource, id_, fields)
            hosp.application.records.go_on_from(resource, max(self.ids[resource], default=0))


def wish_of(visit: Visit, number: int, filters: Mapping[str, int]) -> Wish:
    """The request that leaves such a record.

    :param number: makes each body different, as bodies are.
    :param filters: see `Cast`.
    """
    target = _target(visit, filters)
    headers = (("X-Forwarded-For", visit.address),) if visit.address else ()
    if visit.outcome == "refused" and visit.status in (400, 422) and not visit.is_write:
        target += ("&" if "?" in target else "?") + "hospital_id=rehearsed"
    leaves = visit.seconds if visit.outcome == "client gone" else None
    wrong = "wrong" if visit.certainty == "claimed" else None
    method = visit.method if visit.method.isupper() else "PUT"
    return Wish(
        method,
        target,
        _body(visit, number),
        headers=headers,
        leave_after_s=leaves,
        name=None if visit.who else "",
        password=wrong,
        fresh_line=leaves is not None,
    )


def _target(visit: Visit, filters: Mapping[str, int]) -> str:
    if not visit.route.startswith("/"):
        return "/rehearsed/unknown"
    resource, placeholder, rest = visit.route.partition("{")
    if placeholder:
        tail = rest.partition("}")[2]
        id_ = visit.record_id or (visit.patient_id if resource == "/patients/" else "") or "1"
        return f"{resource}{id_}{tail}"
    if resource == "/notes" and visit.patient_id and not visit.is_write:
        return f"/notes?patient_id={visit.patient_id}"
    if visit.disclosed in filters:
        return f"{resource}?hospital_id={filters[visit.disclosed]}"
    return resource


def _body(visit: Visit, number: int) -> Any:
    resource = visit.route.strip("/").partition("/")[0]
    if not visit.is_write or visit.method == "DELETE":
        return None
    invalid = visit.outcome == "refused" and visit.status in (400, 422)
    if visit.route.endswith("/screen"):
        return {"images": number if invalid else [f"rehearsed {number}"]}
    if resource not in _CREATED:
        return {}
    changed = _CHANGED[resource]
    if invalid:
        return {changed: number}
    if visit.method == "POST":
        body = dict(_CREATED[resource]) | {changed: f"rehearsed {number}"}
        return body | ({"patient_id": int(visit.patient_id)} if visit.patient_id.isdigit() else {})
    return {changed: f"rehearsed {number}"}
