"""Defects of HTTP, of HOSP's slots and of the trail that were found and fixed, each brought back."""

from __future__ import annotations

from .injection import Mutant

_GATE = "hospproxy/outward/gate/gate.py"
_PLACES = (
    Mutant(
        "place-free-when-client-leaves",
        "hospproxy/outward/abandoned.py",
        "        if self._is_sent():\n            self._leave_behind()",
        "        if False:\n            self._leave_behind()",
        "a client that resets its connection frees its place while HOSP works on",
        scene="unknown names that leave",
    ),
    Mutant(
        "place-free-when-given-up",
        _GATE,
        "            if left is None:\n                self._give_back(ticket)",
        '            if left is None or exchange.own == "patient":\n                self._give_back(ticket)',
        "the question for a record's patient frees its place while HOSP works on",
        scene="slow deletes",
        seeds=80,
    ),
)
_OUTWARD = (
    Mutant(
        "bare-line-feeds-awaited",
        "hospproxy/outward/answer_reader.py",
        "        bare_line_feed(buffer, self._searched, end)\n",
        "",
        "a head of HOSP's with bare line feeds is waited for until the deadline",
        scene="odd answers",
    ),
    Mutant(
        "no-retry-after",
        "hospproxy/chain.py",
        "with_retry_after(await proceed(exchange))",
        "await proceed(exchange)",
        "HOSP's own 429 and 503 go out without Retry-After",
        scene="odd answers",
    ),
    Mutant(
        "retry-after-not-heeded",
        "hospproxy/outward/retry.py",
        "pause = max(pause, _asked_for_s(result))",
        "pass",
        "HOSP is asked again before the time that it named",
        scene="odd answers",
    ),
    Mutant(
        "no-via",
        "hospproxy/outward/upstream_request.py",
        "    if client.via:",
        "    if False:",
        "requests to HOSP have no Via",
        scene="odd answers",
    ),
    Mutant(
        "no-date",
        "hospproxy/outward/upstream.py",
        "return dated(tagged(call.operation, response), self._wall())",
        "return tagged(call.operation, response)",
        "where HOSP gives no date, an answer from memory has a new one each time",
        scene="odd answers, plain",
    ),
    Mutant(
        "unasked-304-and-206",
        "hospproxy/outward/response_check.py",
        "if response.status in _UNASKED:",
        "if False:",
        "a 304 or 206 that nobody asked for goes out",
        scene="odd answers",
    ),
    Mutant(
        "ranges-offered",
        "hospproxy/outward/response_check.py",
        "return (KNOWN | more) - _OF_RANGES",
        "return KNOWN | more | _OF_RANGES",
        "clients are offered ranges that they cannot get",
        scene="odd answers",
    ),
    Mutant(
        "no-cache-kept",
        "hospproxy/memory/storable.py",
        'if b"no-cache" in said and not override_no_cache:',
        "if False:",
        "what HOSP marks as no-cache is given from memory",
        scene="odd answers, plain",
    ),
)
_CONDITIONS = (
    Mutant(
        "conditions-ignored",
        "hospproxy/assembly.py",
        '"outward.conditions": ConditionCheck(base.contract, ask)',
        '"outward.conditions": None',
        "a PATCH with If-Match overwrites what its author has not read",
        scene="careful edits",
    ),
    Mutant(
        "condition-fails-as-error",
        "hospproxy/outward/conditions.py",
        "raise NotJudged from error",
        "raise",
        "a condition that could not be judged is told as HOSP's failure",
        scene="careful edits, failing reads",
        seeds=80,
    ),
    Mutant(
        "weak-tags-match",
        "hospproxy/outward/conditions.py",
        "(False, etag) in self.listed",
        'etag.removeprefix(b"W/") in {tag for _, tag in self.listed}',
        "a weak tag lets a PATCH through",
        scene="careful edits",
    ),
)
_READS = (
    Mutant(
        "replay-says-forwarded",
        "hospproxy/memory/stale.py",
        "    if response.origin is Origin.MEMORY:",
        "    if False:",
        "the answer to a key that was used says that HOSP was asked",
        scene="keys again",
    ),
    Mutant(
        "fresh-says-ttl-0",
        "hospproxy/memory/stale.py",
        "ttl = ttl if clean else min(0, ttl)",
        "ttl = min(0, ttl)",
        "a fresh answer says that it is stale while HOSP is away",
        scene="reads in an outage",
    ),
    Mutant(
        "first-parameter-counts",
        "hospproxy/guard/paths.py",
        "given[name] = value",
        "given.setdefault(name, value)",
        "of a doubled parameter the first counts, HOSP takes the last",
        scene="filters",
    ),
    Mutant(
        "filter-dropped",
        "hospproxy/contract_query.py",
        'fields = self._fields(said) if method == "get" and ours.get("action") == "search" else {}',
        "fields: dict[str, Any] = {}",
        "a filter that HOSP has becomes the whole list",
        scene="filters",
    ),
    Mutant(
        "filter-believed",
        "hospproxy/memory/record_patch.py",
        "            certain = False",
        "            return False",
        "a kept list is set right by a filter that HOSP does not apply",
        scene="filters not applied",
        seeds=80,
    ),
)
_BODIES = (
    Mutant(
        "all-mistakes-listed",
        "hospproxy/schema_walk.py",
        "tuple(islice(walk(value, ()), MOST_ERRORS))",
        "tuple(walk(value, ()))",
        "the list of mistakes in a body has no bound",
        scene="mistakes",
    ),
    Mutant(
        "unknown-body-read",
        "hospproxy/arrival/http1.py",
        "(framing.length or 0) > most",
        "False",
        "a large body is read before HOSP has accepted the credentials",
        scene="mistakes",
    ),
    Mutant(
        "continue-for-anybody",
        "hospproxy/arrival/http1.py",
        "elif most and (framing.expect_continue or",
        "elif most and (",
        "a 100 (Continue) before the credentials are judged",
        scene="mistakes",
    ),
    Mutant(
        "values-without-bound",
        "hospproxy/guard/large_bodies.py",
        "if values > most or texts > 2 * most:",
        "if False:",
        "a body of more than 20,000 values is taken",
        scene="mistakes",
    ),
    Mutant(
        "any-birthdate",
        "hospproxy/hosp.openapi.yaml",
        '      pattern: "^([0-9]{4}-((0[13578]',
        '      description: "^([0-9]{4}-((0[13578]',
        "a birthdate that is none is told 201, and stored as null",
        scene="mistakes",
    ),
)
_TRAIL = (
    Mutant(
        "claimed-name-not-recorded",
        "hospproxy/record/describe.py",
        "if exchange.trace.claimed_name is not None or exchange.own:",
        "if True:",
        "a refused request is recorded as if no credentials had come",
        scene="mistakes",
    ),
    Mutant(
        "patient-of-wrong-method",
        "hospproxy/record/describe.py",
        "named(self.routes, exchange.request) if call is None else None",
        "None",
        "a request with a wrong method is recorded without its patient",
        scene="mistakes",
    ),
)
ALL = (*_PLACES, *_OUTWARD, *_CONDITIONS, *_READS, *_BODIES, *_TRAIL)
