"""Writes across workers and machines through Redis: claims, retries and responses (docs/adr/0026).

In reading order:

* ``claims.py``: implements ``outward/writes/claims.py``.
* ``claim_scripts.py``: runs the Lua scripts and checks their replies.
* ``outcome_lookup.py``, ``outcome_publisher.py``: read other workers' outcomes; publish this worker's.
* ``outcome_notes.py``: outcomes that Redis does not have yet, merged for each write. Pure.

``build_writes.py`` builds them.
"""
