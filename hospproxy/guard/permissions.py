"""Apply the permission rules of the contract: each is off, reported or enforced. HOSP itself has no such rules."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping

from attrs import evolve, field, frozen
from zope.interface import implementer

from ..contract.contract import Contract, Operation
from ..contract.permissions import Permission
from ..exchange.call_ids import as_id
from ..exchange.exchange import Call, Deadline, Exchange, Identified
from ..exchange.words import PermissionEvent
from ..http.errors import ProxyError, Refused
from ..http.messages import ABSENT, Identity, Priority, Request, Response
from ..http.repeat import ALWAYS, Repeat
from ..interfaces import Ask, IMeter, IProcessor, Proceed
from .knowledge import Knowledge, MissingField, Value
from .ownership import same_id

BREAK_GLASS = b"x-break-glass"
"""The request field with the reason for breaking the glass (emergency access)."""
MAX_REASON = 200
"""Characters of the reason that are kept."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Ids that can be put into a path unchanged."""


class PermissionVerdict(enum.Enum):
    """What one rule says about one request; UNKNOWN if a value that it compares is not known."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"


def reason_in(exchange: Exchange) -> str | None:
    """Return the reason for breaking the glass; None if the request gives none."""
    given = exchange.request.headers.get(BREAK_GLASS)
    text = "" if given is None else given.decode("utf-8", "replace").strip()
    return text[:MAX_REASON] or None


def compared(value: Value | MissingField, other: Value | MissingField) -> PermissionVerdict:
    """Compare a record's field with the caller's. A record that is gone, or belongs to nothing, is allowed.

    :param value: of the record.
    :param other: of the caller.
    """
    if value is MissingField.GONE or value is None:
        return PermissionVerdict.ALLOWED
    if value is MissingField.UNKNOWN or other is MissingField.UNKNOWN:
        return PermissionVerdict.UNKNOWN
    return PermissionVerdict.ALLOWED if same_id(value, other) else PermissionVerdict.FORBIDDEN


def applies(rule: Permission, call: Call) -> bool:
    """Whether the document contains the field that the rule is about.

    Validation has removed wrapper keys in which Rails might find it too.
    """
    document = call.document
    return rule.when is None or not isinstance(document, Mapping) or rule.when in document


def by_answer(rule: Permission, operation: Operation) -> bool:
    """Whether the response itself contains what the rule compares.

    Such a read is judged when its response is there, and needs no request of the proxy's own.
    """
    if not operation.is_read or rule.allow in ("nobody", "self"):
        return False
    place = operation.patient
    return (
        rule.allow != "same" or rule.record == operation.id or (place is not None and place.where == "answer")
    )


@frozen(slots=True)
class _Case:
    """One request judged by one rule.

    :param asks: the upstream may be asked for unknown values.
    :param answer: watched fields of the response, for a read that is judged by its response.
    :param only_known: judge by what is known, as if the upstream gave no answer.
    :ivar about: ids of the patients (subjects) that the request is about, for the record of a refusal.
    """

    exchange: Identified
    call: Call
    who: Identity
    rule: Permission
    asks: bool
    answer: Mapping[str, Value] | None = field(default=None, repr=False)
    only_known: bool = False
    about: list[str] = field(factory=list)


@implementer(IProcessor)
class Permissions:
    """Judges requests by the permission rules.

    A reported rule uses only what earlier responses have shown: it sends no request and waits for nothing. An
    enforced rule asks the upstream with the caller's credentials, and refuses if it cannot find out.

    :param modes: by rule name; a rule that is missing is off.
    :param administrators: ids of staff to whom no rule applies.
    :param remember_s: seconds for which an enforced rule trusts what a response has shown.
    :param certain: whether no other worker can have made a write that this one has not learned of; if not, an
        enforced rule trusts nothing it remembers.
    """

    def __init__(
        self,
        contract: Contract,
        knowledge: Knowledge,
        ask: Ask,
        meter: IMeter,
        modes: Mapping[str, str],
        *,
        administrators: frozenset[str] = frozenset(),
        remember_s: float,
        certain: Callable[[], bool] = lambda: True,
    ) -> None:
        self._contract = contract
        self._knowledge = knowledge
        self._ask = ask
        self._meter = meter
        self._administrators = administrators
        self._remember_s = remember_s
        self._certain = certain
        self._enforced = {name for name, mode in modes.items() if mode == "enforce"}
        self._rules: dict[str, list[Permission]] = {}
        for rule in contract.permissions:
            for name in rule.operations if modes.get(rule.name, "off") != "off" else ():
                self._rules.setdefault(name, []).append(rule)

    async def process(self, exchange: Identified, proceed: Proceed) -> Response:
        """Pass on what the rules allow.

        :raise Refused: 403, a rule forbids it.
        :raise ProxyError: 502, the caller is not known; 503, an enforced rule could not be applied.
        """
        call = exchange.call
        operation = call.operation
        rules = [rule for rule in self._rules.get(operation.id, ()) if applies(rule, call)]
        for rule in rules:
            if not by_answer(rule, operation):
                await self._hold(rule, exchange, call)
        if operation.is_write and operation.record is not None:
            return await self._changing(exchange, call, proceed)
        response = await proceed(exchange)
        judged = [rule for rule in rules if by_answer(rule, operation)]
        if judged and (200 <= response.status < 300 or response.status == 304):
            shown = exchange.trace.unchanged if response.status == 304 else response.body
            told = self._knowledge.read(operation.resource or "", shown or b"")
            for rule in judged:
                await self._hold(rule, exchange, call, told)
        return response

    def passes(self, exchange: Identified) -> bool:
        """No rule is about this operation, and it changes no record."""
        operation = exchange.call.operation
        return operation.id not in self._rules and not (operation.is_write and operation.record is not None)

    def repeat(self, exchange: Exchange, response: Response) -> Repeat | None:
        """An equal read passes while what is known makes every rule say the same, without asking HOSP."""
        trace = exchange.trace
        call, who = trace.call, trace.identity
        if call is None or not call.operation.is_read:
            return None
        operation = call.operation
        rules = [rule for rule in self._rules.get(operation.id, ()) if applies(rule, call)]
        if not rules:
            return ALWAYS
        if who is None or str(who.id) in self._administrators:
            return None
        shown = trace.unchanged if response.status == 304 else response.body
        told = self._knowledge.read(operation.resource or "", shown or b"")
        # Nothing kept for later holds a password.
        bare = evolve(call, authorization=None)
        known = Exchange(Request(), 0.0, 0.0, Deadline(0.0)).called(bare, Priority.READ).identified(None, who)
        cases = [
            _Case(known, bare, who, rule, rule.name in self._enforced,
                  told if by_answer(rule, operation) else None, only_known=True)
            for rule in rules
        ]  # fmt: skip
        knowledge = self._knowledge
        ages = any(case.asks for case in cases)
        passed_at = -1  # the version of what is known with which all rules passed

        def holds(_now: float) -> bool:
            nonlocal passed_at
            if passed_at == knowledge.version:
                return True
            passes = all(map(self._still_passes, cases))
            if passes and not ages:  # a rule that asks believes what it knows only for a time
                passed_at = knowledge.version
            return passes

        return Repeat(holds)

    def _still_passes(self, case: _Case) -> bool:
        case.about.clear()
        verdict = self._verdict(case)
        try:
            verdict.send(None)
        except StopIteration as done:
            unknown = done.value is PermissionVerdict.UNKNOWN and not case.asks
            return done.value is PermissionVerdict.ALLOWED or unknown
        verdict.close()
        return False  # it waits for something, so it is not known now

    async def _changing(self, exchange: Identified, call: Call, proceed: Proceed) -> Response:
        """Send a change. Knowledge of the record is invalid until the response says what the record is now."""
        self._knowledge.forget(call.operation.resource, call.record_id)
        try:
            return await proceed(exchange)
        except Exception:  # a write may have been carried out even without a response
            self._knowledge.forget(call.operation.resource, call.record_id)
            raise

    async def _hold(
        self, rule: Permission, exchange: Identified, call: Call, answer: Mapping[str, Value] | None = None
    ) -> None:
        """Judge a request by one rule."""
        enforced = rule.name in self._enforced
        if exchange.identity is None:
            if enforced:
                raise ProxyError(
                    "The upstream server did not say who is calling; try again.", status=502, retry_after_s=2
                )
            return
        who = exchange.identity
        free = str(who.id) in self._administrators
        case = _Case(exchange, call, who, rule, enforced and not free, answer)
        verdict = await self._verdict(case)
        if verdict is PermissionVerdict.ALLOWED or (verdict is PermissionVerdict.UNKNOWN and not case.asks):
            return
        if free:
            self._note(case, "administrator")
        elif rule.break_glass and (reason := reason_in(exchange)) is not None:
            exchange.trace.break_glass = reason
            self._note(case, "held" if enforced else "report")
            exchange.trace.rule_hits.append("permissions:break-glass")
            self._meter.count("permission_events_total", rule=rule.name, event="break_glass")
        elif not enforced:
            self._note(case, "report")
        else:
            self._refuse(case, verdict)

    def _refuse(self, case: _Case, verdict: PermissionVerdict) -> None:
        if case.about:  # a refused request has no response in which the audit record could find the patient
            case.exchange.trace.patient = case.exchange.trace.patient or case.about[0]
        if verdict is PermissionVerdict.UNKNOWN:
            self._note(case, "unknown")
            raise ProxyError(
                "The proxy could not find out whether this is allowed; try again.",
                status=503,
                retry_after_s=2,
            )
        self._note(case, "held")
        detail = case.rule.detail
        if case.rule.break_glass:
            detail += " In an emergency, send the reason in the X-Break-Glass header."
        raise Refused(detail, status=403)

    def _note(self, case: _Case, how: PermissionEvent) -> None:
        more = "" if how == "held" else f"({how})"
        case.exchange.trace.rule_hits.append(f"permissions:{case.rule.name}{more}")
        self._meter.count("permission_events_total", rule=case.rule.name, event=how)

    async def _verdict(self, case: _Case) -> PermissionVerdict:
        rule, call, who = case.rule, case.call, case.who
        if rule.allow == "nobody":
            return PermissionVerdict.FORBIDDEN
        if rule.allow == "self":
            return PermissionVerdict.ALLOWED if call.record_id == str(who.id) else PermissionVerdict.FORBIDDEN
        if rule.allow == "same":
            return await self._same(case)
        value = await self._own_field(case, rule.field)
        if rule.allow == "author":
            return PermissionVerdict.FORBIDDEN if value is None else compared(value, who.id)
        document = call.document
        if not isinstance(document, Mapping) or rule.field not in document:
            return PermissionVerdict.UNKNOWN
        if value is None:
            return PermissionVerdict.ALLOWED if document[rule.field] is None else PermissionVerdict.FORBIDDEN
        return compared(value, document[rule.field])

    async def _same(self, case: _Case) -> PermissionVerdict:
        """Whether the subjects of the request belong to the same place as the caller."""
        assert case.rule.record is not None and self._contract.identity is not None
        subjects = await self._subjects(case)
        if not subjects:
            return PermissionVerdict.ALLOWED
        theirs = await self._theirs(case)
        verdicts = set()
        for subject in subjects:
            if isinstance(subject, MissingField):
                verdicts.add(compared(subject, theirs))
                continue
            case.about.append(subject)
            verdicts.add(compared(await self._field_of_subject(case, subject), theirs))
        for worst in (PermissionVerdict.FORBIDDEN, PermissionVerdict.UNKNOWN):
            if worst in verdicts:
                return worst
        return PermissionVerdict.ALLOWED

    async def _theirs(self, case: _Case) -> Value | MissingField:
        rule = self._contract.identity
        assert rule is not None
        return await self._field(
            case, self._contract.operation(rule.operation), (), str(case.who.id), case.rule.field
        )

    async def _field_of_subject(self, case: _Case, subject: str) -> Value | MissingField:
        assert case.rule.record is not None
        reading = self._contract.operation(case.rule.record)
        if case.answer is not None and reading.id == case.call.operation.id:
            return case.answer.get(case.rule.field, MissingField.UNKNOWN)
        return await self._field(case, reading, (subject,), subject, case.rule.field)

    async def _subjects(self, case: _Case) -> list[str | MissingField]:
        """Return the ids of the records that the request is about, or why one is not known."""
        call, place = case.call, case.call.operation.patient
        if place is None:
            return []
        if place.where == "path":
            return [_safe(dict(zip(call.operation.parameters, call.path, strict=False)).get(place.name))]
        if place.where == "query":
            named = dict(call.query).get(place.name)
            return [_safe(named)] if named else []
        found: list[str | MissingField] = []
        document = call.document
        if isinstance(document, Mapping):
            if document.get(place.name) is not None:
                found.append(_safe(document[place.name]))
        elif document is not ABSENT:  # only if validation does not enforce
            found.append(MissingField.UNKNOWN)
        if place.where == "answer":
            value = await self._own_field(case, place.name)
            if value is not None:
                found.append(value if isinstance(value, MissingField) else _safe(value))
        return found

    async def _own_field(self, case: _Case, name: str) -> Value | MissingField:
        """Return a field of the record that the request itself names."""
        call = case.call
        if case.answer is not None:
            return case.answer.get(name, MissingField.UNKNOWN)
        reads = call.operation.id if call.operation.is_read else call.operation.record
        if reads is None or call.record_id is None:
            return MissingField.UNKNOWN
        return await self._field(case, self._contract.operation(reads), call.path, call.record_id, name)

    async def _field(
        self, case: _Case, reading: Operation, path: tuple[str, ...], record_id: str, name: str
    ) -> Value | MissingField:
        """Return a field of any record: as remembered, or, if the rule may ask, from HOSP."""
        resource = reading.resource or ""
        believed_s = self._remember_s if self._certain() else -1.0
        bound = believed_s if case.asks else None
        known = self._knowledge.recall(resource, record_id, name, bound)
        if known is not MissingField.UNKNOWN or not case.asks or case.only_known:
            return known
        call = Call(reading, path, accept="json", authorization=case.call.authorization)
        try:
            response = await self._ask(call, on_behalf_of=case.exchange, own="permission")
        except ProxyError:
            return self._of_old(case, resource, record_id, name)
        if response.status == 404:
            return MissingField.GONE
        if response.status != 200:
            return self._of_old(case, resource, record_id, name)
        told = self._knowledge.read(resource, response.body)
        return MissingField.UNKNOWN if told is None else told.get(name, MissingField.UNKNOWN)

    def _of_old(self, case: _Case, resource: str, record_id: str, name: str) -> Value | MissingField:
        """Return what was known earlier, for a read while HOSP cannot be asked.

        Nothing can have been changed through HOSP meanwhile.
        """
        if not case.call.operation.is_read:
            return MissingField.UNKNOWN
        return self._knowledge.recall(resource, record_id, name)


def _safe(value: object) -> str | MissingField:
    """Return an id that can be looked up; UNKNOWN for anything else."""
    text = as_id(value)
    return text if text is not None and _ID.fullmatch(text) else MissingField.UNKNOWN
