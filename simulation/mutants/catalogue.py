"""The planted defects, by name. Each says what it breaks, and where it shows soonest."""

from __future__ import annotations

from collections.abc import Mapping

from .injection import Mutant
from .sharing import SHARING
from .shortcuts import SHORTCUTS

_WRITING = ("note", "edit", "twice", "delete")
_MEMORY = (
    Mutant(
        "cache-keeps-after-write",
        "hospproxy/memory/memory.py",
        "            self.store.mark_tag(tag, EntryMark.STRUCK)\n            self.keeper.mark(tag, EntryMark.STRUCK)\n"
        "            self.fills.doom((tag,))\n        if may_let_in",
        "            self.fills.doom((tag,))\n        if may_let_in",
        "a write strikes nothing in memory",
    ),
    Mutant(
        "fills-not-doomed",
        "hospproxy/memory/memory.py",
        "            self.keeper.mark(tag, EntryMark.STRUCK)\n            self.fills.doom((tag,))\n"
        "        if may_let_in",
        "            self.keeper.mark(tag, EntryMark.STRUCK)\n        if may_let_in",
        "an answer that was under way during a write is kept",
        habits=("note", "edit", "flood"),
    ),
    Mutant(
        "anothers-cache",
        "hospproxy/memory/key.py",
        '    who = [] if identity is None else [str(identity.id).encode(), identity.credentials, b"%d" % generation]',
        "    who: list[bytes] = []",
        "answers are kept for everybody",
        habits=("edit", "password"),
    ),
    Mutant(
        "generation-ignored",
        "hospproxy/memory/key.py",
        'identity.credentials, b"%d" % generation]',
        "]",
        "an account's old credentials read what was kept for it",
        habits=("password",),
    ),
    Mutant(
        "query-not-in-key",
        "hospproxy/memory/key.py",
        "    query = [part for pair in call.query for part in pair]",
        "    query: list[str] = []",
        "one filter's list is given for another's",
        habits=("note",),
    ),
    Mutant(
        "list-not-struck",
        "hospproxy/memory/staleness.py",
        '        tags.append(f"list:{operation.resource}")\n        if call.record_id is not None:',
        "        if call.record_id is not None:",
        "a write strikes its record and no list",
        habits=("note", "edit", "delete"),
    ),
    Mutant(
        "deletion-strikes-no-list",
        "hospproxy/memory/record_patch.py",
        "    if record is None:\n        return others\n",
        "    if record is None:\n        return before\n",
        "a list that is set right keeps what was deleted",
        habits=("note", "delete"),
        seeds=120,
    ),
    Mutant(
        "own-write-not-hidden",
        "hospproxy/memory/cache.py",
        '        if mark is EntryMark.HIDDEN:\n            self._note(exchange, "hidden")',
        '        if False:\n            self._note(exchange, "hidden")',
        "while HOSP fails one reads what was before one's own write",
        scene="filters not applied",
    ),
    Mutant(
        "stale-not-marked",
        "hospproxy/memory/cache.py",
        'why = b"stale-if-error" if mark is EntryMark.CLEAN else b"stale-if-error-invalidated"',
        'why = b"stale-if-error"',
        "what a write has struck is given out unmarked while HOSP fails",
    ),
    Mutant(
        "stale-for-ever",
        "hospproxy/memory/stale.py",
        " and not wish.only_if_cached and over_s < operation.stale_while_revalidate_s",
        " and not wish.only_if_cached",
        "an answer past its time is given out however old",
        habits=("edit",),
        seeds=120,
    ),
    Mutant(
        "account-not-in-doubt",
        "hospproxy/memory/memory.py",
        "        self._each_account(call, self.accounts.changing)\n        self.invalidate(call)",
        "        self.invalidate(call)",
        "a changed password leaves the account as it was",
        habits=("password",),
    ),
)
_ACCOUNTS = (
    Mutant(
        "refusal-not-heeded",
        "hospproxy/memory/accounts.py",
        "        self._drop(credentials_hmac)\n        self._lately.pop(credentials_hmac, None)\n"
        "        self.revoked.tell(credentials_tag(credentials_hmac))",
        "",
        "credentials that HOSP refused are believed on",
        scene="passwords changed outside",
    ),
    Mutant(
        "revocation-not-heeded",
        "hospproxy/memory/accounts.py",
        "        self._changes.note(staff_id, self._sequence)\n        for credentials in",
        "        return\n        for credentials in",
        "the old password reads on from memory after it was changed",
        habits=("password",),
    ),
    Mutant(
        "refused-for-long",
        "hospproxy/guard/identity.py",
        "        if self._refusals.lately(claim.credentials):",
        "        if self._refusals.lately(claim.credentials) or claim.trace.claimed_name in self._names:",
        "who is known and has a new password is refused",
        habits=("password",),
    ),
    Mutant(
        "author-believed",
        "hospproxy/guard/ownership.py",
        "        if creates:\n            document[author] = who.id",
        "        if creates:\n            document[author] = sent.get(author) or who.id",
        "a note is stored in the name that its client claims",
        habits=("note",),
    ),
    Mutant(
        "author-changed",
        "hospproxy/guard/ownership.py",
        "if name != author}",
        "if name != author} | {author: who.id}",
        "the editor of a note becomes its author",
        habits=("edit",),
    ),
)
_OUTWARD = (
    Mutant(
        "query-not-sent",
        "hospproxy/outward/upstream_request.py",
        "query = _encoded(call.query)",
        'query = ""',
        "HOSP gets no filter",
        habits=("note",),
    ),
    Mutant(
        "host-not-handed-on",
        "hospproxy/outward/upstream_request.py",
        "_octets(client.host or target.authority)",
        # The authority with its port would be recognised, and rewritten to the proxy's.
        "_octets(target.host)",
        "addresses in answers name HOSP's own host",
        scene="filters",
    ),
    Mutant(
        "writes-repeated",
        "hospproxy/outward/retry.py",
        "        repeatable = exchange.call.operation.repeatable\n",
        "        repeatable = True\n",
        "a write that failed is sent again at once",
        habits=_WRITING,
    ),
    Mutant(
        "resend-without-waiting",
        "hospproxy/outward/writes/fate.py",
        "    if status in (408, 502, 503, 504):\n        return SendCertainty.OPEN",
        "    if status in (408, 502, 503, 504):\n        return SendCertainty.FINISHED",
        "a write that may be carried out late counts as over",
        habits=_WRITING,
        seeds=80,
    ),
    Mutant(
        "reset-is-final",
        "hospproxy/outward/writes/fate.py",
        "    if result.head_status is None:\n        return SendCertainty.OPEN",
        "    if result.head_status is None:\n        return SendCertainty.FINISHED",
        "a write whose connection broke counts as over",
        habits=_WRITING,
        seeds=80,
    ),
    Mutant(
        "another-key-accepted",
        "hospproxy/outward/writes/processor.py",
        "            if kept is not None and kept.equal != equal:\n                raise another()\n",
        "",
        "a key that was used for another request is taken",
        habits=("misuse",),
    ),
    Mutant(
        "unknown-is-absent",
        "hospproxy/outward/writes/processor.py",
        "            await self._told_unknown(entry, hopeless=unknown.hopeless)\n            raise\n",
        "            await self._ended(entry, WriteState.ABSENT)\n            raise\n",
        "a write of unknown outcome is sent again when it is asked for",
        habits=_WRITING,
        seeds=80,
    ),
    Mutant(
        "found-whatever-it-says",
        "hospproxy/outward/writes/verdict.py",
        "    equal = [(row, age) for how, row, age in alike if how is ValueMatch.YES]",
        "    equal = [(row, age) for how, row, age in alike]",
        "any new record passes for a lost write's",
        habits=("note",),
        seeds=80,
    ),
    Mutant(
        "claimed-by-two",
        "hospproxy/outward/writes/verdict.py",
        "(row, age_of(search, row)) for row in rows if _id(search.resource, row) not in search.claimed]",
        "(row, age_of(search, row)) for row in rows]",
        "a lost write is left unknown because of an equal one's record",
        habits=("twice",),
        seeds=200,
    ),
    Mutant(
        "no-turns",
        "hospproxy/outward/writes/entries.py",
        "            await self._turns.take(turn_of(exchange), exchange.deadline)\n",
        "            pass\n",
        "writes to one record go out at one time",
        habits=("edit",),
        seeds=80,
    ),
)
_GATE = (
    Mutant(
        "two-places-more",
        "hospproxy/outward/gate/gate.py",
        "        most = min(self._limit.now, places)\n",
        "        most = min(self._limit.now, places) + 2\n",
        "HOSP gets more than it should",
        scene="unknown names that leave",
    ),
    Mutant(
        "place-never-given-back",
        "hospproxy/outward/gate/gate.py",
        "        self._queue.leave(ticket)\n        self._let_in()\n        self._places.changed()\n",
        "        self._places.changed()\n",
        "places at HOSP are lost one by one",
    ),
    Mutant(
        "breaker-stays-open",
        "hospproxy/outward/gate/breaker.py",
        "BreakerState.HALF_OPEN if probe and self.state is BreakerState.OPEN else BreakerState.CLOSED, now",
        "self.state if self.state is BreakerState.OPEN else BreakerState.CLOSED, now",
        "after an outage nobody is served again",
        seeds=80,
    ),
)
_LEDGER = (
    Mutant(
        "ledger-late",
        "hospproxy/outward/writes/processor.py",
        "            self._fate.begin(entry)\n            await self._keeping.enter(entry)\n",
        "            self._fate.begin(entry)\n            self._late_work.begin(self._keeping.enter(entry))\n",
        "a write is sent before it is in the ledger",
        habits=_WRITING,
        seeds=200,
    ),
    Mutant(
        "ledger-unsynced",
        "hospproxy/outward/ledger/format.py",
        '"PRAGMA synchronous=FULL"',
        '"PRAGMA synchronous=OFF"',
        "a power cut takes entries of the ledger",
        habits=_WRITING,
        seeds=120,
    ),
    Mutant(
        "nothing-taken-over",
        "hospproxy/outward/ledger/ledger.py",
        "            gone = [name for name in store.owners(connection) if owner.is_gone(name)]",
        "            gone: list[str] = []",
        "what a dead process left open stays open",
        seeds=120,
    ),
    Mutant(
        "screening-not-kept",
        "hospproxy/memory/screening_notes.py",
        "                await self._results.keep([note.exchange for note in notes])\n",
        "                pass\n",
        "a result is told before it is safe",
        habits=("screen",),
        seeds=200,
    ),
    Mutant(
        "screening-sent-anew",
        "hospproxy/memory/screening_notes.py",
        "Note(exchange, look_first=True)",
        "Note(exchange)",
        "after a restart a result's note is stored again",
        habits=("screen",),
        seeds=200,
    ),
)
_RECORD = (
    Mutant(
        "journal-early",
        "hospproxy/record/audit.py",
        "        else:\n            await self._journal.append(record)\n\n    async def _record_of_gone",
        "        else:\n            self._journal.append(record)\n\n    async def _record_of_gone",
        "an answer leaves before its record is on disk",
        seeds=120,
    ),
    Mutant(
        "route-not-recorded",
        "hospproxy/record/describe.py",
        '"route": operation.template\n            if operation is not None',
        '"route": "unknown"\n            if operation is not None',
        "a record does not say what was asked for",
    ),
    Mutant(
        "who-not-recorded",
        "hospproxy/record/describe.py",
        '"who": {"id": None, "name": None, "certainty": "proxy"} if exchange.own else who,',
        '"who": {"id": None, "name": None, "certainty": "proxy" if exchange.own else "none"},',
        "a record does not say who asked",
    ),
)

_MORE = (
    Mutant(
        "nothing-closed",
        "hospproxy/outward/writes/ledger_entries.py",
        "            await self._ledger.close(name, state.value, _record(entry), answer, pending=pending)\n",
        "            pass\n",
        "the ledger never hears what became of a write",
    ),
    Mutant(
        "no-intent",
        "hospproxy/record/intent.py",
        "                await self._journal.append(self._describer.intent(exchange, passed_s))\n",
        "                self._describer.intent(exchange, passed_s)\n",
        "a write is sent before its intent is on record",
        habits=_WRITING,
    ),
    Mutant(
        "eight-places",
        "hospproxy/options/gate_section.py",
        "    concurrency: int = field(\n        default=5,",
        "    concurrency: int = field(\n        default=8,",
        "by default HOSP gets eight requests at one time",
        scene="unknown names that leave",
    ),
)

_ALL: tuple[Mutant, ...] = (
    *_MEMORY, *SHORTCUTS, *_ACCOUNTS, *_OUTWARD, *_GATE, *_LEDGER, *_RECORD, *SHARING, *_MORE,
)  # fmt: skip

MUTANTS: Mapping[str, Mutant] = {mutant.name: mutant for mutant in _ALL}
