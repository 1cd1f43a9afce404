"""Rules on a HOSP that fails or is silent: what was read before is served from memory, and a 500 is not passed on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..history import InHand, Trouble
from .truth import Op, Truth, Violation

NOTICED_S = 8.0
"""Seconds after the first request that HOSP leaves without a response until the proxy has noticed the silence."""
USUAL_S = 2.5
"""HOSP's responses just before must have been quicker; after slower ones a silence is noticed later."""
KEPT_S = 300.0
"""What was read so long ago is still in memory, and may stand in for a response of HOSP."""
BUDGET_S = 65.0
"""Window of the retry budget, with its last step."""
MOST_ATTEMPTS = 5
_NETWORK = ("reset", "split", "delay", "kill", "power", "restart", "disk")


def waited_out(truth: Truth) -> Iterator[Violation]:
    """While HOSP is silent, what its reader has read before comes from memory once the silence is noticed."""
    if truth.history.premises.shape != "one":
        return
    for silence in truth.history.of(Trouble):
        if silence.kind != "hosp silent" or not _was_quick(truth, silence):
            continue
        begins = [
            each.at for each in truth.history.of(InHand) if each.what == "begins" and each.target != "/"
        ]
        first = min((at for at in begins if silence.at <= at <= silence.until), default=silence.until)
        noticed = first + NOTICED_S
        for op in truth.ops.values():
            due = max(op.asked.at, noticed) + 1.0
            if silence.at <= op.asked.at and due < min(op.over, silence.until) and _was_read(truth, op):
                text = f"{op.asked.target} of {op.asked.intent} waited until {op.over:.3f} though it was in memory"
                yield Violation("reads.silence", op.over, text, (op.asked.op,))


def _was_quick(truth: Truth, silence: Trouble) -> bool:
    """Whether HOSP responded quickly in the minute before, to many requests, and nothing else was wrong."""
    since = silence.at - 60.0
    for other in truth.history.of(Trouble):
        if other is not silence and other.at <= silence.until and other.until >= since:
            return False
    begun: dict[int, float] = {}
    took: list[float] = []
    for each in truth.history.of(InHand):
        if each.what == "begins" and since <= each.at <= silence.at - USUAL_S:
            begun[each.request] = each.at
        elif each.what == "ends" and each.request in begun:
            took.append(each.at - begun.pop(each.request))
    died = any(True for _ in truth.deaths(silence.at - KEPT_S, silence.until))
    return len(took) >= 12 and not begun and max(took) < USUAL_S and not died


def _was_read(truth: Truth, op: Op) -> bool:
    """Whether its reader has read the same within five minutes, and nobody has written anything since."""
    asked = op.asked
    if asked.method != "GET" or len(asked.headers) > 1 or asked.target == "/":
        return False
    earlier = [
        other.over
        for other in truth.earlier_equals(op)[1:]
        if other.asked.password == asked.password
        and other.told is not None
        and other.told.status == 200
        and asked.at - KEPT_S <= other.over < asked.at
    ]
    if not earlier:
        return False
    return not any(write.asked.at <= op.over and write.over >= min(earlier) - 30.0 for write in truth.writes)


def passed_on(truth: Truth) -> Iterator[Violation]:
    """A read that HOSP fails with a 500 is sent again, as long as the retry budget allows.

    Only repeats that reached HOSP use up the budget. Refused connections cost HOSP nothing.
    """
    if truth.history.premises.shape != "one":
        return
    attempts: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for each in truth.history.of(InHand):
        if each.what == "begins":
            attempts[each.request_id, each.method, each.target].append(each.at)
    repeats = [at for moments in attempts.values() for at in moments[1:]]
    for op in truth.ops.values():
        asked = op.asked
        mine = len(attempts.get((asked.request_id, asked.method, asked.target), []))
        failed = op.told is not None and op.told.status == 500 and asked.method == "GET"
        if not failed or not 0 < mine < MOST_ATTEMPTS or op.over - asked.at > 20.0:
            continue
        since = op.over - BUDGET_S
        if truth.troubled(since, op.over, *_NETWORK) or any(True for _ in truth.deaths(since, op.over)):
            continue
        # A repeat is taken from the budget some seconds before it reaches HOSP.
        spent = sum(1 for at in repeats if since <= at <= op.over + 10.0)
        if spent < truth.history.premises.retries:
            text = f"{asked.target} of {asked.intent} was told 500 after {mine} attempts; HOSP got {spent} repeats"
            yield Violation("load.passed_on", op.over, text, (asked.op,))


RULES = (waited_out, passed_on)
