"""The outcome of every write: executed at most once, one response for all retries, a search if it is lost.

Words: an *entry* is one write, in memory and in the ledger. A *turn* is the exclusive right of a write to be in
flight: one write per record, or one of several equal new records. A *look* is a read at HOSP that shows what became of
a write. In reading order:

* ``processor.py``: the processor ``outward.writes``; retries, keys, and what happens when a write ends.
* ``fate.py``: sends one write and decides its outcome. ``kept_turns.py`` settles it and passes on its turn.
* ``looks.py``: makes the looks. ``verdict.py`` judges them (pure), ``accounts.py`` does both for staff accounts.
* ``equality.py``, ``stored_values.py``, ``overtaken.py``: which writes are equal, what HOSP stores, which retries are
  void.
* ``seen_ids.py``, ``presence.py``, ``visible_records.py``, ``versions.py``: what the proxy learns from HOSP's
  responses.
* ``entry.py``, ``entries.py``, ``turn_queues.py``: one write, all writes in memory, and the queues of their turns.
* ``ledger_entries.py``: entries in the ledger. ``screening_ledger.py``: those of screenings. ``recovery.py`` takes over
  what earlier processes left.
* ``claims.py``: interface to other workers and machines. ``elsewhere.py`` is the processor's side of it, and
  ``redis/`` implements it.
* ``duplicates.py``: reports a write that was carried out twice.
* ``background.py``, ``keys.py``, ``outcomes.py``: background work; ``Idempotency-Key``; the route for asking an
  outcome.

``build_writes.py`` builds them from the settings. ``conditions.py`` uses ``verdict.moment``. Nothing
else imports this package.
"""
