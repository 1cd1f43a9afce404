"""Rules on HOSP's load: its slots (`gate.concurrency`), and guesses of passwords that reach it."""

from __future__ import annotations

from collections.abc import Iterator

from ..history import InHand, Trouble
from .truth import FOREVER, Truth, Violation

TRAVELS_S = 0.02
"""The longest time from when the proxy sends a request until HOSP has received it."""
TRAVELS_LONG_S = 8.0
"""The same while a fault delays the traffic to HOSP."""
FINISH_S = 20.0
"""A request that was sent is kept in flight at least so long, unless HOSP ends it."""
REFUSED_S = 5.0
"""For so long HOSP is not asked about credentials that it has refused (`admission.refusal_s`)."""
_UNHEARD = ("delay", "reset", "split", "kill", "power", "restart", "hosp")


def in_hand(truth: Truth) -> Iterator[Violation]:
    """
    HOSP has no more requests in flight than allowed.

    These do not count: probes (``GET /``), requests that a dead process left behind, requests whose connection HOSP or
    the network broke, and requests that HOSP must have finished. It must have finished `late_commit_s` after the proxy
    sent the request, which is somewhat before HOSP received it (ADR 30 counts from there).
    """
    premises = truth.history.premises
    spans = list(_spans(truth))
    edges = sorted(
        [(begins, 1, number) for number, begins, ends in spans if ends > begins]
        + [(ends, -1, number) for number, begins, ends in spans]
    )
    open_now: set[int] = set()
    worst, at, whose = 0, 0.0, frozenset[int]()
    for moment, step, number in edges:
        open_now.add(number) if step > 0 else open_now.discard(number)
        if len(open_now) > worst:
            worst, at, whose = len(open_now), moment, frozenset(open_now)
    if worst > premises.concurrency:
        names = {each.request: f"{each.method} {each.target}" for each in truth.history.of(InHand)}
        listed = ", ".join(sorted(names[number] for number in whose))
        text = f"HOSP had {worst} requests in hand, {premises.concurrency} are allowed: {listed[:300]}"
        yield Violation("load.in_hand", at, text)


def _spans(truth: Truth) -> Iterator[tuple[int, float, float]]:
    """Each request that counts: its number, begin and end."""
    begun: dict[int, InHand] = {}
    for each in truth.history.of(InHand):
        if each.what == "begins":
            if each.target != "/":
                begun[each.request] = each
        elif (began := begun.get(each.request)) is not None and not _goes_on(truth, each):
            del begun[each.request]
            yield each.request, began.at, min(each.at, _must_have_finished(truth, began))
    for number, began in begun.items():
        yield number, began.at, _must_have_finished(truth, began)


def _must_have_finished(truth: Truth, began: InHand) -> float:
    """Until when the proxy has to count a request. It knows when it sent it, but not when HOSP received it."""
    travels_s = TRAVELS_S
    for trouble in truth.history.of(Trouble):
        if trouble.kind == "delay hosp" and trouble.at <= began.at <= trouble.until + TRAVELS_LONG_S:
            travels_s = max(travels_s, TRAVELS_LONG_S)
        elif trouble.kind == "split hosp" and trouble.until <= began.at <= trouble.until + TRAVELS_S:
            travels_s = max(travels_s, TRAVELS_S + trouble.until - trouble.at)
    until = max(began.at, began.at - travels_s + truth.history.premises.late_commit_s)
    if truth.history.premises.shape == "machines":
        return until  # which machine sent it is not known
    # A machine that loses power sends no resets, so HOSP never notices that the process is dead. A process that ends
    # hands its observations on, and the next one holds the slots for as long as HOSP has needed lately (ADR 30).
    cuts = [each.at for each in truth.history.of(Trouble) if each.kind == "power cut"]
    if truth.history.premises.shape == "one":
        cuts += [life.at for life in truth.deaths(began.at, FOREVER)]
    return min([until, *(at for at in cuts if began.at <= at)])


def _goes_on(truth: Truth, event: InHand) -> bool:
    """Whether a request still counts after this event: the proxy closed its connection, because the client left."""
    if event.what != "deserted":
        return False
    died = any(True for _ in truth.deaths(event.at - 1.0, event.at + 0.01))
    return not died and not truth.troubled(
        event.at - 1.0, event.at, "reset", "split", "kill", "power", "restart"
    )


def guess_dropped(truth: Truth) -> Iterator[Violation]:
    """A guess that was sent to HOSP is finished though its client has left: otherwise nothing is learnt from it."""
    begun: dict[int, InHand] = {}
    for each in truth.history.of(InHand):
        if each.what == "begins":
            begun[each.request] = each
        began = begun.get(each.request)
        if each.what != "deserted" or began is None or not _is_guess(truth, began):
            continue
        if each.at - began.at < FINISH_S and _goes_on(truth, each):
            text = f"{began.target} with a wrong password was dropped {each.at - began.at:.1f} s after it was sent"
            yield Violation(
                "load.guess_dropped", each.at, text, (truth.by_request[began.request_id].asked.op,)
            )


def guess_again(truth: Truth) -> Iterator[Violation]:
    """For some seconds HOSP is not asked again about credentials that it has refused."""
    if truth.history.premises.shape != "one":
        return
    refused: dict[tuple[str, str], float] = {}
    accounts = [op for op in truth.writes if op.resource == "staffs"]
    for each in truth.history.of(InHand):
        op = truth.by_request.get(each.request_id)
        if op is None or not _is_guess(truth, each):
            continue
        credentials = op.asked.name, op.asked.password
        at = refused.get(credentials, -FOREVER)
        if each.what == "ends" and each.status == 401:
            refused[credentials] = each.at
        elif each.what == "begins" and at + TRAVELS_S < op.asked.at and each.at < at + REFUSED_S - 0.5:
            learnt = not truth.troubled(at - 1.0, each.at, *_UNHEARD)
            changed = any(write.asked.at <= each.at and write.over >= at - 30.0 for write in accounts)
            if learnt and not changed and not any(True for _ in truth.deaths(at - 1.0, each.at)):
                text = f"HOSP was asked again about a password of {op.asked.name} that it refused at {at:.3f}"
                yield Violation("load.guess_again", each.at, text, (op.asked.op,))


def _is_guess(truth: Truth, request: InHand) -> bool:
    """Whether a request has credentials that never were valid."""
    op = truth.by_request.get(request.request_id)
    return (
        op is not None and op.asked.name != "" and (op.asked.name, op.asked.password) not in truth.credentials
    )


RULES = (in_hand, guess_dropped, guess_again)
